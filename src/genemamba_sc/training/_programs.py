"""Fit gene programs of cell types: linear scores from the pools of gene tables, few numbers per type.

A table that was made from many cells, labelled or not, knows which genes go together. A few labelled cells then tell a
type by the direction of its pool, where they are too few to weigh each gene on its own.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float32
from scipy import sparse

from genemamba_sc.data import Tokens
from genemamba_sc.training._linear import LabelledCells, LinearFit
from genemamba_sc.training._multinomial import multinomial

# Inverse strength of the L2 penalty, the same for every data set.
_C = 1.0
_STEPS = 100


def level_shares(tokens: Tokens, vocab_size: int) -> sparse.csr_array:
    """Compute the share of each token in the sum of ``log1p(value)`` of its cell, (n, v); rows sum to 1, or to 0."""
    real = np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
    levels = np.log1p(tokens.values.astype(np.float32)) * real
    shares = levels / np.maximum(levels.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    starts = np.concatenate([[0], np.cumsum(tokens.lengths, dtype=np.int64)])
    return sparse.csr_array((shares[real], tokens.ids[real], starts), shape=(len(tokens.lengths), vocab_size))


class ProgramPool:
    """Pool gene tables and centre the pools; each table has unit mean square over the cells that make the pool.

    The components of a table are scaled together, not each for itself: a component that carries noise stays small, and
    few labels do not pick it up.

    Parameters
    ----------
    blocks
        Tokens of the cells, in parts.
    tables
        The gene tables, each of shape (v, d_i); d is the sum of the d_i.
    """

    def __init__(self, blocks: Iterable[Tokens], tables: Sequence[Float32[np.ndarray, "v _"]]) -> None:
        self._table = np.concatenate(tables, axis=1)
        pools = np.concatenate([level_shares(part, len(self._table)) @ self._table for part in blocks])
        self._centre = pools.mean(axis=0)
        pools -= self._centre
        self._scale = np.concatenate([_inverse_spread(block) for block in _blocks(pools, tables)])
        self.features: Float32[np.ndarray, "n d"] = pools * self._scale

    def to_genes(self, fit: LinearFit) -> LinearFit:
        """Turn scores of pools into scores of :func:`level_shares`, one weight per gene and type, shape (v, c)."""
        weights = fit.weights * self._scale[:, None]
        return LinearFit(self._table @ weights, fit.bias - self._centre @ weights)


def solve_programs(cells: LabelledCells, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a multinomial regression with an L2 penalty.

    Parameters
    ----------
    cells
        Cells of two types or more, whose features are those of a :class:`ProgramPool`.
    seed
        This is not read: the solver draws nothing.

    Returns
    -------
    Coefficients (k, d) and intercepts (k,) of the k types that occur.
    """
    return multinomial(cells, _C, _STEPS)


def _blocks(pools: np.ndarray, tables: Sequence[np.ndarray]) -> list[np.ndarray]:
    return np.split(pools, np.cumsum([table.shape[1] for table in tables])[:-1], axis=1)


def _inverse_spread(block: np.ndarray) -> Float32[np.ndarray, "d"]:
    spread = float(np.sqrt((block**2).mean()))
    return np.full(block.shape[1], 1.0 / spread if spread > 0 else 0.0, dtype=np.float32)
