"""Gene programs of cell types: linear scores from the pool of the gene table, few numbers per type.

A table that was made from many cells, labelled or not, knows which genes go together. A handful of labelled cells
then tells a type by the direction of its pool, where they are too few to weigh each gene on its own.
"""

import warnings

import numpy as np
from jaxtyping import Float32
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from genemamba_sc._linear_fit import LabelledCells, LinearFit, multinomial
from genemamba_sc.data import Tokens

# Inverse strength of the L2 penalty, the same for every data set.
_C = 1.0
_BLOCK = 4096


def level_shares(tokens: Tokens, vocab_size: int) -> sparse.csr_array:
    """Share of each token in the sum of ``log1p(value)`` of its cell, shape (n, v); rows sum to 1, or to 0."""
    real = np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
    levels = np.log1p(tokens.values.astype(np.float32)) * real
    shares = levels / np.maximum(levels.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    starts = np.concatenate([[0], np.cumsum(tokens.lengths, dtype=np.int64)])
    return sparse.csr_array((shares[real], tokens.ids[real], starts), shape=(len(tokens.lengths), vocab_size))


class ProgramPool:
    """Pools of the gene table, centred, at unit mean square over the cells that it was made from.

    Scaled together, not each for itself: a component that carries noise stays small, and few labels do not find it.

    Parameters
    ----------
    tokens
        Tokens of the cells.
    table
        The gene table, shape (v, d).
    """

    def __init__(self, tokens: Tokens, table: Float32[np.ndarray, "v d"]) -> None:
        raw = np.concatenate(
            [level_shares(_rows(tokens, start), len(table)) @ table for start in range(0, len(tokens.lengths), _BLOCK)]
            or [np.zeros((0, table.shape[1]), dtype=np.float32)]
        )
        self._table = table
        self._centre = raw.mean(axis=0) if len(raw) else np.zeros(table.shape[1], dtype=np.float32)
        spread = float(np.sqrt(((raw - self._centre) ** 2).mean())) if len(raw) else 0.0
        self._scale = np.float32(1.0 / spread if spread > 0 else 0.0)
        self.features: Float32[np.ndarray, "n d"] = (raw - self._centre) * self._scale

    def to_genes(self, fit: LinearFit) -> LinearFit:
        """Write scores of pools as scores of :func:`level_shares`, one weight per gene and type, shape (v, c)."""
        weights = fit.weights * self._scale
        return LinearFit((self._table @ weights).astype(np.float32), fit.bias - self._centre @ weights)


def solve_programs(cells: LabelledCells, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a multinomial regression with an L2 penalty.

    Parameters
    ----------
    cells
        Their features are those of a :class:`ProgramPool`; of two types or more.
    seed
        Not read: the solver draws nothing.

    Returns
    -------
    Coefficients (k, d) and intercepts (k,) of the k types that occur.
    """
    with warnings.catch_warnings():
        # The last digits of the coefficients do not matter for a start.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return multinomial(cells, _C, max_iter=300)


def _rows(tokens: Tokens, start: int) -> Tokens:
    part = slice(start, start + _BLOCK)
    return Tokens(tokens.ids[part], tokens.values[part], tokens.lengths[part])
