"""Encode the cells of a source block by block; memory stays flat beyond the result."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float32, Integer
from scvi import settings
from scvi.utils import track
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc._checks import whole_number
from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource, Tokens, take_tokens
from genemamba_sc.data._batches import length_batches, to_batch
from genemamba_sc.model._module import GeneMambaModule

# Number of cells that are read and tokenised together, and among which cells of similar length are grouped.
_BLOCK_CELLS = 4096
# Number of padded tokens of one pass through the encoder: enough to keep two cores busy, few enough for caches.
_TOKEN_BUDGET = 16_384
# Largest share of pads in a pass: many short cells fit in a pass, and they then differ in length.
_MOST_PADDING = 0.03


@dataclass(frozen=True, eq=False)
class CellReadings:
    """Hold what one pass reads off cells.

    Parameters
    ----------
    latent
        Embeddings, shape (n, d).
    logits
        Scores of the cell types, shape (n, c).
    coordinates
        Coordinates on components of expression, shape (n, k); no columns where none were asked for.
    """

    latent: Float32[np.ndarray, "n d"]
    logits: Float32[np.ndarray, "n c"]
    coordinates: Float32[np.ndarray, "n k"]


def embed(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    *,
    batch_size: int | None = None,
) -> Float32[np.ndarray, "n d"]:
    """Embed the cells ``indices``, in that order.

    Parameters
    ----------
    module
        The trained module.
    source
        Source of the cells.
    indices
        Row numbers, shape (n,), in any order.
    batch_size
        Number of cells per pass; ``None`` packs cells of similar length into a budget of tokens. The result does not
        depend on it.

    Notes
    -----
    More than 4,096 cells draw a progress bar with the cells per second and the time left, unless
    ``scvi.settings.progress_bar_style`` is ``None``. Where torch may use more than one thread, another thread meanwhile
    reads and tokenises the next 4,096 cells.
    """
    return _run(module, source, indices, _cells, module.encoder_config.d_model, batch_size)


def cell_type_logits(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    *,
    batch_size: int | None = None,
) -> Float32[np.ndarray, "n c"]:
    """Compute the scores of the cell types, whose softmax are probabilities. Parameters are as in :func:`embed`."""
    return _run(module, source, indices, _logits, module.n_labels, batch_size)


def read_cells(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    *,
    table: Float32[np.ndarray, "v k"] | None = None,
    batch_size: int | None = None,
) -> CellReadings:
    """Compute all that an annotation needs in one pass over the cells.

    Parameters
    ----------
    module, source, indices, batch_size
        As in :func:`embed`.
    table
        Coordinates that a token adds per ``log1p`` of its counts per 10,000, shape (v, k); ``None`` computes none.
    """
    width, n_labels = module.encoder_config.d_model, module.n_labels
    weights = None if table is None else torch.from_numpy(table).to(module.device)

    def everything(module: GeneMambaModule, batch: dict[str, Tensor]) -> Tensor:
        read = _encode(module, batch)
        parts = [read["cell"].float(), _logits_of(module, batch, read).float()]
        return torch.cat(parts if weights is None else [*parts, _coordinates(module, batch, weights)], dim=1)

    n_found = 0 if table is None else table.shape[1]
    found = _run(module, source, indices, everything, width + n_labels + n_found, batch_size)
    parts = np.split(found, [width, width + n_labels], axis=1)
    return CellReadings(*(np.ascontiguousarray(part) for part in parts))


def _encode(module: GeneMambaModule, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return module.inference(batch["token_ids"], batch["token_values"], batch["lengths"])


def _cells(module: GeneMambaModule, batch: dict[str, Tensor]) -> Tensor:
    return _encode(module, batch)["cell"]


def _logits(module: GeneMambaModule, batch: dict[str, Tensor]) -> Tensor:
    return _logits_of(module, batch, _encode(module, batch))


def _logits_of(module: GeneMambaModule, batch: dict[str, Tensor], read: dict[str, Tensor]) -> Tensor:
    return module.generative(read["context"], batch["token_ids"], batch["token_values"])["cell_type_logits"]


def _coordinates(module: GeneMambaModule, batch: dict[str, Tensor], weights: Tensor) -> Tensor:
    assert module.cell_type_head is not None  # only what knows types asks where they lie
    ids = batch["token_ids"]
    levels = torch.log1p(batch["token_values"] * module.cell_type_head.medians[ids])
    return F.embedding_bag(ids, weights, mode="sum", per_sample_weights=levels)


@torch.inference_mode()
def _run(
    module: GeneMambaModule,
    source: CellSource,
    indices: np.ndarray,
    function: Callable[[GeneMambaModule, dict[str, Tensor]], Tensor],
    width: int,
    batch_size: int | None,
) -> np.ndarray:
    result = np.empty((len(indices), width), dtype=np.float32)
    n_empty = 0
    with closing(batches(module, source, indices, batch_size)) as read:
        for rows, batch in read:
            n_empty += int((batch["lengths"] == 0).sum())
            result[rows] = function(module, batch).float().cpu().numpy()
    broken = int((~np.isfinite(result).all(axis=1)).sum())
    if broken:
        raise ValueError(
            f"Every cell must get finite numbers. {broken} of {len(indices)} cells have none: the weights are damaged, "
            "or the training diverged. Load the model again, or train it with a smaller learning rate (lr)."
        )
    if n_empty:
        warn(
            f"{n_empty} of {len(indices)} cells express no gene that the model knows: their embedding is zero, and "
            "their cell type a guess by frequency. Remove them, e.g. with sc.pp.filter_cells(adata, min_counts=1).",
        )
    return result


def batches(
    module: GeneMambaModule, source: CellSource, indices: Integer[np.ndarray, "n"], batch_size: int | None = None
) -> Generator[tuple[Integer[np.ndarray, "b"], dict[str, Tensor]], None, None]:
    """Yield the tokens of all cells in batches on the device of the module, which does not train meanwhile.

    Parameters
    ----------
    module
        Module that will read the batches.
    source, indices, batch_size
        As in :func:`embed`.

    Yields
    ------
    tuple of numpy.ndarray and dict
        Positions in ``indices``, shape (b,), and the tokens of these cells as :func:`genemamba_sc.data.to_batch` names
        them.
    """
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1)
    was_training = module.training
    module.eval()
    try:
        with closing(_blocks(source, indices)) as blocks, closing(_progress(len(indices))) as progress:
            for start, tokens in blocks:
                for rows in length_batches(tokens.lengths, _TOKEN_BUDGET, batch_size, _MOST_PADDING):
                    batch = to_batch(take_tokens(tokens, rows))
                    yield start + rows, {name: value.to(module.device) for name, value in batch.items()}
                    deque(islice(progress, len(rows)), maxlen=0)
            next(progress, None)  # the end, which completes the bar
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
