"""A file opened for its cells: what stays on disk, and that it reads as the whole file does."""

import anndata
import h5py
import numpy as np
import pytest
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset
from scipy import sparse

from genemamba_sc.data import CellReader, detect_expression, open_h5ad

COUNTS = np.array([[0, 3, 1], [2, 0, 0], [0, 0, 5], [1, 1, 0]], dtype=np.float32)


@pytest.fixture
def path(tmp_path):
    """A file with everything an analysis leaves in it."""
    cells = AnnData(sparse.csr_matrix(COUNTS), uns={"log1p": {"base": 2.0}, "pca": {"variance": np.ones(3)}})
    cells.obs["batch"] = ["a", "b", "a", "b"]
    cells.layers["rows"] = sparse.csr_matrix(COUNTS * 2)
    cells.layers["columns"] = sparse.csc_matrix(COUNTS * 3)
    cells.layers["dense"] = COUNTS * 4
    cells.obsm["X_pca"] = np.ones((4, 2))
    cells.obsp["distances"] = sparse.eye(4, format="csr")
    cells.raw = cells.copy()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_matrices_stay_on_disk_and_the_rest_is_left_out(path):
    opened = open_h5ad(path)

    assert isinstance(opened.X, CSRDataset)
    kinds = {name: type(opened.layers[name]) for name in opened.layers if name is not None}
    assert {name: issubclass(kind, CSRDataset | CSCDataset | h5py.Dataset) for name, kind in kinds.items()} == {
        "rows": True,
        "columns": True,
        "dense": True,
    }
    assert (dict(opened.obsm), dict(opened.obsp), opened.raw) == ({}, {}, None)
    assert dict(opened.uns) == {"log1p": {"base": 2.0}}


def test_names_and_columns_are_those_of_the_file(path):
    opened, whole = open_h5ad(path), anndata.read_h5ad(path)

    assert opened.obs.equals(whole.obs)
    assert opened.var.equals(whole.var)


@pytest.mark.parametrize(("layer", "factor"), [(None, 1), ("rows", 2), ("columns", 3), ("dense", 4)])
def test_cells_are_read_as_they_are_stored(path, layer, factor):
    opened = open_h5ad(path)
    matrix = opened.X if layer is None else opened.layers[layer]

    assert CellReader(matrix).read([2, 0]).toarray().tolist() == (COUNTS[[2, 0]] * factor).tolist()


def test_a_file_without_x_has_none(tmp_path):
    AnnData(layers={"counts": COUNTS}).write_h5ad(tmp_path / "cells.h5ad")

    opened = open_h5ad(tmp_path / "cells.h5ad")

    assert opened.X is None
    assert opened.layers["counts"].shape == (4, 3)


def test_a_file_of_an_old_anndata_is_left_to_anndata(path):
    with h5py.File(path, "a") as file:
        del file.attrs["encoding-type"]

    opened = open_h5ad(path)

    assert opened.isbacked
    assert CellReader(opened.X).read([1]).toarray().tolist() == [[2, 0, 0]]


def test_the_scale_is_recognised_as_in_memory(path):
    opened, whole = open_h5ad(path), anndata.read_h5ad(path)

    assert detect_expression(CellReader(opened.X), uns=opened.uns) == detect_expression(CellReader(whole.X))


def test_what_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "cells.h5ad").write_text("cells")

    with pytest.raises(OSError, match="file signature not found"):
        open_h5ad(tmp_path / "cells.h5ad")
