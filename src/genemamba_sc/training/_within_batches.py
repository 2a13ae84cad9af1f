"""Factorise what varies within batches: the start of the gene table where batches are to be integrated."""

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, svds

# Variances below this share of the mean square are rounding errors, as in _gene_table.
_CONSTANT = 1e-6
# So are singular values below this share of the first one: the solver returns arbitrary directions for them.
_EMPTY = 1e-5


def within_batch_components(
    weights: sparse.csr_array, batches: Integer[np.ndarray, "n"], n_components: int, seed: int
) -> Float[np.ndarray, "v k"]:
    """Factorise a matrix of cells × tokens after its mean in each batch is subtracted.

    Batches weigh alike, whatever their number of cells. Columns are scaled by their standard deviation within batches
    to the power of -1/2, as in :func:`genemamba_sc.training._gene_table.spectral_gene_table`. The matrix stays sparse:
    what is subtracted has the rank of the number of batches.

    Parameters
    ----------
    weights
        Weights of the tokens of each cell, shape (n, v).
    batches
        Batch of each cell, shape (n,), codes.
    n_components
        How many components, at most; fewer where cells or tokens are few.
    seed
        Seed of the start vector of the solver.

    Returns
    -------
    How each token weighs in each component, on the scale of the weights; the largest component first. Rows of tokens
    that do not vary within batches are zero, and so are components beyond the rank of what varies.
    """
    codes = np.unique(batches, return_inverse=True)[1]
    one_hot = sparse.csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)))
    counts = np.asarray(one_hot.sum(axis=0)).ravel()
    matrix = weights.astype(np.float64)
    means = (one_hot.T @ matrix).toarray() / counts[:, None]
    scale = _scale_of_columns(matrix, means, one_hot, counts)
    centred = _centred(matrix @ sparse.diags_array(scale), means * scale, one_hot, counts)
    n_found = min(n_components, min(matrix.shape) - 1)
    if not scale.any():
        return np.zeros((matrix.shape[1], n_found))
    start = np.random.default_rng(seed).normal(size=min(matrix.shape))
    _, sizes, components = svds(centred, k=n_found, v0=start, solver="arpack")
    components[sizes <= _EMPTY * sizes.max()] = 0.0
    return (components[np.argsort(-sizes)] * scale).T


def _scale_of_columns(
    matrix: sparse.csr_array, means: np.ndarray, one_hot: sparse.csr_array, counts: np.ndarray
) -> np.ndarray:
    squares = matrix.copy()
    squares.data **= 2
    mean_squares = (one_hot.T @ squares).toarray() / counts[:, None]
    variance = np.maximum(mean_squares - means**2, 0.0).mean(axis=0)
    varies = variance > _CONSTANT * mean_squares.mean(axis=0)
    return np.where(varies, np.where(varies, variance, 1.0) ** -0.25, 0.0)


def _centred(
    matrix: sparse.csr_array, means: np.ndarray, one_hot: sparse.csr_array, counts: np.ndarray
) -> LinearOperator:
    """Give the matrix less the means of its batches, with rows that make every batch weigh alike."""
    weight = one_hot @ np.sqrt(matrix.shape[0] / (len(counts) * counts))

    def forward(vector: np.ndarray) -> np.ndarray:
        vector = vector.ravel()
        return weight * (matrix @ vector - one_hot @ (means @ vector))

    def backward(vector: np.ndarray) -> np.ndarray:
        weighted = weight * vector.ravel()
        return matrix.T @ weighted - means.T @ (one_hot.T @ weighted)

    return LinearOperator(matrix.shape, matvec=forward, rmatvec=backward, dtype=np.float64)
