"""Multiply one matrix of features by many small ones, and its transpose too."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from scipy import sparse

# A second copy of the matrix, in the order of its columns, is made up to this many entries (8 bytes each).
_MOST_COPIED = 5_000_000

Product = Callable[[Float32[np.ndarray, "a k"]], Float32[np.ndarray, "b k"]]


@dataclass(frozen=True)
class Products:
    """Hold the products of a matrix of shape (n, f).

    Parameters
    ----------
    forward
        From (f, k) to (n, k).
    back
        The transpose, from (n, k) to (f, k).
    """

    forward: Product
    back: Product


def products_of(features: Float32[np.ndarray, "n f"] | sparse.csr_matrix | sparse.csr_array) -> Products:
    """Choose how to multiply.

    Where PyTorch has MKL, its sparse product takes less than half of the time of scipy's, which goes through the
    columns one by one. It has none for a transpose without a copy, so a large matrix is left to scipy there.

    Parameters
    ----------
    features
        The matrix. The columns of a sparse one are sorted within a row, and there is one entry for each.
    """
    if isinstance(features, np.ndarray) or not torch.backends.mkl.is_available():
        return Products(lambda dense: features @ dense, lambda dense: features.T @ dense)
    if features.nnz > _MOST_COPIED:
        return Products(_by_torch(features), lambda dense: features.T @ dense)
    return Products(_by_torch(features), _by_torch(features.T.tocsr()))


def _by_torch(matrix: sparse.csr_matrix | sparse.csr_array) -> Product:
    # PyTorch refuses indices of two types, and warns where it cannot write.
    index = matrix.indices.dtype
    rows, columns = (np.require(part, index, "W") for part in (matrix.indptr, matrix.indices))
    arrays = torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(np.require(matrix.data, None, "W"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        # Checked once: a wrong index would read beyond the matrix.
        held = torch.sparse_csr_tensor(*arrays, size=matrix.shape, device="cpu", check_invariants=True)
    return lambda dense: (held @ torch.from_numpy(np.ascontiguousarray(dense))).numpy()
