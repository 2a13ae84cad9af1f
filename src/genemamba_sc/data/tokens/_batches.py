"""Turn tokens into tensors, and group cells of similar length. Only this file of the room imports torch.

Cells of similar length share a batch, so that little is padded. No result depends on this, because the embedding of a
cell never depends on its neighbours in the batch.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from genemamba_sc.data.tokens._tokenizer import Tokens

TokenBatch = dict[str, Tensor]


def to_batch(tokens: Tokens) -> TokenBatch:
    """Turn tokens into tensors, under the names that the module reads.

    Parameters
    ----------
    tokens
        Tokens of ``b`` cells.

    Returns
    -------
    ``token_ids`` (b, l) int64, ``token_values`` (b, l) float32, ``lengths`` (b,) int64.
    """
    return {
        "token_ids": torch.from_numpy(tokens.ids.astype(np.int64)),
        "token_values": torch.from_numpy(tokens.values),
        "lengths": torch.from_numpy(tokens.lengths.astype(np.int64)),
    }


def length_batches(
    lengths: Integer[np.ndarray, "n"],
    token_budget: int,
    batch_size: int | None = None,
    most_padding: float | None = None,
) -> Iterator[Integer[np.ndarray, "b"]]:
    """Return the positions of cells, longest first, in batches within a budget of padded tokens.

    Parameters
    ----------
    lengths
        Number of tokens per cell, shape ``(n,)``.
    token_budget
        Largest number of padded tokens (cells × longest cell) of a batch; a batch has at least one cell.
    batch_size
        Number of cells per batch, which replaces the budget and ``most_padding``.
    most_padding
        Largest share of pads among the padded tokens of a batch, and so of all batches; ``None`` sets no limit.
    """
    order = np.argsort(-lengths, kind="stable")
    sorted_lengths = lengths[order]
    start = 0
    while start < len(order):
        longest = max(1, int(sorted_lengths[start]))
        n = batch_size or max(1, token_budget // longest)
        if most_padding is not None and batch_size is None:
            n = _least_padded(sorted_lengths[start : start + n], longest, most_padding)
        yield order[start : start + n]
        start += n


def _least_padded(lengths: Integer[np.ndarray, "m"], longest: int, most_padding: float) -> int:
    """Count the first cells, at least one, of which no more than this share is padding."""
    cells = np.arange(1, len(lengths) + 1)
    # The lengths descend, so the share grows with the number of cells. A batch is at least one token wide, so cells
    # without tokens go together.
    within = np.maximum(lengths, 1).cumsum(dtype=np.int64) >= (1 - most_padding) * longest * cells
    return max(1, int(within.sum()))
