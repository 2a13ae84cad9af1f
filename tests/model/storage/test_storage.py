"""scvi-tools' names for a reference and a query, with the meaning that they have for a model of tokens."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scvi
from anndata import AnnData

from genemamba_sc import GeneMambaModel

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]
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
    with pytest.warns(UserWarning, match=r"the model does not know \(.*\), so it is not registered as labels_key"):
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


def test_other_cells_may_be_set_and_are_not_taken_for_those_of_the_training(make_cells: Cells, fit: Fit):
    cells = make_cells(120)
    model = fit(cells, setup={"labels_key": "cell_type", "batch_key": "batch"}, max_epochs=1, integrate=False)
    query = make_cells(200)[120:].copy()
    del query.obs["batch"]
    predicted = model.predict_celltype(query)
    with pytest.warns(UserWarning, match=r"obs\['batch'\] is missing, so it is not registered as batch_key"):
        model.adata = query
    assert model.adata is query and np.array_equal(model.predict_celltype(), predicted)
    with pytest.raises(ValueError, match=r"This model does not hold them\. Load it with them, in their order"):
        model.refit_on_genes(query[:, :20].copy())
    model.calibrate(query, "cell_type")
    assert model.calibration_.cells == "80 cells given to calibrate(), by obs['cell_type']"
    # None of these cells trained the model before, whatever rows did.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    assert model.calibration_.cells == "8 validation cells of the training"
    with pytest.raises(ValueError, match=r"80 of 80 have names of cells that trained"):
        model.calibrate(query, "cell_type")


def test_the_cells_of_the_training_may_be_set_again(make_cells: Cells, fit: Fit):
    cells = make_cells(60)
    model = fit(cells, max_epochs=0)
    model.adata = make_cells(60, seed=1)[::-1].copy()
    model.calibrate(model.adata, "cell_type")
    model.adata = cells.copy()
    with pytest.raises(ValueError, match=r"60 of 60 have names of cells that trained"):
        model.calibrate(model.adata, "cell_type")


@pytest.mark.parametrize("back", ["itself", "a copy", "a part"])
def test_cells_with_made_up_names_are_known_by_their_tokens(make_cells: Cells, fit: Fit, back: str):
    cells, others = make_cells(60), make_cells(60, seed=1)
    cells.obs_names = others.obs_names = [str(i) for i in range(60)]
    model = fit(cells, max_epochs=0)
    model.adata = others
    model.calibrate(others, "cell_type")
    model.adata = cells
    asked = {"itself": cells, "a copy": cells.copy(), "a part": cells[:30].copy()}[back]
    with pytest.raises(ValueError, match=r"have names of cells that trained"):
        model.calibrate(asked, "cell_type")
    model.calibrate(others, "cell_type")


def test_cells_that_were_renamed_after_the_training_are_saved_by_their_new_names(
    make_cells: Cells, fit: Fit, tmp_path: Path
):
    model = fit(make_cells(60), max_epochs=1)
    model.adata.obs_names = "study1_" + model.adata.obs_names
    model.save(tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = GeneMambaModel.load(tmp_path / "model", adata=model.adata.copy(), accelerator="cpu")
    with pytest.raises(ValueError, match=r"have names of cells that trained"):
        loaded.calibrate(loaded.adata, "cell_type", indices=loaded.train_indices)


@pytest.mark.parametrize("between", ["a part", "other cells and back", "new names"])
def test_cells_of_an_earlier_training_do_not_calibrate(make_cells: Cells, fit: Fit, between: str):
    cells = make_cells(200)
    model = fit(cells, max_epochs=1)
    learned = set(cells.obs_names[model.train_indices])
    scvi.settings.seed = 1
    if between == "a part":
        model.adata = cells[20:].copy()
    elif between == "other cells and back":
        model.adata = make_cells(200, seed=1)
        model.adata.obs_names = [f"other{i}" for i in range(200)]
        model.train(**QUIET)
        model.adata = cells
        scvi.settings.seed = 2
    else:
        cells.obs_names = [f"new_{name}" for name in cells.obs_names]
        learned = {f"new_{name}" for name in learned}
    with pytest.warns(UserWarning, match=r"validation cells trained this model before"):
        model.train(**QUIET)
    validated = model.adata.obs_names[model.validation_indices]
    assert len(model.calibration_.labels) == len(set(validated) - learned)


@pytest.mark.parametrize(
    "values",
    [pd.array([None] * 5 + ["a"] * 55, dtype="string"), pd.array([None] * 5 + [1] * 55, dtype="Int64")],
    ids=["text", "numbers"],
)
def test_labels_of_a_query_may_be_missing(trained: GeneMambaModel, make_cells: Cells, values: object):
    query = make_cells()
    query.obs["cell_type"] = values
    with pytest.warns(UserWarning, match=r"has values the model does not know \(<NA>; it knows .*not registered as"):
        GeneMambaModel.load_query_data(query, trained, accelerator="cpu")


@pytest.mark.parametrize(("known", "asked"), [([0, 1], [False, True]), ([False, True], [0, 1])])
def test_yes_and_no_are_not_one_and_nought(make_cells: Cells, fit: Fit, known: list, asked: list):
    cells, query = make_cells(), make_cells(seed=1)
    cells.obs["cell_type"], query.obs["cell_type"] = known * 30, asked * 30
    model = fit(cells, max_epochs=0)
    with pytest.warns(UserWarning, match=r"has values the model does not know \((0|False); it knows"):
        GeneMambaModel.load_query_data(query, model, accelerator="cpu")


def test_only_an_anndata_may_be_set(make_cells: Cells, fit: Fit, unchecked: None):
    model = fit(make_cells(60), max_epochs=0)
    held = model.adata
    with pytest.raises(TypeError, match=r"cells of a model are an AnnData\. Got NoneType\. Pass one; .*adata=False"):
        model.adata = None
    assert model.adata is held
