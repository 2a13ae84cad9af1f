"""Predictions and annotations: what is written, what the calibration says, and what is refused beforehand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scvi
from anndata import AnnData

from genemamba_sc import GeneMambaModel

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]

WRITTEN = ["genemamba_celltype", "genemamba_confidence", "genemamba_set", "genemamba_unknown"]


@pytest.fixture(scope="module")
def sure(make_cells: Cells, fit: Fit) -> GeneMambaModel:
    """A model with 60 validation cells in two batches."""
    return fit(
        make_cells(300), setup={"labels_key": "cell_type", "batch_key": "batch"}, train_size=0.8, max_epochs=0,
        integrate=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def without(make_cells: Cells, fit: Fit) -> GeneMambaModel:
    """A model without validation cells."""
    return fit(make_cells(60), train_size=1.0, max_epochs=0)


def strange(cells: AnnData, n: int = 10) -> AnnData:
    """Cells of another kind, in place of the first ones."""
    counts = cells.X.toarray()
    counts[:n, :] = 0
    counts[:n, 30:36] = 40
    return AnnData(counts, obs=cells.obs.copy(), var=cells.var.copy())


def test_sets_hold_the_right_type_as_often_as_stated(sure: GeneMambaModel, make_cells: Cells):
    query = make_cells(600, seed=0)[300:].copy()  # other cells of the same rates
    types, sets = sure.predict_celltype(query, return_sets=True, coverage=0.8)
    assert np.array_equal(types, sure.predict_celltype(query))
    right = sets.members.to_numpy()[np.arange(300), sets.members.columns.get_indexer(query.obs["cell_type"])]
    # 60 calibration cells and 300 others: two standard deviations are 11 points.
    assert right.mean() == pytest.approx(0.8, abs=0.11)
    assert list(sets.members.columns) == sure.cell_types and list(sets.members.index) == list(query.obs_names)
    assert sets.calibrated_on == "60 validation cells of the training, from 2 batches, all of which trained the model"


def test_more_coverage_makes_sets_larger_and_empty_ones_hold_the_prediction_where_asked(sure: GeneMambaModel):
    some = np.arange(40)
    _, small = sure.predict_celltype(indices=some, return_sets=True, coverage=0.5)
    soft, large = sure.predict_celltype(indices=some, soft=True, return_sets=True, coverage=0.98)
    assert (large.members.to_numpy() >= small.members.to_numpy()).all()
    assert 0 in set(small.sizes)
    _, full = sure.predict_celltype(indices=some, return_sets=True, coverage=0.5, allow_empty=False)
    best = soft.to_numpy().argmax(axis=1)
    assert full.members.to_numpy()[np.arange(40), best].all()
    assert (full.members.to_numpy() >= small.members.to_numpy()).all()


def test_a_set_of_a_cell_does_not_depend_on_the_others(sure: GeneMambaModel):
    order = np.array([9, 3, 77, 3])
    _, all_sets = sure.predict_celltype(return_sets=True)
    _, some = sure.predict_celltype(indices=order, return_sets=True)
    assert some.members.equals(all_sets.members.iloc[order])


def test_calibrated_probabilities_are_scores_over_the_temperature_and_change_no_prediction(
    sure: GeneMambaModel, monkeypatch: pytest.MonkeyPatch
):
    # Three times as high, and two in five wrong: too sure.
    labels = np.where(np.arange(60) % 5 < 2, (sure.calibration_.labels + 1) % 3, sure.calibration_.labels)
    too_sure = replace(sure.calibration_, logits=3 * sure.calibration_.logits, labels=labels)
    monkeypatch.setattr(sure, "calibration_", too_sure)
    soft = sure.predict_celltype(soft=True).to_numpy()
    temperature = sure.calibration_.temperature
    types = sure.predict_celltype()
    monkeypatch.setattr(sure, "calibration_", None)
    plain = sure.predict_celltype(soft=True).to_numpy()
    powers = plain.astype(float) ** (1 / temperature)
    np.testing.assert_allclose(soft, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    assert temperature > 1.5
    assert np.array_equal(sure.predict_celltype(), types)


def test_annotate_writes_what_it_returns_and_where_it_is_from(sure: GeneMambaModel, make_cells: Cells, tmp_path: Path):
    query = make_cells(300)
    found = sure.annotate(query)
    pd.testing.assert_frame_equal(query.obs[WRITTEN], found.to_frame(), check_names=False)
    assert list(query.obs["genemamba_celltype"].cat.categories) == sure.cell_types
    assert query.obs["genemamba_unknown"].between(0, 60 / 61).all()
    origin = query.uns["genemamba"]
    assert origin["is_calibrated"] and origin["coverage"] == 0.9 and not origin["coverage_is_per_type"]
    assert origin["calibrated_on"].startswith("60 validation cells of the training")
    assert origin["temperature"] == sure.calibration_.temperature
    query.write_h5ad(tmp_path / "query.h5ad")
    again = anndata.read_h5ad(tmp_path / "query.h5ad")
    assert list(again.obs["genemamba_set"]) == list(found.sets.as_text())
    assert again.uns["genemamba"]["coverage"] == 0.9


def test_annotate_writes_the_types_that_occur_in_the_order_of_the_reference(sure: GeneMambaModel, make_cells: Cells):
    query = make_cells(300)
    types = np.asarray(sure.predict_celltype(query))
    two = query[types != sure.cell_types[1]].copy()
    sure.annotate(two)
    # scanpy's dot plots raise a KeyError for a category that no cell has.
    assert list(two.obs["genemamba_celltype"].cat.categories) == [sure.cell_types[0], *sure.cell_types[2:]]
    assert list(sure.predict_celltype(two).categories) == sure.cell_types


def test_cells_of_another_kind_look_unknown_and_keep_the_nearest_type_unless_asked(
    sure: GeneMambaModel, make_cells: Cells
):
    query = strange(make_cells(300))
    kept = sure.annotate(query)
    assert (kept.unknown[:10] > 0.95).all() and (kept.unknown[10:] >= 0.95).mean() < 0.2
    assert "Unknown" not in kept.cell_types.cat.categories and kept.rejected_from is None
    rejected = sure.annotate(query, reject_unknown=True)
    assert list(query.obs["genemamba_celltype"].cat.categories) == [*sure.cell_types, "Unknown"]
    assert (rejected.cell_types[:10] == "Unknown").all()
    is_known = rejected.unknown < 0.95
    assert (rejected.cell_types[is_known].astype(str) == kept.cell_types[is_known].astype(str)).all()
    assert (rejected.cell_types[~is_known] == "Unknown").all()
    assert query.uns["genemamba"]["unknown_from"] == 0.95
    fewer = sure.annotate(query, reject_unknown=0.02)
    assert (fewer.cell_types == "Unknown").sum() <= (rejected.cell_types == "Unknown").sum()
    assert fewer.rejected_from == 0.98


def test_whether_sets_may_be_empty_is_written_with_them(sure: GeneMambaModel, make_cells: Cells):
    query = make_cells()
    some = sure.annotate(query, coverage=0.5)
    assert query.uns["genemamba"]["sets_may_be_empty"] is True and (some.sets.sizes == 0).any()
    full = sure.annotate(query, coverage=0.5, allow_empty=False)
    assert query.uns["genemamba"]["sets_may_be_empty"] is False and (full.sets.sizes > 0).all()
    assert some.sets.allow_empty and not full.sets.allow_empty


@pytest.mark.parametrize("choice", [{"allow_empty": "no"}, {"per_type": 1}, {"allow_empty": None}])
def test_choices_of_sets_are_yes_or_no(sure: GeneMambaModel, without: GeneMambaModel, choice: dict, unchecked: None):
    for ask in (sure.annotate, without.annotate, sure.predict_celltype):
        with pytest.raises(TypeError, match=rf"{next(iter(choice))} must be True or False\. Got "):
            ask(**choice)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["soft", "return_sets"])
def test_what_is_neither_yes_nor_no_is_refused_in_what_is_returned(trained: GeneMambaModel, name: str):
    with pytest.raises(TypeError, match=rf"{name} must be True or False\. Got 'no'\. Pass one of these"):
        trained.predict_celltype(**{name: "no"})


def test_many_strange_cells_are_told(sure: GeneMambaModel, make_cells: Cells):
    query = strange(make_cells(300), 100)
    with pytest.warns(UserWarning, match=r"differ from .* 3\d% of them look less like .* than 95% .*coverage of 0\.9"):
        sure.annotate(query)


def test_cells_that_the_model_is_less_sure_of_are_told_and_cells_like_those_of_the_training_are_not(
    sure: GeneMambaModel, make_cells: Cells, recwarn: pytest.WarningsRecorder
):
    query = make_cells(600, seed=0)[300:].copy()
    found = sure.annotate(query)
    assert not found.shift.is_seen and not [w for w in recwarn if "differ from the calibration" in str(w.message)]
    assert query.uns["genemamba"]["shift_distance"] == found.shift.distance
    counts = query.X.toarray()
    query.X = np.random.default_rng(0).permuted(counts, axis=1).astype(np.float32)
    with pytest.warns(UserWarning, match=r"the model is not as sure of them .*Kolmogorov-Smirnov distance 0\."):
        sure.annotate(query)


def test_clusters_vote_and_columns_of_an_earlier_annotation_go(sure: GeneMambaModel, make_cells: Cells):
    query = make_cells(300)
    query.obs["mine"] = pd.Categorical(query.obs["cell_type"].astype(str))
    found = sure.annotate(query, majority_voting="mine")
    assert (query.obs["genemamba_majority_voting"].astype(str) == query.obs["mine"].astype(str)).all()
    assert query.uns["genemamba"]["majority_voting"] == "mine" == found.voting.by
    sure.annotate(query)
    assert "genemamba_majority_voting" not in query.obs and "majority_voting" not in query.uns["genemamba"]
    pytest.importorskip("igraph")
    sure.annotate(query, majority_voting="leiden")
    assert query.uns["genemamba"]["majority_voting"] == "genemamba_over_clustering"
    by_cluster = query.obs.groupby("genemamba_over_clustering", observed=True)["genemamba_majority_voting"]
    assert (by_cluster.nunique() == 1).all()


def test_unknown_cells_are_grey(sure: GeneMambaModel, make_cells: Cells, monkeypatch: pytest.MonkeyPatch):
    reference = sure.adata.copy()
    reference.uns["cell_type_colors"] = ["#111111", "#222222", "#333333"]
    monkeypatch.setattr(sure, "_adata", reference)
    query = strange(make_cells(300))
    sure.annotate(query, reject_unknown=True)
    colours = dict(zip(query.obs["genemamba_celltype"].cat.categories, query.uns["genemamba_celltype_colors"]))
    assert colours["Unknown"] == "#808080" and colours["B cell"] in ("#111111", "#222222", "#333333")
    sure.annotate(query)
    assert len(query.uns["genemamba_celltype_colors"]) == 3


def test_types_too_rare_to_spare_a_cell_are_named(make_cells: Cells, fit: Fit):
    cells = make_cells()
    labels = cells.obs["cell_type"].astype(str).to_numpy()
    labels[np.flatnonzero(labels == "B cell")[4:]] = "T cell"
    cells.obs["cell_type"] = labels
    model = fit(cells, setup={"labels_key": "cell_type"}, max_epochs=0)
    told = r"This model has none: all cells train where a type has fewer than 5 labelled ones \('B cell'\)\. Call model"
    with pytest.raises(ValueError, match=told):
        model.annotate(make_cells(), reject_unknown=True)


def test_without_calibration_cells_types_are_written_and_the_rest_is_refused(
    without: GeneMambaModel, make_cells: Cells
):
    query = make_cells()
    query.obs["genemamba_set"], query.obs["genemamba_unknown"] = "old", 0.5
    with pytest.warns(UserWarning, match=r"No label sets are written\. Label sets .* need calibration cells"):
        found = without.annotate(query)
    assert not found.is_calibrated and found.sets is None and found.unknown is None
    assert "genemamba_set" not in query.obs and "genemamba_unknown" not in query.obs
    assert not query.uns["genemamba"]["is_calibrated"] and "coverage" not in query.uns["genemamba"]
    message = (
        r"This model has none: it was trained without .* Call model\.calibrate\(adata, labels_key\) with other "
        r"labelled cells, or make a new model and train it with train_size=0\.9"
    )
    for ask in (
        lambda: without.predict_celltype(query, return_sets=True),
        lambda: without.annotate(query, coverage=0.9),
        lambda: without.annotate(query, per_type=True),
        lambda: without.annotate(query, allow_empty=False),
        lambda: without.annotate(query, reject_unknown=True),
    ):
        with pytest.raises(ValueError, match=message):
            ask()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"coverage": 1.0}, r"coverage must lie in \(0, 1\), both ends left out\. Got 1\.0"),
        (
            {"coverage": 0.99},
            r"coverage 0\.99 need at least 99 calibration cells\. Got 60\. Ask for less up to coverage=0",
        ),
        ({"per_type": True, "coverage": 0.99}, r"at least 99 calibration cells\. Got 60"),
        ({"per_type": True, "coverage": 0.97}, r"calibration cells of each\. These have fewer: B cell \(\d+\), T cell"),
    ],
)
def test_sets_that_cannot_be_made_are_refused_before_cells_are_read(
    sure: GeneMambaModel, make_cells: Cells, monkeypatch: pytest.MonkeyPatch, choices: dict, message: str
):
    monkeypatch.setattr(GeneMambaModel, "_source", lambda *args, **kwargs: pytest.fail("cells were read"))
    with pytest.raises(ValueError, match=message):
        sure.predict_celltype(make_cells(), return_sets=True, **choices)
    with pytest.raises(ValueError, match=message):
        sure.annotate(make_cells(), **choices)


@pytest.mark.parametrize("choices", [{"coverage": 0.9}, {"per_type": True}, {"allow_empty": False}])
def test_choices_of_sets_that_are_not_returned_are_refused(sure: GeneMambaModel, choices: dict):
    with pytest.raises(ValueError, match=rf"need return_sets=True\. Got {next(iter(choices))} with return_sets=Fal"):
        sure.predict_celltype(**choices)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 2, float("nan"), "yes"])
def test_a_share_to_lose_outside_of_0_and_1_is_refused(sure: GeneMambaModel, value: object, unchecked: None):
    with pytest.raises(ValueError, match=r"reject_unknown must be True, False, or a share in \(0, 1\)"):
        sure.annotate(reject_unknown=value)


def test_a_view_of_a_backed_file_is_refused_before_cells_are_read(
    sure: GeneMambaModel, make_cells: Cells, tmp_path: Path
):
    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    view = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")[:9]
    with pytest.raises(
        ValueError, match=r"writes to obs, which a view of a backed AnnData does not take\. .*to_memory"
    ):
        sure.annotate(view)


def test_too_few_calibration_cells_to_reject_any_are_told(sure: GeneMambaModel):
    with pytest.raises(
        ValueError, match=r"To lose 0\.01 of the known cells, .* needs at least 99 .*Got 60\. Allow for"
    ):
        sure.annotate(reject_unknown=0.01)


def test_a_reference_with_a_type_called_unknown_is_not_rejected_into(make_cells: Cells, fit: Fit):
    cells = make_cells(60)
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.rename_categories({"T cell": "Unknown"})
    model = fit(cells, max_epochs=0)
    with pytest.raises(ValueError, match=r"calls cells 'Unknown', which is a type of this model\. Got both"):
        model.annotate(reject_unknown=True)


def test_numbers_as_labels_stay_numbers_in_sets_and_become_text_in_obs(make_cells: Cells, fit: Fit):
    cells = make_cells(300)
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.codes.astype(int)
    scvi.settings.seed = 0
    model = fit(cells, max_epochs=0)
    found = model.annotate(cells, reject_unknown=0.2)
    assert list(found.sets.members.columns) == [0, 1, 2]
    assert list(cells.obs["genemamba_celltype"].cat.categories) == ["0", "1", "2", "Unknown"]
    assert set(cells.obs["genemamba_set"]) <= {"", "0", "1", "2", "0 | 1", "0 | 2", "1 | 2", "0 | 1 | 2"}
