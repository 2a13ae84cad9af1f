"""Predict the relative rank of a gene that a cell is known to express, from cells that serve as reference."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._token_parts import real_positions
from genemamba_sc.tl.ranks._rank_metrics import relative_ranks

# Strength of the ridge against features of unit variance, the same for every read-out and every set.
_RIDGE = 100.0
# Axes of what a read-out reads, and those in which neighbours are looked for.
_MOST_AXES = 50
# A gene that fewer cells of the reference have keeps its mean rank.
_LEAST_CELLS = 5
_NEIGHBOURS = 50
# Neighbours that have the gene count this many cells of mean rank less.
_SHRINKAGE = 5.0


@dataclass(frozen=True, eq=False)
class RankReference:
    """Hold the ranks of the genes of reference cells.

    Parameters
    ----------
    ranks
        Relative rank of each gene that a cell has, 1 first to 0 last, shape (n, v); zeros are stored.
    has
        1 where a cell has the gene, shape (n, v).
    counts
        Number of cells that have the gene, shape (v,).
    mean
        Mean relative rank where expressed, shape (v,), with one cell of rank 0.5 added to each gene.
    """

    ranks: sparse.csr_array
    has: sparse.csr_array
    counts: Float[np.ndarray, "v"]
    mean: Float[np.ndarray, "v"]

    @classmethod
    def of(cls, tokens: Tokens, vocab_size: int) -> "RankReference":
        """Rank the genes of reference cells.

        Parameters
        ----------
        tokens
            Tokens of the cells, none hidden.
        vocab_size
            Number of tokens, v.
        """
        ids = tokens.ids[real_positions(tokens)]
        ranks = np.concatenate([relative_ranks(n) for n in tokens.lengths.tolist()])
        starts = np.concatenate([[0], np.cumsum(tokens.lengths, dtype=np.int64)])
        shape = (len(tokens.lengths), vocab_size)
        counts = np.bincount(ids, minlength=vocab_size).astype(float)
        mean = (np.bincount(ids, ranks, minlength=vocab_size) + 0.5) / (counts + 1)
        return cls(
            sparse.csr_array((ranks, ids, starts), shape=shape),
            sparse.csr_array((np.ones(len(ids)), ids, starts), shape=shape),
            counts,
            mean,
        )

    def imputed(self, rows: Int[np.ndarray, "k"], genes: Int[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Average the ranks of genes over the cells ``rows`` that have them, shrunk to the mean rank.

        Parameters
        ----------
        rows
            Cells of the reference, the neighbours.
        genes
            Token ids.
        """
        total, count = self.ranks[rows].sum(axis=0)[genes], self.has[rows].sum(axis=0)[genes]
        return (total + _SHRINKAGE * self.mean[genes]) / (count + _SHRINKAGE)


@dataclass(frozen=True, eq=False)
class Axes:
    """Reduce features to the leading axes of the reference cells, at unit variance, beside the log number of genes.

    Parameters
    ----------
    vectors
        Directions of the axes, shape (f, k).
    centre, scale
        Mean and standard deviation of the axes and of the log number of genes, shape (k + 1,).
    """

    vectors: Float[np.ndarray, "f k"]
    centre: Float[np.ndarray, "k1"]
    scale: Float[np.ndarray, "k1"]

    @classmethod
    def of(cls, features: np.ndarray | sparse.csr_array, n_genes: Int[np.ndarray, "n"], seed: int) -> "Axes":
        """Find the axes.

        Parameters
        ----------
        features
            Features of the reference cells, shape (n, f).
        n_genes
            Number of genes of each cell, shape (n,).
        seed
            Seed of the solver.
        """
        k = max(1, min(_MOST_AXES, *(size - 1 for size in features.shape)))
        vectors = randomized_svd(features, k, random_state=seed)[2].T
        placed = _placed(features, vectors, n_genes)
        spread = placed.std(axis=0)
        return cls(vectors, placed.mean(axis=0), np.where(spread > 1e-6 * spread.max(), spread, np.inf))

    def __call__(
        self, features: np.ndarray | sparse.csr_array, n_genes: Int[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n k1"]:
        """Place cells on the axes."""
        return (_placed(features, self.vectors, n_genes) - self.centre) / self.scale

    def nearest(self, cells: Float[np.ndarray, "n k1"], others: Float[np.ndarray, "m k1"]) -> Int[np.ndarray, "n _"]:
        """Find the 50 cells of ``others`` with the largest cosine on the axes, for each of ``cells``.

        Parameters
        ----------
        cells, others
            Cells on the axes; the number of genes does not count here.
        """
        n = min(_NEIGHBOURS, len(others))
        cosine = _unit(cells[:, :-1]) @ _unit(others[:, :-1]).T
        return np.argpartition(-cosine, n - 1, axis=1)[:, :n]


def fit_readout(
    places: Float[np.ndarray, "n k"], reference: RankReference, genes: Int[np.ndarray, "m"]
) -> Float[np.ndarray, "v k1"]:
    """Fit how the rank of each gene departs from its mean, by a ridge regression over the cells that have it.

    Parameters
    ----------
    places
        Reference cells on their axes, shape (n, k).
    reference
        Their ranks.
    genes
        Token ids to fit; those of fewer than five cells keep their mean rank.

    Returns
    -------
    Coefficients of the axes and, last, of a constant; 0 for other genes.
    """
    design = np.concatenate([places, np.ones((len(places), 1))], axis=1)
    by_gene = reference.ranks.tocsc()
    fit = np.zeros((len(reference.mean), design.shape[1]))
    for gene in genes[reference.counts[genes] >= _LEAST_CELLS]:
        part = slice(by_gene.indptr[gene], by_gene.indptr[gene + 1])
        fit[gene] = solve_ridge(design[by_gene.indices[part]], by_gene.data[part] - reference.mean[gene])
    return fit


def solve_ridge(x: Float[np.ndarray, "n k"], y: Float[np.ndarray, "n"]) -> Float[np.ndarray, "k"]:
    """Fit ``y`` by the columns of ``x``, of which the last is the constant and hardly held back.

    Parameters
    ----------
    x
        Features of unit variance, and ones, shape (n, k).
    y
        What is fitted, shape (n,).
    """
    ridge = _RIDGE * np.eye(x.shape[1])
    ridge[-1, -1] = 1.0
    return np.linalg.solve(x.T @ x + ridge, x.T @ y)


def _placed(features: np.ndarray | sparse.csr_array, vectors: np.ndarray, n_genes: np.ndarray) -> np.ndarray:
    return np.concatenate([features @ vectors, np.log1p(n_genes)[:, None]], axis=1)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)
