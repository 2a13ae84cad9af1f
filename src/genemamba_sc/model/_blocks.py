"""Take a source of cells block by block, on one thread or several; memory stays flat beyond the result."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer
from scvi import settings
from scvi.utils import track

from genemamba_sc._checks import whole_number
from genemamba_sc.data import CellSource, Tokens, take_tokens
from genemamba_sc.data.tokens._batches import TokenBatch, length_batches, to_batch
from genemamba_sc.model._module import GeneMambaModule

# Number of cells that are read and tokenised together, and among which cells of similar length are grouped.
_BLOCK_CELLS = 4096
# The same where several threads have a block each: few enough that all of them are busy to the end.
_SHARED_BLOCK_CELLS = 1024
# Number of padded tokens of one pass through the encoder: enough to keep two cores busy, few enough for caches.
_TOKEN_BUDGET = 16_384
# The same where cells are read one by one: enough that a pass costs no more than its cells.
_SHARED_TOKEN_BUDGET = 2**18
# Largest share of pads in a pass: many short cells fit in a pass, and they then differ in length.
_MOST_PADDING = 0.03

Answer = Callable[[TokenBatch], np.ndarray]
# Positions among the cells asked for, (b,), their numbers of tokens, (b,), and what was computed for them, (b, ...).
Answered = tuple[np.ndarray, np.ndarray, np.ndarray]


def batches(
    module: GeneMambaModule, source: CellSource, indices: Integer[np.ndarray, "n"], batch_size: int | None = None
) -> Generator[tuple[Integer[np.ndarray, "b"], TokenBatch], None, None]:
    """Yield the tokens of all cells in batches on the device of the module, which does not train meanwhile.

    Parameters
    ----------
    module
        Module that will read the batches.
    source, indices, batch_size
        As in :func:`genemamba_sc.model._inference.embed`.

    Yields
    ------
    tuple of numpy.ndarray and dict
        Positions in ``indices``, shape (b,), and the tokens of these cells as :func:`genemamba_sc.data.to_batch` names
        them.
    """
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1)
    with _evaluating(module), closing(_blocks(source, indices)) as blocks, closing(_progress(len(indices))) as progress:
        for start, tokens in blocks:
            for rows in length_batches(tokens.lengths, _TOKEN_BUDGET, batch_size, _MOST_PADDING):
                batch = to_batch(take_tokens(tokens, rows))
                yield start + rows, {name: value.to(module.device) for name, value in batch.items()}
                deque(islice(progress, len(rows)), maxlen=0)
        next(progress, None)  # the end, which completes the bar


def batch_after_batch(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    answer: Answer,
    batch_size: int | None = None,
) -> Generator[Answered, None, None]:
    """Compute ``answer`` of the batches of :func:`batches`, one after the other."""
    with closing(batches(module, source, indices, batch_size)) as read:
        for rows, batch in read:
            yield rows, batch["lengths"].cpu().numpy(), answer(batch)


def blocks_at_once(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    answer: Answer,
    batch_size: int | None = None,
) -> Generator[Answered, None, None]:
    """Compute ``answer`` for block after block, in order; each of torch's threads reads and answers blocks of its own.

    Nothing that one thread computes depends on another, so any number of them gives the same bits.

    Parameters
    ----------
    module
        Module that answers; it does not train meanwhile.
    source, indices, batch_size
        As in :func:`batches`.
    answer
        What is computed for the tokens of a batch, on one thread.
    """
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1)
    one, n_threads = source.on_one_thread(), torch.get_num_threads()

    def of_block(start: int) -> Answered:
        tokens = one.tokens(indices[start : start + _SHARED_BLOCK_CELLS])
        parts = list(length_batches(tokens.lengths, _SHARED_TOKEN_BUDGET, batch_size))
        values = [answer(to_batch(take_tokens(tokens, rows))) for rows in parts]
        order = np.concatenate(parts)
        return start + order, tokens.lengths[order], np.concatenate(values)

    starts = range(0, len(indices), _SHARED_BLOCK_CELLS)
    with _evaluating(module), closing(_progress(len(indices))) as progress:
        for answered in _in_order(of_block, starts, min(n_threads, len(starts))):
            yield answered
            deque(islice(progress, len(answered[0])), maxlen=0)
        next(progress, None)


def _in_order(function: Callable[[int], Any], arguments: range, n_threads: int) -> Iterator[Any]:
    """Yield the function of each argument, in order; threads work on the next ones, and stop when the caller does."""
    if n_threads < 2:
        yield from map(function, arguments)
        return
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for argument in arguments:
                waiting.append(pool.submit(function, argument))
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _evaluating(module: GeneMambaModule) -> Iterator[None]:
    """Switch the module to evaluation, and back."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def _blocks(source: CellSource, indices: np.ndarray) -> Generator[tuple[int, Tokens], None, None]:
    """Yield the tokens of the cells, block by block; the next block is prepared while the caller works on one."""
    parts = {start: indices[start : start + _BLOCK_CELLS] for start in range(0, len(indices), _BLOCK_CELLS)}
    if len(parts) < 2 or torch.get_num_threads() < 2:
        yield from ((start, source.tokens(part)) for start, part in parts.items())
        return
    ahead = source.on_one_thread()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(ahead.tokens, parts[0])
        for start in parts:
            tokens = coming.result()
            if start + _BLOCK_CELLS in parts:
                coming = pool.submit(ahead.tokens, parts[start + _BLOCK_CELLS])
            yield start, tokens


def _progress(n: int) -> Generator[int, None, None]:
    """Count one step per cell; draw a bar where there is more than one block."""
    show = n > _BLOCK_CELLS and settings.progress_bar_style is not None
    yield from track(range(n), description="Embedding", style="tqdm", disable=not show, unit=" cells")
