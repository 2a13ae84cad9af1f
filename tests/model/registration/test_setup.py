"""Codes of batches and labels are those of this model, whoever registered the AnnData after it."""

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
import scvi
from anndata import AnnData

import genemamba_sc as gm
from genemamba_sc import GeneMambaModel
from genemamba_sc.model.registration._setup import registered_codes, training_codes

Cells = Callable[..., AnnData]


@pytest.fixture
def cells(make_cells: Cells) -> AnnData:
    adata = make_cells(n_obs=24)
    adata.obs["cell_type"] = ["b", "a", "c"] * 8
    adata.obs["batch"] = [1, 2] * 12
    adata.obs["other"] = ["y", "x"] * 12
    adata.obs["other_batch"] = [7, 8, 9] * 8
    return adata


def new_model(cells: AnnData, **setup: object) -> GeneMambaModel:
    GeneMambaModel.setup_anndata(cells, **setup)
    return GeneMambaModel(cells)


@pytest.mark.parametrize("after", ["another model", "scVI", "nothing"])
def test_codes_are_those_of_the_model(cells: AnnData, after: str) -> None:
    model = new_model(cells, labels_key="cell_type", batch_key="batch")
    if after == "another model":
        new_model(cells, labels_key="other", batch_key="other_batch")
    elif after == "scVI":
        scvi.model.SCVI.setup_anndata(cells)
    codes = training_codes(model)
    np.testing.assert_array_equal(codes["labels"], [1, 0, 2] * 8)
    np.testing.assert_array_equal(codes["batch"], [0, 1] * 12)
    assert {part.dtype for part in codes.values()} == {np.dtype(np.int64)}


def test_cells_without_a_label_keep_their_code(cells: AnnData) -> None:
    model = new_model(cells, labels_key="cell_type", unlabeled_category="c")
    expected = registered_codes(model.adata_manager)["labels"]
    scvi.model.SCVI.setup_anndata(cells)
    np.testing.assert_array_equal(registered_codes(model.adata_manager)["labels"], expected)


def test_a_model_set_up_before_another_learns_its_own_types(cells: AnnData) -> None:
    model = new_model(cells, labels_key="cell_type")
    new_model(cells, labels_key="other")
    model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    alone = new_model(cells, labels_key="cell_type")
    alone.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    np.testing.assert_array_equal(model.predict_celltype(cells), alone.predict_celltype(cells))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda obs: obs.drop(columns="cell_type"), r"set up with adata.obs\['cell_type'\], which is gone"),
        (lambda obs: obs.assign(cell_type="d"), r"has 'd' now. Bring the former values back"),
    ],
)
def test_a_column_that_changed_since_is_refused(cells: AnnData, change: Callable, message: str) -> None:
    model = new_model(cells, labels_key="cell_type")
    cells.obs = change(cells.obs)
    scvi.model.SCVI.setup_anndata(cells)
    with pytest.raises(ValueError, match=message):
        training_codes(model)


def test_cells_that_are_read_lazily_are_refused_with_a_way_out(cells: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dataset2D:
        """As anndata.experimental.read_lazy gives it: no table of pandas."""

    monkeypatch.setattr(AnnData, "obs", property(lambda self: Dataset2D()))
    with pytest.raises(TypeError, match=r"Got adata\.obs of the kind Dataset2D.*Load it: adata = adata\.to_memory\(\)"):
        GeneMambaModel.setup_anndata(cells, labels_key="cell_type")


def test_a_part_of_a_file_on_disk_is_refused_with_a_way_out(cells: AnnData, tmp_path: Path) -> None:
    cells.write_h5ad(tmp_path / "cells.h5ad")
    on_disk = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.raises(ValueError, match=r"a view of 5 cells of .*cells.h5ad\. Pass adata.to_memory\(\)"):
        GeneMambaModel.setup_anndata(on_disk[:5])
    GeneMambaModel.setup_anndata(on_disk[:5].to_memory())
    on_disk.file.close()


@pytest.mark.parametrize("dtype", ["int64", "float64", "bool"])
def test_numbers_that_have_become_text_are_the_same_values(cells: AnnData, dtype: str) -> None:
    cells.obs["cell_type"] = np.array([1, 0, 1] * 8).astype(dtype)
    model = new_model(cells, labels_key="cell_type", batch_key="batch")
    before = registered_codes(model.adata_manager)
    gm.pl.share_colours(cells, ["cell_type", "batch"])
    assert {str(cells.obs[key].dtype) for key in ("cell_type", "batch")} == {"category"}
    after = registered_codes(model.adata_manager)
    assert {name: codes.tolist() for name, codes in after.items()} == {
        name: codes.tolist() for name, codes in before.items()
    }
    model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    cells.obs["cell_type"] = cells.obs["cell_type"].astype(str).replace({cells.obs["cell_type"].iloc[0]: "7"})
    with pytest.raises(ValueError, match=r"has changed for 16 of 24 cells since: one has '7' now"):
        registered_codes(model.adata_manager)
