"""Tell how far a cell is from all known types: Mahalanobis distances on principal components of expression.

Probabilities divide a cell among the known types and do not tell that it is of none of them: a cell of a new type may
lie far from a type, on its side of every border. So distances come from the genes that vary most among the cells of the
reference, for whatever reason, and not from those that tell its types apart. One covariance for all types is from
Lee et al. 2018 (arXiv:1807.03888), who read the features of a classifier; that was worse here (docs/decisions.md).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Integer
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from genemamba_sc._blas_threads import one_blas_thread

_MOST_GENES = 2_000
_COMPONENTS = 30
# A gene in fewer cells has no variance to speak of.
_LEAST_CELLS = 3
# Share of the mean variance that every direction gets: none is divided by nothing.
_RIDGE = 1e-3
# Values are divided by their standard deviation to this power: 1 lifts rare genes to the loudness of common ones.
_POWER = 0.5


@dataclass(frozen=True, eq=False)
class KnownCells:
    """Hold where the cells of the known types lie.

    Parameters
    ----------
    genes
        Token ids of the genes that are read, shape (g,).
    weights
        Coordinates that a gene adds per ``log1p`` of its counts per 10,000, shape (g, k). They are scaled so that cells
        vary by 1 in every direction within their types.
    centres
        Mean coordinates of each type, shape (c, k).
    counts
        Cells of each type that these come from, shape (c,); a type without any is nowhere.
    """

    genes: Integer[np.ndarray, "g"]
    weights: Float32[np.ndarray, "g k"]
    centres: Float32[np.ndarray, "c k"]
    counts: Integer[np.ndarray, "c"]

    def table(self, n_tokens: int) -> Float32[np.ndarray, "v k"]:
        """Return the weights of all tokens, zeros for those that are not read.

        Parameters
        ----------
        n_tokens
            Number of tokens ``v``.
        """
        full = np.zeros((n_tokens, self.weights.shape[1]), dtype=np.float32)
        full[self.genes] = self.weights
        return full

    def distance(self, coordinates: Float32[np.ndarray, "n k"]) -> Float64[np.ndarray, "n"]:
        """Return the squared distance of cells to the centre of the nearest type.

        Parameters
        ----------
        coordinates
            What the weights make of each cell, shape (n, k).
        """
        nearest = np.full(len(coordinates), np.inf)
        for centre in self.centres[self.counts > 0].astype(np.float64):
            nearest = np.minimum(nearest, ((coordinates - centre) ** 2).sum(axis=1))
        return nearest


@one_blas_thread()
def fit_known_cells(
    expression: sparse.csr_array, labels: Integer[np.ndarray, "n"], n_types: int, seed: int = 0
) -> KnownCells:
    """Find where the cells of the known types lie.

    Parameters
    ----------
    expression
        ``log1p`` of counts per 10,000 of the training cells, cells × tokens, shape (n, v).
    labels
        Codes of their types, shape (n,).
    n_types
        Number of types ``c``.
    seed
        Seed of the randomised decomposition.
    """
    matrix = expression.astype(np.float64)
    genes, scale = _variable_genes(matrix)
    values = (matrix[:, genes].toarray() - np.asarray(matrix[:, genes].mean(axis=0)).ravel()) / scale
    n_found = min(_COMPONENTS, *values.shape)
    _, _, components = randomized_svd(values, n_found, random_state=seed)
    weights = (components / scale).T
    counts = np.bincount(labels, minlength=n_types)
    weights = weights @ _whitening(values @ components.T, labels)
    coordinates = matrix[:, genes] @ weights
    centres = np.zeros((n_types, n_found))
    for kind in np.flatnonzero(counts):
        centres[kind] = coordinates[labels == kind].mean(axis=0)
    return KnownCells(genes, weights.astype(np.float32), centres.astype(np.float32), counts)


def _whitening(coordinates: Float64[np.ndarray, "n k"], labels: Integer[np.ndarray, "n"]) -> Float64[np.ndarray, "k k"]:
    """Return the map after which cells have the unit covariance within their types."""
    codes, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    means = np.zeros((len(counts), coordinates.shape[1]))
    np.add.at(means, codes, coordinates / counts[codes, None])
    within = coordinates - means[codes]
    variances, directions = np.linalg.eigh(within.T @ within / len(within))
    floor = max(_RIDGE * variances.mean(), 1e-12)
    return directions / np.sqrt(np.maximum(variances, 0.0) + floor)


def _variable_genes(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Choose genes that vary more than others of the same mean, and the scale of each.

    Mean and variance are those of counts per 10,000; what is usual is a parabola in their logarithms. Where no gene is
    in three cells, all genes are taken.
    """
    linear = matrix.copy()
    linear.data = np.expm1(linear.data)
    mean, variance = _moments(linear)
    n_cells = np.diff(matrix.tocsc().indptr)
    usable = np.flatnonzero((n_cells >= _LEAST_CELLS) & (variance > 0))
    if not len(usable):
        usable = np.arange(matrix.shape[1])
    elif len(usable) > _MOST_GENES:
        x, y = np.log(mean[usable]), np.log(variance[usable])
        excess = y - np.polyval(np.polyfit(x, y, 2), x)
        usable = np.sort(usable[np.argsort(-excess, kind="stable")[:_MOST_GENES]])
    deviation = np.sqrt(_moments(matrix)[1][usable])
    return usable, np.where(deviation > 0, deviation, 1.0) ** _POWER


def _moments(matrix: sparse.csr_array) -> tuple[np.ndarray, np.ndarray]:
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    squares = np.asarray((matrix * matrix).mean(axis=0)).ravel()
    return mean, np.maximum(squares - mean**2, 0.0)
