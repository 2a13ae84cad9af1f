"""Calibrations: on which cells, before which refit, and how they live on with a model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scvi
from anndata import AnnData
from lightning.pytorch.callbacks import Callback
from safetensors.numpy import load_file

from genemamba_sc import GeneMambaModel
from genemamba_sc.model.annotation import _calibrating
from genemamba_sc.model.annotation._calibrating import calibration_before_refit, calibration_on
from genemamba_sc.model.registration._trained_cells import holds_its_cells
from genemamba_sc.training._dataset import TokenDataset

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]


@pytest.fixture(scope="module")
def model(make_cells: Cells, fit: Fit) -> GeneMambaModel:
    """A model with 30 validation cells, which nothing was fitted to."""
    return fit(make_cells(300), max_epochs=0, refit=False)


def test_a_refit_on_the_validation_cells_does_not_change_the_calibration(
    model: GeneMambaModel, make_cells: Cells, fit: Fit
):
    again = fit(make_cells(300), max_epochs=0, refit=True)
    assert np.array_equal(again.calibration_.logits, model.calibration_.logits)
    assert not np.array_equal(
        again.predict_celltype(soft=True).to_numpy(), model.predict_celltype(soft=True).to_numpy()
    )


@pytest.fixture
def others(make_cells: Cells) -> AnnData:
    """Cells of the same rates that did not train."""
    return make_cells(600)[300:].copy()


def test_training_calibrates_on_its_validation_cells(model: GeneMambaModel):
    found, rows = model.calibration_, np.sort(model.validation_indices)
    codes = np.array([model.cell_types.index(name) for name in model.adata.obs["cell_type"]])
    order = np.sort(found.labels)
    assert np.array_equal(order, np.sort(codes[rows])) and found.cells == "30 validation cells of the training"
    probabilities = model.predict_celltype(indices=model.validation_indices, soft=True).to_numpy()
    kept = found.probabilities(found.logits)
    np.testing.assert_allclose(np.sort(kept, axis=0), np.sort(probabilities, axis=0), atol=1e-6)
    assert found.known.counts.sum() == 270


def test_cells_without_a_label_do_not_calibrate(make_cells: Cells, fit: Fit):
    cells = make_cells(120)
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.add_categories("none")
    cells.obs.iloc[::2, 0] = "none"
    found = fit(cells, setup={"labels_key": "cell_type", "unlabeled_category": "none"}, max_epochs=0).calibration_
    assert 0 < len(found.labels) < 12 and set(found.labels) <= {0, 1, 2}
    assert found.cells.startswith(f"{len(found.labels)} validation cells")


@pytest.mark.parametrize(
    "arguments",
    [
        {"setup": {}},
        {"train_size": 1.0},
        {"plan_kwargs": {"classification_weight": 0.0}, "max_epochs": 1},
    ],
    ids=["no labels", "no validation cells", "labels that are not learned"],
)
def test_where_nothing_can_calibrate_there_is_no_calibration(make_cells: Cells, fit: Fit, arguments: dict):
    assert fit(make_cells(), **{"max_epochs": 0, **arguments}).calibration_ is None


def test_a_training_that_is_stopped_leaves_no_calibration_of_other_weights(
    make_cells: Cells, fit: Fit, monkeypatch: pytest.MonkeyPatch
):
    trained = fit(make_cells(), max_epochs=0)
    assert trained.calibration_ is not None

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genemamba_sc.model.fitting._training.KeepingRunner.__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        trained.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    assert trained.calibration_ is None


def test_the_hook_reads_scores_of_the_weights_as_they_are_when_it_is_called(make_cells: Cells, fit: Fit):
    """A refit after it changes the model, not the calibration."""
    trained = fit(make_cells(300), max_epochs=0)
    before = trained.calibration_
    head = trained.module.cell_type_head
    head.markers.mul_(5.0)
    assert trained.calibration_ is before
    splitter = trained._data_splitter_cls(
        TokenDataset(trained._source(trained.adata), _codes(trained)), 0.9, None, True
    )
    assert (
        np.abs(calibration_before_refit(trained, splitter, splitter.val_idx).logits).max()
        > 2 * np.abs(before.logits).max()
    )


def _codes(trained: GeneMambaModel) -> dict[str, np.ndarray]:
    types = trained.cell_types
    return {"labels": np.array([types.index(name) for name in trained.adata.obs["cell_type"]])}


def test_validation_batches_that_did_not_train_are_told(make_cells: Cells, fit: Fit):
    cells = make_cells(120)
    first = (cells.obs["batch"] == "first").to_numpy()
    split = [np.flatnonzero(first), np.flatnonzero(~first)]
    found = fit(
        cells, setup={"labels_key": "cell_type", "batch_key": "batch"}, max_epochs=0, integrate=False,
        datasplitter_kwargs={"external_indexing": split},
    ).calibration_  # fmt: skip
    assert found.cells == "60 validation cells of the training, from one batch, which did not train the model"


def test_cells_of_the_user_replace_the_validation_cells(make_cells: Cells, fit: Fit, others: AnnData):
    trained = fit(make_cells(300), max_epochs=0)
    predicted, known = trained.predict_celltype(others), trained.calibration_.known
    trained.calibrate(others, "cell_type")
    assert trained.calibration_.cells == "300 cells given to calibrate(), by obs['cell_type']"
    assert trained.calibration_.known is known
    assert np.array_equal(trained.predict_celltype(others), predicted)
    _, sets = trained.predict_celltype(others, return_sets=True, coverage=0.9)
    right = sets.members.to_numpy()[np.arange(300), trained.calibration_.labels]
    # On the calibration cells themselves the share is the rank of the quantile: ceil(301 * 0.9) = 271.
    assert right.sum() == 271
    trained.calibrate(others, "cell_type", indices=np.arange(20))
    assert len(trained.calibration_.labels) == 20


def test_a_model_without_calibration_measures_each_cell_by_a_fit_to_the_others(
    make_cells: Cells, fit: Fit, others: AnnData
):
    trained = fit(make_cells(60), train_size=1.0, max_epochs=0)
    trained.calibrate(others, "cell_type")
    found = trained.calibration_
    assert found.known.counts.sum() == 300
    inside = found.known.distance(
        _calibrating.read_cells(
            trained.module, trained._source(others), np.arange(300),
            table=found.known.table(trained.module.encoder_config.vocab_size),
        ).coordinates
    )  # fmt: skip
    assert found.distances.mean() > inside.mean()
    query = make_cells(900)[600:].copy()
    assert (trained.annotate(query, reject_unknown=True).cell_types == "Unknown").mean() < 0.15


def test_the_order_of_the_cells_given_does_not_matter(make_cells: Cells, fit: Fit, others: AnnData):
    trained = fit(make_cells(300), max_epochs=0)
    trained.calibrate(others, "cell_type")
    _, first = trained.predict_celltype(others, return_sets=True)
    trained.calibrate(others[::-1].copy(), "cell_type")
    _, second = trained.predict_celltype(others, return_sets=True)
    assert first.members.equals(second.members)


def test_many_cells_are_sampled(model: GeneMambaModel, others: AnnData, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_calibrating, "_MOST_CELLS", 50)
    found = calibration_on(model, others, "cell_type", np.arange(300), model._source(others))
    assert found.logits.shape == (50, 3) and found.cells.startswith("50 cells given")


@pytest.mark.parametrize("change", ["new type", "missing", "no column", "one cell", "no cell"])
def test_cells_that_cannot_calibrate_are_refused(model: GeneMambaModel, others: AnnData, change: str):
    indices, key = None, "cell_type"
    if change == "new type":
        others.obs["cell_type"] = others.obs["cell_type"].cat.rename_categories({"T cell": "new"})
        message = r"the model knows: \['B cell', .*\].* also has \['new'\]\. Rename .*pass indices= without them"
    elif change == "missing":
        others.obs.iloc[:3, 0] = np.nan
        message = r"has 3 missing values \(NaN\) in 300 cells\. Pass indices= of the labelled cells"
    elif change == "no column":
        key, message = "kind", r"labels_key='kind' is not a column of adata\.obs"
    else:
        indices = [4] if change == "one cell" else []
        message = rf"needs labelled cells, at least 2\. adata\.obs\['cell_type'\] labels {len(indices)} of the cells"
    before = model.calibration_
    with pytest.raises(ValueError, match=message):
        model.calibrate(others, key, indices=indices)
    assert model.calibration_ is before


def test_a_cell_does_not_calibrate_twice(model: GeneMambaModel, others: AnnData):
    drawn = np.random.default_rng(0).choice(12, 200)
    before = model.calibration_
    with pytest.raises(ValueError, match=r"counts once\. Got 200 indices of 12 cells\. Draw them without replacement"):
        model.calibrate(others, "cell_type", indices=drawn)
    assert model.calibration_ is before


@pytest.mark.parametrize("rest", [np.nan, "Unknown", 7.0], ids=["missing", "another type", "a number"])
def test_labels_of_cells_that_indices_leave_out_are_not_read(
    model: GeneMambaModel, others: AnnData, rest: object, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(model, "calibration_", model.calibration_)
    model.calibrate(others, "cell_type", indices=np.arange(100))
    whole = model.calibration_
    others.obs["cell_type"] = others.obs["cell_type"].astype(object)
    others.obs.iloc[100:, 0] = rest
    model.calibrate(others, "cell_type", indices=np.arange(100))
    assert np.array_equal(model.calibration_.labels, whole.labels)
    assert np.array_equal(model.calibration_.logits, whole.logits)


def test_cells_of_the_training_are_refused_and_its_test_cells_are_not(make_cells: Cells, fit: Fit):
    trained = fit(make_cells(300), max_epochs=0, train_size=0.7, validation_size=0.1)
    message = r"240 of 300 have names of cells that trained or validated the model\. Pass other cells, or indices="
    with pytest.raises(ValueError, match=message):
        trained.calibrate(trained.adata, "cell_type")
    trained.calibrate(trained.adata, "cell_type", indices=trained.test_indices)
    assert len(trained.calibration_.labels) == 60


def test_types_that_are_numbers_may_be_floats_in_the_calibration_cells(make_cells: Cells, fit: Fit, others: AnnData):
    cells = make_cells(60)
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.codes.astype(int).to_numpy()
    trained = fit(cells, max_epochs=0)
    codes = others.obs["cell_type"].cat.codes.astype(float).to_numpy()
    others.obs["cell_type"] = codes
    others.obs.iloc[0, 0] = np.nan  # which makes floats of the others
    others.obs_names = "query_" + others.obs_names
    trained.calibrate(others, "cell_type", indices=np.arange(1, 300))
    assert np.array_equal(trained.calibration_.labels, codes[1:])


@pytest.mark.parametrize("first", [0, 1])
def test_cells_whose_names_only_number_the_rows_are_not_taken_for_those_of_the_training(
    make_cells: Cells, fit: Fit, others: AnnData, first: int
):
    cells = make_cells(60)
    cells.obs_names = [str(i) for i in range(60)]
    others.obs_names = [str(i) for i in range(first, 300 + first)]
    trained = fit(cells, max_epochs=0)
    trained.calibrate(others, "cell_type")
    assert len(trained.calibration_.labels) == 300
    with pytest.raises(ValueError, match=r"60 of 60 have names of cells that trained"):
        trained.calibrate(trained.adata, "cell_type")


def test_other_cells_of_the_same_names_are_told_to_be_renamed(make_cells: Cells, fit: Fit, others: AnnData):
    trained = fit(make_cells(60), max_epochs=0)
    others.obs_names = [f"cell{i}" for i in range(300)]
    with pytest.raises(ValueError, match=r"60 of 300 have names .*rename them: adata\.obs_names = 'query_' \+"):
        trained.calibrate(others, "cell_type")
    others.obs_names = "query_" + others.obs_names
    trained.calibrate(others, "cell_type")
    assert len(trained.calibration_.labels) == 300


def test_cells_that_were_attached_later_have_no_part_in_the_training(model: GeneMambaModel, others: AnnData):
    query = GeneMambaModel.load_query_data(others, model, accelerator="cpu")
    query.calibrate(others, "cell_type")
    assert len(query.calibration_.labels) == 300


def test_a_type_that_no_calibration_cell_has_is_in_sets_by_the_threshold_of_all(
    model: GeneMambaModel, make_cells: Cells, fit: Fit, others: AnnData
):
    trained = fit(make_cells(300), max_epochs=0)
    trained.calibrate(others, "cell_type", indices=(others.obs["cell_type"] != "T cell").to_numpy())
    _, sets = trained.predict_celltype(others, return_sets=True, coverage=0.95)
    assert sets.members["T cell"].any()
    with pytest.raises(ValueError, match=r"These have fewer: T cell \(0\)\. Pass per_type=False"):
        trained.predict_celltype(others, return_sets=True, per_type=True)


def test_a_calibration_is_saved_with_the_model(model: GeneMambaModel, others: AnnData, tmp_path: Path):
    model.save(tmp_path / "model")
    again = GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu")
    first, second = others.copy(), others.copy()
    model.annotate(first), again.annotate(second)
    assert first.obs.equals(second.obs)
    assert again.calibration_.cells == model.calibration_.cells
    arrays = load_file(tmp_path / "model" / "model.safetensors")
    assert arrays["calibration.logits"].shape == (30, 3)
    query = GeneMambaModel.load_query_data(others, model, accelerator="cpu")
    assert np.array_equal(query.calibration_.logits, model.calibration_.logits)


def test_a_training_without_types_has_no_calibration(make_cells: Cells, fit: Fit):
    again = fit(make_cells(120), max_epochs=0)
    assert again.calibration_ is not None
    again.train(max_epochs=1, plan_kwargs={"classification_weight": 0.0}, enable_progress_bar=False)
    assert again.calibration_ is None


def test_cells_that_trained_before_do_not_calibrate_a_second_training(make_cells: Cells, fit: Fit):
    again = fit(make_cells(300), max_epochs=1)
    first = set(again.train_indices)
    scvi.settings.seed = 1  # another split
    with pytest.warns(UserWarning, match=r"of 30 validation cells trained this model before"):
        again.train(max_epochs=1, enable_progress_bar=False)
    unseen = set(again.validation_indices) - first
    assert 0 < len(unseen) < 30 and len(again.calibration_.labels) == len(unseen)


def test_a_loaded_model_knows_the_cells_of_all_its_trainings(make_cells: Cells, fit: Fit, tmp_path: Path):
    cells, rest = make_cells(120), np.arange(90, 120)
    parts = [np.arange(0, 30), np.arange(30, 60), np.arange(60, 90)]
    split = [[parts[0], np.concatenate([*parts[1:], rest])], [parts[1], np.concatenate([parts[0], parts[2], rest])]]
    again = fit(cells, max_epochs=1, datasplitter_kwargs={"external_indexing": split[0]})
    how = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}
    with pytest.warns(UserWarning, match=r"30 of 90 validation cells trained this model before"):
        again.train(datasplitter_kwargs={"external_indexing": split[1]}, **how)
    again.save(tmp_path / "model")
    # A model without cells keeps it, too.
    GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu").save(tmp_path / "kept")
    loaded = GeneMambaModel.load(tmp_path / "kept", adata=cells, accelerator="cpu")
    with pytest.warns(UserWarning, match=r"60 of 90 validation cells trained this model before"):
        loaded.train(datasplitter_kwargs={"external_indexing": [parts[2], np.concatenate([*parts[:2], rest])]}, **how)
    assert loaded.calibration_.cells == "30 validation cells of the training"


def test_cells_of_the_training_are_refused_in_a_copy_and_after_loading(
    model: GeneMambaModel, others: AnnData, tmp_path: Path
):
    with pytest.raises(ValueError, match=r"300 of 300 have names of cells that trained"):
        model.calibrate(model.adata.copy(), "cell_type")
    model.save(tmp_path / "model")
    loaded = GeneMambaModel.load(tmp_path / "model", adata=model.adata, accelerator="cpu")
    with pytest.raises(ValueError, match=r"300 of 300 have names"):
        loaded.calibrate(model.adata, "cell_type")


def test_rows_of_the_split_are_not_taken_for_those_of_cells_in_another_order(
    model: GeneMambaModel, others: AnnData, tmp_path: Path
):
    model.save(tmp_path / "model")
    turned = model.adata[::-1].copy()
    with pytest.warns(UserWarning, match=r"as many cells as the model was trained on, but other names, or these in"):
        loaded = GeneMambaModel.load(tmp_path / "model", adata=turned, accelerator="cpu")
    assert not holds_its_cells(loaded)
    with pytest.raises(ValueError, match=r"does not hold them\. Load it with them, in their order"):
        loaded.refit_on_genes(others[:, :20].copy())
    # A training draws its own split of the cells as they are now.
    loaded.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    assert holds_its_cells(loaded)


def test_a_model_that_was_saved_without_names_knows_its_cells_by_their_number(model: GeneMambaModel, tmp_path: Path):
    model.save(tmp_path / "new")
    old = GeneMambaModel.load(tmp_path / "new", adata=False, accelerator="cpu")
    old._split_names = None
    old.save(tmp_path / "old")
    loaded = GeneMambaModel.load(tmp_path / "old", adata=model.adata[::-1].copy(), accelerator="cpu")
    assert holds_its_cells(loaded)
    fewer = GeneMambaModel.load(tmp_path / "old", adata=model.adata[:-1].copy(), accelerator="cpu")
    assert not holds_its_cells(fewer)


def test_a_second_calibration_without_training_cells_is_cross_fitted_again(
    make_cells: Cells, fit: Fit, others: AnnData
):
    alone = fit(make_cells(100), max_epochs=0, train_size=1.0)
    others.obs_names = [f"other{i}" for i in range(len(others))]
    alone.calibrate(others, "cell_type")
    before = alone.calibration_
    alone.calibrate(others, "cell_type")
    # A GPU adds up in another order each time.
    np.testing.assert_allclose(alone.calibration_.distances, before.distances, rtol=1e-5)
    assert alone.calibration_.cells == before.cells


class Failing(Callback):
    """End the training by an error."""

    def on_train_epoch_start(self, *_: object) -> None:
        raise RuntimeError("no more")


def test_a_training_that_fails_leaves_no_calibration(make_cells: Cells, fit: Fit):
    again = fit(make_cells(120), max_epochs=0)
    with pytest.raises(ValueError, match="precision"):
        again.train(max_epochs=1, precision="foo", enable_progress_bar=False)
    assert again.calibration_ is not None  # refused before anything was trained
    with pytest.raises(RuntimeError, match="no more"):
        again.train(max_epochs=1, callbacks=[Failing()], enable_progress_bar=False)
    assert again.calibration_ is None
