"""Cells of commands: what is written is known to be possible before work begins, and comes whole or not at all."""

import os
import warnings
from pathlib import Path

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc.cli._cells import check_not_lost, check_output, hand_over, read_cells, read_pair, write_cells
from genemamba_sc.data import Place


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


def as_pandas_3_writes() -> AnnData:
    """Names and notes as ``StringDtype`` in every table."""
    adata = cells()
    adata.raw = cells()
    adata.obs["note"] = pd.array(["p", None, "q"], dtype="string")
    for table in (adata.obs, adata.var, adata.raw.var):
        table["text"] = pd.array([f"t{i}" for i in range(len(table))], dtype="string")
        table.index = pd.Index(table.index, dtype="string")
    adata.obsm["frame"] = pd.DataFrame({"text": pd.array(list("uvw"), dtype="string")}, index=adata.obs_names)
    adata.uns["text"] = pd.array(["a", "b"], dtype="string")
    return adata


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_text_of_pandas_3_is_written_so_that_older_versions_read_it(name: str, tmp_path: Path):
    adata = as_pandas_3_writes()
    write_cells(adata, str(tmp_path / name))
    assert isinstance(adata.obs.index.dtype, pd.StringDtype) and isinstance(adata.obs["note"].dtype, pd.StringDtype)
    read = anndata.read_zarr(tmp_path / name) if name.endswith("zarr") else anndata.read_h5ad(tmp_path / name)
    assert read.obs_names.tolist() == ["a", "b", "c"] and read.raw.var_names.tolist() == ["x", "y"]
    assert read.obs["text"].tolist() == ["t0", "t1", "t2"] and read.obs["note"].isna().tolist() == [False, True, False]
    assert read.obsm["frame"]["text"].tolist() == ["u", "v", "w"] and list(read.uns["text"]) == ["a", "b"]
    if anndata.settings.allow_write_nullable_strings is False and name.endswith("h5ad"):
        import h5py

        with h5py.File(tmp_path / name) as file:
            kinds = {part: file[part].attrs["encoding-type"] for part in ("obs/_index", "var/text", "raw/var/_index")}
        assert set(kinds.values()) == {"string-array"}


def test_a_file_of_pandas_3_that_was_read_is_written(tmp_path: Path):
    path = str(tmp_path / "cells.h5ad")
    with anndata.settings.override(allow_write_nullable_strings=True):
        as_pandas_3_writes().write_h5ad(path)
    write_cells(read_cells(path), path)
    assert anndata.read_h5ad(path).obs_names.tolist() == ["a", "b", "c"]


@pytest.fixture(params=["h5mu", "zarr"])
def mudata_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / f"mu.{request.param}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mudata, on its next version
        both = mudata.MuData({"rna": cells(), "prot": cells()})
        both.obs["cell_type"] = pd.Categorical(["T", "B", "T"])
        both.write(path) if request.param == "h5mu" else both.write_zarr(path)
    return str(path)


def test_a_mudata_is_not_replaced_by_one_of_its_modalities(mudata_path: str, tmp_path: Path):
    (tmp_path / "link.zarr").symlink_to(mudata_path)
    for output in (mudata_path, f"{mudata_path}/", str(tmp_path / "link.zarr")):
        with pytest.raises(ValueError, match=r"OUT must not be the MuData that is read: .*Name another file"):
            check_not_lost(mudata_path, output)
    check_not_lost(mudata_path, str(tmp_path / "out.zarr"))


def test_a_result_does_not_replace_the_folder_of_its_cells_nor_lie_in_a_store(tmp_path: Path):
    write_cells(cells(), str(tmp_path / "in.zarr"))
    for path, output in (("in.zarr", "in.zarr/out.h5ad"), ("in.zarr/mod/rna", "in.zarr")):
        with pytest.raises(ValueError, match="OUT and the cells that are read must not lie in each other"):
            check_not_lost(str(tmp_path / path), str(tmp_path / output))
    check_not_lost(str(tmp_path / "in.zarr"), str(tmp_path / "in.zarr"))
    (tmp_path / "10x").mkdir()
    (tmp_path / "10x" / "matrix.mtx").touch()
    check_not_lost(str(tmp_path / "10x"), str(tmp_path / "10x" / "out.h5ad"))


def test_the_modalities_that_are_not_written_are_named(mudata_path: str, capsys: pytest.CaptureFixture[str]):
    read, whole = read_pair(mudata_path, Place())
    assert read is whole
    assert "is a MuData: OUT holds one modality, and not prot." in capsys.readouterr().err


def test_what_a_model_writes_to_the_cells_of_raw_comes_to_all_that_the_file_holds(tmp_path: Path):
    adata = cells()
    adata.raw = cells()
    adata = adata[:, :1].copy()
    adata.layers["counts"] = adata.X * 3
    adata.varm["loadings"] = np.ones((1, 2))
    adata.write_h5ad(tmp_path / "in.h5ad")
    read, whole = read_pair(str(tmp_path / "in.h5ad"), Place(use_raw=True))
    assert read.var_names.tolist() == ["x", "y"]
    read.obs["type"], read.obsm["X_new"], read.uns["note"] = "T", np.zeros((3, 2)), "n"
    found = hand_over(read, whole)
    assert (found.obs["type"].tolist(), found.obsm["X_new"].shape, found.uns["note"]) == (["T"] * 3, (3, 2), "n")
    assert (found.n_vars, found.raw.n_vars, list(found.varm)) == (1, 2, ["loadings"])
    assert found.layers["counts"].tolist() == [[3], [3], [3]]
