"""Score how related genes are, block by block, without a matrix of all genes × all genes.

Each kind of score answers the same three questions: how some genes score with all genes, how pairs score, and how the
scores of each gene are spread over all genes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Integer
from scipy import sparse
from scipy.stats import rankdata

# Spreads below this are rounding errors: all genes score alike.
_NO_SPREAD = 1e-6
_BLOCK_GENES = 512


class Moments(NamedTuple):
    """Hold mean and standard deviation of each gene's scores over all genes, shape (n,) each."""

    mean: Float64[np.ndarray, "n"]
    deviation: Float64[np.ndarray, "n"]


@runtime_checkable
class Relatedness(Protocol):
    """Describe what every kind of score can do; genes are numbers from 0 to ``n_genes - 1``."""

    # Whether scores are cosines or correlations, which lie in [-1, 1].
    bounded: ClassVar[bool]
    # Whether the score of a pair depends on which gene is named first.
    directed: ClassVar[bool]

    @property
    def n_genes(self) -> int:
        """Number of genes."""

    def block(self, rows: Integer[np.ndarray, "b"]) -> Float32[np.ndarray, "b n"]:
        """Score some genes with all genes, shape (b, n)."""

    def pairs(self, first: Integer[np.ndarray, "m"], second: Integer[np.ndarray, "m"]) -> Float32[np.ndarray, "m"]:
        """Score pairs of genes, shape (m,)."""

    def moments(self) -> Moments:
        """Return mean and spread of each gene's scores."""


@dataclass(frozen=True, eq=False)
class Cosines:
    """Score genes by the cosine of their vectors.

    Parameters
    ----------
    unit
        Vectors of length 1, shape (n, k), or of zeros for genes without one, which then score 0.
    """

    unit: Float32[np.ndarray, "n k"]
    bounded: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    @classmethod
    def of(cls, vectors: np.ndarray) -> "Cosines":
        """Bring vectors, shape (n, k), to length 1; NaN and zeros become zeros."""
        clean = np.nan_to_num(np.asarray(vectors, dtype=np.float64))
        length = np.linalg.norm(clean, axis=1, keepdims=True)
        return cls(np.divide(clean, length, out=np.zeros_like(clean), where=length > 0).astype(np.float32))

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return len(self.unit)

    def block(self, rows: Integer[np.ndarray, "b"]) -> Float32[np.ndarray, "b n"]:
        """Score some genes with all genes, shape (b, n)."""
        return self.unit[rows] @ self.unit.T

    def pairs(self, first: Integer[np.ndarray, "m"], second: Integer[np.ndarray, "m"]) -> Float32[np.ndarray, "m"]:
        """Score pairs of genes, shape (m,)."""
        return np.einsum("mk,mk->m", self.unit[first], self.unit[second])

    def moments(self) -> Moments:
        """Return mean and spread of each gene's cosines."""
        return self._moments

    @cached_property
    def _moments(self) -> Moments:
        # This needs no table of all pairs: the second moments of the vectors tell it.
        unit = self.unit.astype(np.float64)
        mean = unit @ unit.mean(axis=0)
        square = np.einsum("nk,kl,nl->n", unit, unit.T @ unit / len(unit), unit, optimize=True)
        return Moments(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


@dataclass(frozen=True, eq=False)
class Correlations:
    """Score genes by the correlation of their values over cells.

    Parameters
    ----------
    values
        Values, (cells, n), sparse by columns; any constant may be subtracted from a column so that most are 0.
    """

    values: sparse.csc_matrix
    bounded: ClassVar[bool] = True
    directed: ClassVar[bool] = False

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.values.shape[1])

    @cached_property
    def _centre(self) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
        n_cells = self.values.shape[0]
        mean = _column_sums(self.values) / n_cells
        square = _column_sums(self.values.multiply(self.values)) / n_cells
        variance = np.maximum(square - mean**2, 0.0)
        return mean, np.sqrt(np.where(variance > 1e-9 * square, variance, 0.0))

    def _correlate(self, products: np.ndarray, first: np.ndarray, second: np.ndarray) -> Float32[np.ndarray, "..."]:
        """Turn sums of products into correlations; 0 where a gene does not vary."""
        mean, deviation = self._centre
        spread = deviation[first] * deviation[second]
        centred = products / self.values.shape[0] - mean[first] * mean[second]
        return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0).astype(np.float32)

    def block(self, rows: Integer[np.ndarray, "b"]) -> Float32[np.ndarray, "b n"]:
        """Score some genes with all genes, shape (b, n)."""
        products = (self.values[:, rows].astype(np.float64).T @ self.values).toarray()
        return self._correlate(products, np.asarray(rows)[:, None], np.arange(self.n_genes)[None, :])

    def pairs(self, first: Integer[np.ndarray, "m"], second: Integer[np.ndarray, "m"]) -> Float32[np.ndarray, "m"]:
        """Score pairs of genes, shape (m,)."""
        parts = [np.zeros(0, dtype=np.float64)]
        for start in range(0, len(first), _BLOCK_GENES):
            part = slice(start, start + _BLOCK_GENES)
            parts.append(_column_sums(self.values[:, first[part]].multiply(self.values[:, second[part]])))
        return self._correlate(np.concatenate(parts), first, second)

    def moments(self) -> Moments:
        """Return mean and spread of each gene's correlations."""
        return self._moments

    @cached_property
    def _moments(self) -> Moments:
        return _moments_by_block(self)


@dataclass(frozen=True, eq=False)
class Combined:
    """Score genes by the mean of several scores, each standardised for both genes of a pair.

    A score ``s`` of the genes ``i`` and ``j`` becomes ``((s - m_i) / d_i + (s - m_j) / d_j) / 2``, where ``m`` and
    ``d`` are mean and standard deviation of a gene's scores over all genes: a gene that scores high with every other
    one has no advantage. A gene that scores alike with all genes adds 0.

    Parameters
    ----------
    parts
        The scores, of the same genes.
    """

    parts: Sequence[Relatedness]
    bounded: ClassVar[bool] = False
    directed: ClassVar[bool] = False

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return self.parts[0].n_genes

    def block(self, rows: Integer[np.ndarray, "b"]) -> Float32[np.ndarray, "b n"]:
        """Score some genes with all genes, shape (b, n)."""
        columns = np.arange(self.n_genes)
        scores = [
            _standardise(part.block(rows), part.moments(), rows[:, None], columns[None, :]) for part in self.parts
        ]
        return np.mean(scores, axis=0).astype(np.float32)

    def pairs(self, first: Integer[np.ndarray, "m"], second: Integer[np.ndarray, "m"]) -> Float32[np.ndarray, "m"]:
        """Score pairs of genes, shape (m,)."""
        scores = [_standardise(part.pairs(first, second), part.moments(), first, second) for part in self.parts]
        return np.mean(scores, axis=0).astype(np.float32)

    def moments(self) -> Moments:
        """Return mean and spread of each gene's scores."""
        return self._moments

    @cached_property
    def _moments(self) -> Moments:
        return _moments_by_block(self)


def _standardise(scores: np.ndarray, moments: Moments, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Standardise scores by the spread of either gene, and average the two."""
    weight = np.where(moments.deviation > _NO_SPREAD, 1.0 / np.maximum(moments.deviation, _NO_SPREAD), 0.0)
    mean = moments.mean
    return ((scores - mean[first]) * weight[first] + (scores - mean[second]) * weight[second]) / 2


def _column_sums(values: sparse.spmatrix) -> Float64[np.ndarray, "n"]:
    """Add up columns in double precision, which scipy does not do for single precision."""
    entries = sparse.csc_matrix(values)
    columns = np.repeat(np.arange(entries.shape[1]), np.diff(entries.indptr))
    return np.bincount(columns, weights=entries.data, minlength=entries.shape[1])


def _moments_by_block(scores: Relatedness) -> Moments:
    """Compute moments where there is no closed form: over blocks of all scores."""
    mean, square = np.zeros(scores.n_genes), np.zeros(scores.n_genes)
    for start in range(0, scores.n_genes, _BLOCK_GENES):
        rows = np.arange(start, min(start + _BLOCK_GENES, scores.n_genes))
        block = scores.block(rows).astype(np.float64)
        mean[rows], square[rows] = block.mean(axis=1), (block**2).mean(axis=1)
    return Moments(mean, np.sqrt(np.maximum(square - mean**2, 0.0)))


def ranks_above_zero(values: sparse.csc_matrix) -> sparse.csc_matrix:
    """Replace the values of each column by their ranks over all cells, less the rank that zeros share.

    Parameters
    ----------
    values
        Non-negative values, (cells, n), without explicit zeros.

    Returns
    -------
    The ranks of the non-zero values; ties share their mean rank. Correlating them is Spearman's correlation.
    """
    n_cells = values.shape[0]
    ranked = values.astype(np.float64)
    for column in range(values.shape[1]):
        entries = slice(values.indptr[column], values.indptr[column + 1])
        n_zeros = n_cells - (entries.stop - entries.start)
        # Zeros share the mean of the ranks 1 to n_zeros, and the others follow them.
        ranked.data[entries] = rankdata(values.data[entries]) + n_zeros - (n_zeros + 1) / 2
    return ranked
