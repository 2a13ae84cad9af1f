"""Factorise what varies within batches: the start of the gene table where batches are to be integrated."""

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

# Variances below this share of the mean square are rounding errors, as in _gene_table.
_CONSTANT = 1e-6
# So are singular values below this share of the first one: the solver returns arbitrary directions for them.
_EMPTY = 1e-5
# Columns of the random basis beyond those that are wanted, and rounds of power iteration.
_OVERSAMPLED = 10
_POWER_ROUNDS = 5


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
        Seed of the randomised solver.

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
    sizes, components = _leading(centred, n_found, seed)
    components[sizes <= _EMPTY * sizes.max()] = 0.0
    return (components * scale).T


def _leading(matrix: LinearOperator, n_components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the leading singular values and right vectors by randomised subspace iteration.

    This is the solver of the table of all that varies (Halko et al. 2011, doi 10.1137/090771806; scikit-learn's takes
    no operator). It takes a third of the time of ARPACK.
    """
    width = min(n_components + _OVERSAMPLED, *matrix.shape)
    basis = np.random.default_rng(seed).normal(size=(matrix.shape[1], width))
    for _ in range(_POWER_ROUNDS):
        basis = np.linalg.qr(matrix.rmatmat(np.linalg.qr(matrix.matmat(basis))[0]))[0]
    _, sizes, turned = np.linalg.svd(matrix.matmat(basis), full_matrices=False)
    return sizes[:n_components], (turned @ basis.T)[:n_components]


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

    def forward(vectors: np.ndarray) -> np.ndarray:
        vectors = vectors.reshape(matrix.shape[1], -1)
        return weight[:, None] * (matrix @ vectors - one_hot @ (means @ vectors))

    def backward(vectors: np.ndarray) -> np.ndarray:
        weighted = weight[:, None] * vectors.reshape(matrix.shape[0], -1)
        return transposed @ weighted - means.T @ (one_hot.T @ weighted)

    transposed = matrix.T.tocsr()
    return LinearOperator(
        matrix.shape, matvec=forward, rmatvec=backward, matmat=forward, rmatmat=backward, dtype=np.float64
    )
