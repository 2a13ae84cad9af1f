"""Products with a sparse matrix, by PyTorch or by scipy, are those of the dense matrix."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from genemamba_sc.training import _products
from genemamba_sc.training._products import products_of

DENSE = np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0], [4, 0, 8]], dtype=np.float32)
RIGHT = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
LEFT = np.array([[1, 0], [2, 0], [3, 1], [0.5, 1]], dtype=np.float32)


def with_long_row_pointers(matrix: sparse.csr_array) -> sparse.csr_array:
    matrix.indptr = matrix.indptr.astype(np.int64)
    return matrix


def read_only(matrix: sparse.csr_array) -> sparse.csr_array:
    for part in (matrix.data, matrix.indices, matrix.indptr):
        part.flags.writeable = False
    return matrix


@pytest.mark.parametrize("has_mkl", [True, False])
@pytest.mark.parametrize("most_copied", [0, 100])
@pytest.mark.parametrize(
    "form",
    [np.asarray, sparse.csr_array, sparse.csr_matrix]
    + [lambda dense: with_long_row_pointers(sparse.csr_array(dense)), lambda dense: read_only(sparse.csr_array(dense))],
    ids=["dense", "array", "matrix", "two types of indices", "read only"],
)
def test_both_products_are_those_of_the_dense_matrix(
    form: Any, most_copied: int, has_mkl: bool, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(_products, "_MOST_COPIED", most_copied)
    if not has_mkl:
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)

    products = products_of(form(DENSE))

    assert products.forward(RIGHT).tolist() == [[6, 8], [1, 2], [0, 0], [44, 56]]
    assert products.back(LEFT).tolist() == [[4, 4], [2, 0], [4, 8]]
    assert products.back(np.asfortranarray(LEFT)).tolist() == [[4, 4], [2, 0], [4, 8]]
    assert not recwarn.list
