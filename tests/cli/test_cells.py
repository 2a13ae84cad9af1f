"""Cells of commands: what is written is known to be possible before work begins, and comes whole or not at all."""

import os
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc.cli._cells import check_output, read_cells, write_cells


def cells() -> AnnData:
    return AnnData(np.ones((3, 2), np.float32), obs=pd.DataFrame(index=list("abc")), var=pd.DataFrame(index=list("xy")))


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_cells_are_written_in_the_format_of_the_name_and_replaced_whole(name: str, tmp_path: Path):
    path = tmp_path / name
    for factor in (1, 2):
        adata = cells()
        adata.X *= factor
        check_output(str(path))
        write_cells(adata, str(path))
        read = anndata.read_zarr(path) if name.endswith("zarr") else anndata.read_h5ad(path)
        assert read.X.tolist() == (np.ones((3, 2)) * factor).tolist()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["out.csv", "out.loom", "out.h5ad.gz", "out", "out.h5"])
def test_a_format_that_is_not_written_is_refused_before_any_work(name: str, tmp_path: Path):
    with pytest.raises(ValueError, match=rf"written as h5ad or zarr.* Got '{name}'.*something\.h5ad"):
        check_output(str(tmp_path / name))


def test_a_folder_that_is_no_store_is_not_replaced(tmp_path: Path):
    (tmp_path / "mine.zarr").mkdir()
    with pytest.raises(FileExistsError, match="not a zarr store, so it is not replaced"):
        check_output(str(tmp_path / "mine.zarr"))


def test_it_is_renamed_in_a_file_that_stays_on_disk_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    adata = cells()
    adata.obs["note"] = "x"
    adata.write_h5ad(tmp_path / "in.h5ad")
    import h5py

    with h5py.File(tmp_path / "in.h5ad", "a") as file:
        obs = file["obs"]
        obs.move("_index", "barcode")
        obs.move("note", "_index")
        obs.attrs["_index"] = "barcode"
        obs.attrs["column-order"] = np.array(["_index"], dtype=h5py.string_dtype())
    read = read_cells(str(tmp_path / "in.h5ad"), backed=True)
    assert "the column '_index' of obs was renamed to 'index_of_file'" in capsys.readouterr().err
    assert list(read.obs.columns) == ["index_of_file"]


def test_a_column_that_could_not_be_written_is_renamed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    adata = cells()
    adata.raw = adata.copy()
    adata.write_h5ad(tmp_path / "in.h5ad")
    import h5py

    with h5py.File(tmp_path / "in.h5ad", "a") as file:  # as SeuratDisk leaves it
        var = file["raw/var"]
        var.move("_index", "features")
        var.copy("features", "_index")  # an array, or from anndata 0.13 on a group
        var.attrs["_index"] = "features"
        var.attrs["column-order"] = np.array(["_index"], dtype=h5py.string_dtype())
    read = read_cells(str(tmp_path / "in.h5ad"))
    assert "the column '_index' of raw.var was renamed to 'index_of_file'" in capsys.readouterr().err
    write_cells(read, str(tmp_path / "out.h5ad"))
    assert anndata.read_h5ad(tmp_path / "out.h5ad").raw.var["index_of_file"].tolist() == ["x", "y"]
