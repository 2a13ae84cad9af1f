"""scvi-tools' names for a reference and a query, with the meaning that they have for a model of tokens."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel

Cells = Callable[..., AnnData]
QUIET = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module")
def folder(trained: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reference") / "model"
    trained.save(place)
    return place


@pytest.mark.parametrize("by_path", [False, True], ids=["a model", "a folder"])
def test_a_query_is_answered_at_once_and_fine_tunes_a_model_of_its_own(
    trained: GeneMambaModel, folder: Path, make_cells: Cells, by_path: bool
):
    query = make_cells(seed=5)[:, ::-1].copy()
    expected = trained.get_latent_representation(query, key_added=None)
    model = GeneMambaModel.load_query_data(query, folder if by_path else trained, accelerator="cpu")
    assert model.adata is query and model.is_trained
    assert np.array_equal(model.get_latent_representation(key_added=None), expected)
    assert np.array_equal(model.predict_celltype(), trained.predict_celltype(query))
    model.train(**QUIET)
    assert len(model.history["train_loss"]) == 3 and len(trained.history["train_loss"]) == 2
    assert np.array_equal(trained.get_latent_representation(query, key_added=None), expected)


def test_labels_that_the_reference_does_not_know_are_left_out(trained: GeneMambaModel, make_cells: Cells):
    query = make_cells()
    query.obs["cell_type"] = "platelet"
    with pytest.warns(UserWarning, match=r"has values the model does not know, so it is not registered as labels_key"):
        model = GeneMambaModel.load_query_data(query, trained, accelerator="cpu")
    assert model.cell_types == trained.cell_types


@pytest.mark.parametrize("by_path", [False, True], ids=["a model", "a folder"])
def test_cells_are_checked_and_stay_as_they_are(
    trained: GeneMambaModel, folder: Path, make_cells: Cells, by_path: bool
):
    reference = folder if by_path else trained
    query = make_cells()[:, 3:20].copy()
    assert GeneMambaModel.prepare_query_anndata(query, reference) is None
    copied = GeneMambaModel.prepare_query_anndata(query, reference, inplace=False)
    assert copied is not query and list(copied.var_names) == list(query.var_names)
    names = GeneMambaModel.prepare_query_anndata(query, reference, return_reference_var_names=True)
    assert list(names) == list(trained.vocabulary.gene_ids)
    query.var_names = [f"ENSMUSG{i:011d}" for i in range(17)]
    with pytest.raises(ValueError, match=r"0 of 17 names in var_names are"):
        GeneMambaModel.prepare_query_anndata(query, reference)


def test_a_reference_is_a_model_or_a_folder(make_cells: Cells):
    for function in (GeneMambaModel.load_query_data, GeneMambaModel.prepare_query_anndata):
        with pytest.raises((TypeError, ValueError), match=r"reference_model"):
            function(make_cells(), 3)


def test_registries_of_saved_models_are_read_from_our_files(
    trained: GeneMambaModel, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    registry = GeneMambaModel.load_registry(folder)
    assert registry["setup_args"] == trained.registry_["setup_args"]
    assert registry["field_registries"].keys() == trained.registry_["field_registries"].keys()
    GeneMambaModel(registry=registry)
    GeneMambaModel.view_setup_args(folder)
    assert "labels_key" in capsys.readouterr().out
    trained.save(tmp_path / "models", prefix="a_")
    assert GeneMambaModel.load_registry(tmp_path / "models", "a_")["setup_args"] == registry["setup_args"]
    with pytest.raises(FileNotFoundError, match=r"is not a folder\. Give the folder that save\(\) wrote"):
        GeneMambaModel.load_registry(tmp_path / "absent")
