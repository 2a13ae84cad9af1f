"""Reading cells: every kind of matrix gives the same rows, in the asked order, and stays as it was."""

import tracemalloc
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._matrix import reader_of

# numpy discourages its own matrix class, which old objects still hold.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

COUNTS = np.array(
    [
        [0, 3, 0, 1],
        [2, 0, 0, 0],
        [0, 0, 0, 0],
        [5, 0, 7, 0],
        [0, 1, 1, 1],
    ],
    dtype=np.float32,
)


def backed(matrix: Any, folder: Path) -> Any:
    ad.AnnData(matrix).write_h5ad(folder / "cells.h5ad")
    return ad.read_h5ad(folder / "cells.h5ad", backed="r").X


FORMATS = {
    "CSR matrix": lambda x, _: sparse.csr_matrix(x),
    "CSC matrix": lambda x, _: sparse.csc_matrix(x),
    "CSR array": lambda x, _: sparse.csr_array(x),
    "CSC array": lambda x, _: sparse.csc_array(x),
    "numpy array": lambda x, _: x,
    "numpy matrix": lambda x, _: np.asmatrix(x),
    "Fortran-ordered numpy array": lambda x, _: np.asfortranarray(x),
    "view of an AnnData": lambda x, _: ad.AnnData(sparse.csr_matrix(x[::-1]))[::-1].X,
    "backed CSR": lambda x, folder: backed(sparse.csr_matrix(x), folder),
    "backed CSC": lambda x, folder: backed(sparse.csc_matrix(x), folder),
    "backed dense": lambda x, folder: backed(x, folder),
}
every_format = pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS.keys())


def assert_canonical(block: sparse.csr_matrix) -> None:
    fresh = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=block.shape)
    assert type(block) is sparse.csr_matrix
    assert block.dtype == np.float32
    assert fresh.has_canonical_format
    assert np.all(block.data != 0)


@every_format
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([4, 0, 3, 0, 0], id="unsorted with repeats"),
        pytest.param([1, 2, 3], id="adjacent"),
        pytest.param([0, 3], id="ascending with a gap"),
        pytest.param([2], id="an empty cell"),
        pytest.param([], id="no cell"),
    ],
)
def test_rows_come_in_the_asked_order(make: Any, rows: list[int], tmp_path: Path) -> None:
    block = CellReader(make(COUNTS, tmp_path)).read(rows)

    assert_canonical(block)
    np.testing.assert_array_equal(block.toarray(), COUNTS[rows])


@every_format
def test_blocks_stream_all_cells(make: Any, tmp_path: Path) -> None:
    reader = CellReader(make(COUNTS, tmp_path))

    blocks = list(reader.blocks(2))

    assert (reader.n_obs, reader.n_vars) == (5, 4)
    assert [start for start, _ in blocks] == [0, 2, 4]
    np.testing.assert_array_equal(np.vstack([block.toarray() for _, block in blocks]), COUNTS)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32", "float64"])
def test_any_real_dtype_becomes_float32(dtype: str) -> None:
    block = CellReader(sparse.csr_matrix(COUNTS.astype(dtype))).read(range(5))

    assert_canonical(block)
    np.testing.assert_array_equal(block.toarray(), COUNTS.astype(dtype).astype(np.float32))


def test_repeated_entries_are_added_zeros_removed_and_the_source_left_alone() -> None:
    data, indices, indptr = np.array([1.0, 2.0, 0.0, 4.0]), np.array([2, 0, 1, 2]), np.array([0, 4])
    messy = sparse.csr_matrix((data, indices, indptr), shape=(1, 3))

    block = CellReader(messy).read([0, 0])
    block.data[:] = 9

    assert_canonical(block)
    np.testing.assert_array_equal(block.indices, [0, 2, 0, 2])
    np.testing.assert_array_equal(messy.data, [1, 2, 0, 4])
    np.testing.assert_array_equal(messy.indices, [2, 0, 1, 2])
    np.testing.assert_array_equal(CellReader(messy).read([0]).toarray(), [[2, 0, 5]])


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_matrix, np.array], ids=["CSR", "CSC", "dense"])
def test_writing_to_a_block_leaves_the_source_alone(make: Any) -> None:
    source = make(COUNTS)
    for _, block in CellReader(source).blocks(5):
        block.data[:] = -1
        block.indices[:] = 0

    dense = source if isinstance(source, np.ndarray) else source.toarray()
    np.testing.assert_array_equal(dense, COUNTS)


@pytest.mark.parametrize("on_disk", [False, True], ids=["numpy array", "backed dense"])
def test_a_large_dense_request_is_put_together_from_pieces(on_disk: bool, tmp_path: Path) -> None:
    matrix = np.arange(700 * 2, dtype=np.float32).reshape(700, 2)
    rows = np.random.default_rng(0).permutation(700)

    block = CellReader(backed(matrix, tmp_path) if on_disk else matrix).read(rows)

    np.testing.assert_array_equal(block.toarray(), matrix[rows])


class Undensifiable(sparse.csr_matrix):
    def toarray(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a sparse matrix was made dense")

    todense = __array__ = toarray


def test_sparse_cells_are_never_made_dense(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells = sparse.csr_matrix(COUNTS)
    on_disk = backed(cells, tmp_path)
    monkeypatch.setattr(sparse.csr_matrix, "toarray", Undensifiable.toarray)
    monkeypatch.setattr(sparse.csr_matrix, "todense", Undensifiable.toarray)

    for source in (Undensifiable(cells), on_disk):
        assert CellReader(source).read([3, 0]).nnz == 4
        assert sum(block.nnz for _, block in CellReader(source).blocks(2)) == 8


@pytest.mark.parametrize("on_disk", [False, True], ids=["in memory", "backed"])
def test_memory_follows_the_block_not_the_matrix(on_disk: bool, tmp_path: Path) -> None:
    n = 20_000  # dense, this would be 1.6 GB
    wide = sparse.csr_matrix(
        (np.ones(n, np.float32), np.arange(n, dtype=np.int32), np.arange(n + 1, dtype=np.int32)), shape=(n, n)
    )
    reader = CellReader(backed(wide, tmp_path) if on_disk else wide)

    tracemalloc.start()
    total = sum(block.nnz for _, block in reader.blocks(512))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total == n
    assert peak < 5e6


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        pytest.param(sparse.coo_matrix(COUNTS), TypeError, r"got scipy\.sparse.*coo_matrix.*Convert it", id="COO"),
        pytest.param(pd.DataFrame(COUNTS), TypeError, r"got pandas.*DataFrame.*Convert it", id="DataFrame"),
        pytest.param(None, TypeError, "got builtins.NoneType", id="None"),
        pytest.param(COUNTS[0], ValueError, r"two dimensions .* got shape \(4,\)", id="one dimension"),
        pytest.param(COUNTS.astype(complex), ValueError, "real numbers.*complex128.*astype", id="complex"),
        pytest.param(COUNTS.astype(object), ValueError, "real numbers.*object.*astype", id="objects"),
        pytest.param(COUNTS.astype(str), ValueError, "real numbers.*<U32.*astype", id="text"),
    ],
)
def test_what_is_no_cell_matrix_is_refused(matrix: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CellReader(matrix)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        pytest.param(np.array([True, False]), TypeError, r"dtype bool.*np\.flatnonzero", id="mask"),
        pytest.param(np.array([0.0]), TypeError, "whole row numbers.*float64", id="fractions"),
        pytest.param(np.array([[0]]), TypeError, r"1-D.*shape \(1, 1\)", id="two dimensions"),
        pytest.param([0, 5], IndexError, r"\[0, 5\).*got 5", id="beyond the end"),
        pytest.param([0, -1], IndexError, "got -1.*Count from the start", id="negative"),
    ],
)
def test_wrong_row_numbers_are_refused(rows: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CellReader(COUNTS).read(rows)


def test_an_empty_block_size_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one cell; got size=0"):
        next(CellReader(COUNTS).blocks(0))


def test_a_real_backed_file_gives_unsorted_rows_in_the_asked_order(real_data: Path) -> None:
    path = real_data / "cells" / "pbmc3k.h5ad"
    rows = np.random.default_rng(0).integers(0, 2638, 100)

    read = CellReader(ad.read_h5ad(path, backed="r").X).read(rows)

    assert (read != ad.read_h5ad(path).X[rows]).nnz == 0


@every_format
def test_what_is_read_as_it_is_stored_has_the_same_values(make: Any, tmp_path: Path) -> None:
    block = CellReader(make(COUNTS, tmp_path)).read([4, 0, 0, 3], canonical=False)

    assert type(block) is sparse.csr_matrix
    assert block.dtype == np.float32
    np.testing.assert_array_equal(block.toarray(), COUNTS[[4, 0, 0, 3]])


def test_entries_are_put_into_order_only_where_that_is_asked() -> None:
    stored = sparse.csr_matrix((np.array([3.0, 0.0, 1.0, 2.0]), [2, 1, 0, 2], [0, 4]), shape=(1, 4))
    reader = CellReader(stored)

    as_stored, canonical = reader.read([0], canonical=False), reader.read([0])

    assert (as_stored.indices.tolist(), as_stored.data.tolist()) == ([2, 1, 0, 2], [3, 0, 1, 2])
    assert (canonical.indices.tolist(), canonical.data.tolist()) == ([0, 2], [1, 5])
    assert stored.indices.tolist() == [2, 1, 0, 2]


def test_a_dask_array_is_refused_with_the_call_that_loads_it():
    array = type("Array", (), {"shape": (2, 3), "__module__": "dask.array.core"})()
    with pytest.raises(TypeError, match=r"got dask\.array\.core\.Array\. Load it first: adata = adata\.to_memory\(\)"):
        CellReader(array)


def test_a_matrix_of_another_shape_than_its_cells_is_refused(tmp_path):
    """As anndata reads a reversed part of a file: without its last cell."""
    adata = ad.AnnData(sparse.csr_matrix(np.ones((4, 3), np.float32)))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    part = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")[::-1]
    told = r"Got .+ for an AnnData of \(4, 3\): anndata misreads.*adata = adata\.to_memory\(\)"
    with pytest.raises(ValueError, match=told):
        reader_of(part, None)
