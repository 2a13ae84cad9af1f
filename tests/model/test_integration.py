"""A model that integrates batches: when it does, what a query needs, and that it comes back from disk."""

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from safetensors.numpy import load_file, save_file
from scipy import sparse

from genemamba_sc import GeneMambaModel
from genemamba_sc._digests import sha256_of
from genemamba_sc.weights._folder import sealed

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]

QUICK: dict[str, Any] = {"max_epochs": 0, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module")
def mixed(make_cells: Cells, fit: Fit) -> GeneMambaModel:
    """A model without cell types that integrates two batches into four axes, for tests that only ask it."""
    return fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0, integration_kwargs={"n_axes": 4})


@pytest.fixture(scope="module")
def saved(mixed: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    mixed.save(folder)
    return folder


def latent(model: GeneMambaModel, adata: AnnData | None = None, **arguments: Any) -> np.ndarray:
    return model.get_latent_representation(adata, key_added=None, **arguments)


def projected(model: GeneMambaModel, adata: AnnData) -> np.ndarray:
    """What cells without a known batch get."""
    assert model.integration_ is not None
    found = latent(model, adata, integrated=False)
    return model.integration_(found, np.full(len(found), -1))


def in_batches(adata: AnnData, batches: Any, key: str = "batch") -> AnnData:
    adata.obs = pd.DataFrame({key: batches}, index=adata.obs_names)
    return adata


# ------------------------------------------------------------------ when it does


def test_batches_are_integrated_by_default(make_cells: Cells, fit: Fit):
    cells = make_cells()
    model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0, integration_kwargs={"n_axes": 4, "n_rounds": 2})
    assert model.integration_ is not None
    assert (model.integration_.config.n_axes, model.integration_.config.n_rounds) == (4, 2)
    found = model.get_latent_representation()
    assert found.dtype == np.float32 and cells.obsm["X_genemamba"].shape == found.shape == (60, 4)
    encoded = latent(model, integrated=False)
    assert encoded.shape == (60, 16)
    batches = (cells.obs["batch"] == "second").to_numpy().astype(int)
    np.testing.assert_allclose(found, model.integration_(encoded, batches), atol=1e-6)
    assert np.abs(found - projected(model, cells)).max() > 0.01


def test_a_batch_of_few_cells_is_integrated_with_a_warning(make_cells: Cells, fit: Fit):
    batches = np.repeat(["first", "second", "third"], (30, 29, 31))
    with pytest.warns(UserWarning, match=r"1 batches with fewer than 30 cells .* in common: second\. Look at"):
        model = fit(in_batches(make_cells(90), batches), setup={"batch_key": "batch"}, max_epochs=0)
    assert model.integration_ is not None


def test_the_width_is_that_of_the_encoder_where_it_is_smaller_than_the_axes(trained: GeneMambaModel):
    assert trained.integration_ is not None and trained.integration_.config.n_axes == 30
    assert latent(trained).shape == (60, 16)


def test_the_table_holds_what_varies_within_batches_where_there_are_no_labels(make_cells: Cells, fit: Fit):
    # Ten genes are read in one batch only.
    def between(setup: dict[str, str], **arguments: Any) -> float:
        """Share of the variance of the encoder's embedding that lies between batches."""
        cells = make_cells()
        dense = cells.X.toarray()
        second = (cells.obs["batch"] == "second").to_numpy()
        dense[np.ix_(second, np.arange(30, 40))] += 12
        cells.X = sparse.csr_matrix(dense)
        model = fit(cells, setup=setup, max_epochs=0, model={"gene_init": "spectral"}, **arguments)
        found = model.get_latent_representation(key_added=None, integrated=False)
        gap = found[second].mean(axis=0) - found[~second].mean(axis=0)
        return float((gap**2).sum() / 4 / found.var(axis=0).sum())

    plain = between({"batch_key": "batch"}, integrate=False)
    assert between({"batch_key": "batch"}) < 0.8 * plain
    # With labels the table also serves the cell types, and stays as it is.
    assert between({"batch_key": "batch", "labels_key": "cell_type"}) == plain


@pytest.mark.parametrize("setup", [{"batch_key": "batch"}, {}], ids=["batches", "no batches"])
def test_nothing_is_integrated_where_nobody_wants_it(make_cells: Cells, fit: Fit, setup: dict[str, str]):
    model = fit(make_cells(), setup=setup, max_epochs=0, integrate=False if setup else None)
    assert model.integration_ is None and model.get_latent_representation().shape == (60, 16)
    message = r"not trained to integrate batches\. Pass batch_key= to setup_anndata and train with integrate=True"
    for arguments in ({"integrated": True}, {"batch_key": "batch"}):
        with pytest.raises(ValueError, match=message):
            latent(model, **arguments)
    assert np.array_equal(latent(model, integrated=False), latent(model))


def test_another_training_decides_anew(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0)
    model.train(**QUICK, integrate=False)
    assert model.integration_ is None
    model.train(**QUICK)
    assert model.integration_ is not None


@pytest.mark.parametrize(
    ("batches", "arguments", "error", "message"),
    [
        (None, {"integrate": True}, ValueError, r"needs at least two batches.* have 0\. Pass batch_key="),
        (["only"] * 60, {"integrate": True}, ValueError, r"needs at least two batches.* have 1\. Pass batch_key="),
        (["a", "b"] * 30, {"integration_kwargs": {"n_axis": 3, "rounds": 1}}, TypeError,
         r"Got \['n_axis', 'rounds'\]\. Choose among \['n_axes', "),
        (["a", "b"] * 30, {"integration_kwargs": {"n_axes": 0}}, ValueError, r"n_axes must be at least 1\. Got 0"),
        (["a", "b"] * 30, {"integrate": False, "integration_kwargs": {"n_axes": 3}}, ValueError,
         r"does not do \(integrate=False, 2 batches\)\. Leave them out"),
        (None, {"integration_kwargs": {"n_axes": 3}}, ValueError, r"does not do \(integrate=None, 0 batches\)"),
    ],
    ids=["no batches", "one batch", "unknown", "out of range", "switched off", "nothing to switch on"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*has one batch only")
def test_what_cannot_be_done_is_refused_before_the_training(
    make_cells: Cells, batches: list[str] | None, arguments: dict[str, Any], error: type[Exception], message: str
):
    cells = make_cells()
    if batches is not None:
        cells.obs["batch"] = batches
    GeneMambaModel.setup_anndata(cells, batch_key=None if batches is None else "batch")
    model = GeneMambaModel(cells, d_model=16, context_len=16)
    with pytest.raises(error, match=message):
        model.train(**QUICK, **arguments)
    assert not model.is_trained_


@pytest.mark.filterwarnings("ignore:No type of adata.obs")
def test_batches_without_a_common_type_are_not_integrated_and_it_is_said(make_cells: Cells, fit: Fit):
    cells = make_cells()
    cells.obs["batch"] = cells.obs["cell_type"].astype(str)
    setup = {"batch_key": "batch", "labels_key": "cell_type"}
    with pytest.warns(UserWarning, match=r"is not integrated over batches\. No cell has a partner.*integrate=False"):
        model = fit(cells, setup=setup)
    assert model.integration_ is None and latent(model).shape == (60, 16)
    with pytest.raises(ValueError, match="No cell has a partner in another batch"):
        model.train(**QUICK, integrate=True)
    assert model.is_trained_ and model.integration_ is None


def test_identical_cells_are_not_integrated_and_it_is_said(make_cells: Cells, fit: Fit):
    cells = make_cells()
    cells.X = sparse.csr_matrix(np.tile(np.arange(40, dtype=np.float32), (60, 1)))
    with pytest.warns(UserWarning, match=r"is not integrated over batches\. "):
        model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0, model={"gene_init": "random"})
    assert model.integration_ is None


def test_predictions_are_the_same_bit_for_bit(make_cells: Cells, fit: Fit):
    setup = {"batch_key": "batch", "labels_key": "cell_type"}
    models = [fit(make_cells(), setup=setup, integrate=integrate) for integrate in (True, False)]
    first, second = (model.predict_celltype(make_cells(), soft=True).to_numpy() for model in models)
    assert np.array_equal(first, second)
    assert np.array_equal(latent(models[0], integrated=False), latent(models[1]))


def test_cells_without_a_label_are_integrated(make_cells: Cells, fit: Fit):
    cells = make_cells()
    cells.obs["cell_type"] = np.where(np.arange(60) % 4 == 0, "?", cells.obs["cell_type"].astype(str))
    setup = {"batch_key": "batch", "labels_key": "cell_type", "unlabeled_category": "?"}
    model = fit(cells, setup=setup, integrate=True)
    found = latent(model)
    assert np.isfinite(found).all() and found.any(axis=1).all()


def test_labels_of_test_cells_are_not_read(make_cells: Cells, fit: Fit):
    test = np.arange(1, 60, 3)
    found = []
    for change in (False, True):
        cells = make_cells()
        labels = cells.obs["cell_type"].astype(str).to_numpy()
        if change:
            labels[test] = "monocyte"
        cells.obs["cell_type"] = labels
        split = {"external_indexing": [np.setdiff1d(np.arange(60), test), np.array([], dtype=int), test]}
        setup = {"batch_key": "batch", "labels_key": "cell_type"}
        model = fit(cells, setup=setup, max_epochs=0, datasplitter_kwargs=split)
        found.append(latent(model))
    assert np.array_equal(*found)


def test_the_same_seed_gives_bit_identical_coordinates(mixed: GeneMambaModel, make_cells: Cells, fit: Fit):
    again = fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0, integration_kwargs={"n_axes": 4})
    assert np.array_equal(latent(again), latent(mixed))


# ----------------------------------------------------------------------- queries


def test_cells_of_known_batches_do_not_depend_on_the_others(mixed: GeneMambaModel, make_cells: Cells):
    expected = latent(mixed)
    np.testing.assert_allclose(latent(mixed, make_cells()[[7]].copy()), expected[[7]], atol=1e-4)
    np.testing.assert_allclose(latent(mixed, indices=[41, 3, 41]), expected[[41, 3, 41]], atol=1e-4)
    assert latent(mixed, indices=[]).shape == (0, 4)


def test_a_query_without_the_column_is_projected_with_a_warning(mixed: GeneMambaModel, make_cells: Cells):
    query = make_cells(seed=1)
    del query.obs["batch"]
    with pytest.warns(UserWarning, match=r"no column 'batch' .*without a correction.*Name the column with batch_key="):
        found = latent(mixed, query)
    assert np.array_equal(found, projected(mixed, query))


def test_a_column_of_another_name_is_named(mixed: GeneMambaModel, make_cells: Cells):
    query = in_batches(make_cells(), make_cells().obs["batch"].to_numpy(), "lane")
    assert np.array_equal(latent(mixed, query, batch_key="lane"), latent(mixed))
    with pytest.raises(ValueError, match=r"batch_key='batch' must name one column of adata\.obs, which has \['lane'\]"):
        latent(mixed, query, batch_key="batch")
    with pytest.raises(ValueError, match=r"batch_key has no effect with integrated=False\. Leave out one"):
        latent(mixed, query, batch_key="lane", integrated=False)


def test_a_new_batch_is_moved_and_known_ones_beside_it_are_not(mixed: GeneMambaModel, make_cells: Cells):
    query = make_cells(seed=1)
    query = in_batches(query, np.where(np.arange(60) < 40, "third", "second"))
    found = latent(mixed, query)
    assert np.abs(found - projected(mixed, query))[:40].max() > 0.01
    known = in_batches(make_cells(seed=1)[40:].copy(), ["second"] * 20)
    np.testing.assert_allclose(found[40:], latent(mixed, known), atol=1e-4)
    alone = in_batches(make_cells(seed=1)[:40].copy(), ["another name"] * 40)
    np.testing.assert_allclose(found[:40], latent(mixed, alone), atol=1e-3)


def test_two_new_batches_are_moved_each_by_itself(mixed: GeneMambaModel, make_cells: Cells):
    query = in_batches(make_cells(80, seed=1), np.repeat(["third", "fourth"], 40))
    found = latent(mixed, query)
    for rows, name in ((slice(0, 40), "third"), (slice(40, 80), "fourth")):
        alone = in_batches(make_cells(80, seed=1)[rows].copy(), [name] * 40)
        np.testing.assert_allclose(found[rows], latent(mixed, alone), atol=1e-3)


def test_a_new_batch_of_few_cells_is_projected_with_a_warning(mixed: GeneMambaModel, make_cells: Cells):
    query = in_batches(make_cells(seed=1)[:29].copy(), ["third"] * 29)
    with pytest.warns(UserWarning, match=r"fewer than 30 cells .*: third\. .*Pass more cells at once"):
        found = latent(mixed, query)
    assert np.array_equal(found, projected(mixed, query))
    enough = in_batches(make_cells(seed=1)[:30].copy(), ["third"] * 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.array_equal(latent(mixed, enough), projected(mixed, enough))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
def test_cells_whose_batch_is_missing_are_projected_with_a_warning(
    mixed: GeneMambaModel, make_cells: Cells, missing: Any
):
    batches = np.array(make_cells().obs["batch"], dtype=object)  # pandas 3 hands out arrays that are read-only
    batches[[2, 5]] = missing
    query = in_batches(make_cells(), batches)
    with pytest.warns(
        UserWarning, match=r"2 cells have no batch: adata\.obs\['batch'\] is missing.*Give them the batch"
    ):
        found = latent(mixed, query)
    expected = latent(mixed)
    expected[[2, 5]] = projected(mixed, make_cells())[[2, 5]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("of_reference", "of_query"),
    [
        ([1, 2], ["1", "2"]),
        (["1", "2"], [1, 2]),
        ([1, 2], [1.0, 2.0]),
        ([1.0, 2.0], [1, 2]),
        ([1, 2], ["1.0", "2.0"]),
        (["1.0", "2.0"], [1, 2]),
        ([False, True], [False, True]),
        ([False, True], ["False", "True"]),
        (["a", "b"], pd.Categorical(["a", "b"] * 30, categories=["c", "b", "a"])),
    ],
    ids=["numbers, text", "text, numbers", "numbers, floats", "floats, numbers", "numbers, floats as text",
         "floats as text, numbers", "flags", "flags, text", "categories"],
)  # fmt: skip
def test_a_batch_is_known_by_its_name_whatever_its_type(
    make_cells: Cells, fit: Fit, of_reference: list[Any], of_query: Any
):
    cells = make_cells()
    cells.obs["batch"] = np.array(of_reference)[np.arange(60) % 2]
    model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0)
    query = make_cells()
    query.obs["batch"] = of_query if isinstance(of_query, pd.Categorical) else np.array(of_query)[np.arange(60) % 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = latent(model, query)
    assert np.array_equal(found, latent(model))
    assert np.abs(found - projected(model, query)).max() > 0.01


def test_two_spellings_of_a_new_number_are_one_batch(mixed: GeneMambaModel, make_cells: Cells):
    one, two = (in_batches(make_cells(), names) for names in (["7"] * 60, ["7", "7.0"] * 30))
    np.testing.assert_array_equal(latent(mixed, two), latent(mixed, one))


def test_own_cells_have_the_batches_that_were_registered_whatever_the_column_holds_now(make_cells: Cells, fit: Fit):
    cells = make_cells()
    model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0)
    before = latent(model)
    names = cells.obs["batch"].astype(str)
    cells.obs["batch"] = "study " + names
    with pytest.warns(UserWarning, match=r"obs\['batch'\] has changed for 60 of 60 cells since the model was set up"):
        np.testing.assert_array_equal(latent(model), before)
    with pytest.raises(ValueError, match=r"has changed for 60 of 60 cells since: one has 'study first' now\. Bring"):
        model.train(**QUICK)
    cells.obs["batch"] = names.map({"first": "second", "second": "first"})
    with pytest.warns(UserWarning, match="has changed for 60 of 60 cells"):
        np.testing.assert_array_equal(latent(model), before)
    # Asked for by name, the column is read as it is.
    assert np.abs(latent(model, batch_key="batch") - before).max() > 0.01
    del cells.obs["batch"]
    np.testing.assert_array_equal(latent(model), before)


@pytest.mark.parametrize("flag", [0, 1, "no", np.array([False, True])])
def test_whether_to_integrate_is_yes_or_no(mixed: GeneMambaModel, make_cells: Cells, flag: Any, unchecked: None):
    with pytest.raises(TypeError, match=r"integrated must be True or False\. Got .* Pass one of these"):
        latent(mixed, make_cells(), integrated=flag)
    with pytest.raises(TypeError, match=r"integrate must be True or False\. Got"):
        mixed.train(integrate=flag)


def test_numpy_says_yes_and_no_too(mixed: GeneMambaModel, make_cells: Cells, unchecked: None):
    cells = make_cells()
    np.testing.assert_array_equal(latent(mixed, cells, integrated=np.False_), latent(mixed, cells, integrated=False))


def test_whole_numbers_beside_missing_ones_are_the_same_numbers(make_cells: Cells, fit: Fit):
    cells = make_cells()
    cells.obs["batch"] = np.arange(60) % 2 + 1
    model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0)
    query = make_cells()
    query.obs["batch"] = [np.nan, *(np.arange(1, 60) % 2 + 1.0)]
    with pytest.warns(UserWarning, match="1 cells have no batch"):
        assert np.array_equal(latent(model, query)[1:], latent(model)[1:])


def test_categories_that_no_cell_has_are_no_batches(make_cells: Cells, fit: Fit):
    cells = make_cells()
    cells.obs["batch"] = pd.Categorical(cells.obs["batch"].astype(str), categories=["zero", "first", "second"])
    model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0)
    assert np.isfinite(latent(model)).all()
    cells = make_cells()
    cells.obs["batch"] = pd.Categorical(["first"] * 60, categories=["zero", "first"])
    with pytest.warns(UserWarning, match="has one batch only"):
        GeneMambaModel.setup_anndata(cells, batch_key="batch")


def test_a_batch_without_a_cell_in_the_fit_is_a_new_one(make_cells: Cells, fit: Fit):
    cells = make_cells()
    cells.obs["batch"] = pd.Categorical(cells.obs["batch"], categories=["first", "second", "third"])
    model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0, integration_kwargs={"n_axes": 4})
    assert model.integration_ is not None and model.integration_.is_fitted.sum() == 2
    query = make_cells(40, seed=3)
    found = {name: latent(model, in_batches(query, name), batch_key="batch") for name in ("third", "nowhere")}
    assert np.array_equal(found["third"], found["nowhere"])
    assert np.abs(found["third"] - projected(model, query)).max() > 0.01


def test_a_table_of_all_cells_is_not_integrated_without_labels(make_cells: Cells, fit: Fit, tmp_path: Path):
    model = fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0, integrate=False)
    before = latent(model)
    model.save(tmp_path / "model")
    for again in (model, GeneMambaModel.load(tmp_path / "model", make_cells(), accelerator="cpu")):
        for integrate in (None, True):
            with pytest.raises(
                ValueError, match=r"trained with integrate=False before.*Make a new model .*go on without"
            ):
                again.train(**QUICK, integrate=integrate)
        assert np.array_equal(latent(again), before)
        again.train(**QUICK, integrate=False)


def test_a_table_of_an_older_version_is_integrated_with_a_warning(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0, integrate=False)
    model._origin = replace(model._origin, table_within_batches=None)
    with pytest.warns(UserWarning, match="did not note whether its gene table holds what varies within batches"):
        model.train(**QUICK)
    assert model.integration_ is not None


@pytest.mark.parametrize(
    "arguments", [{"setup": {"batch_key": "batch", "labels_key": "cell_type"}}, {"model": {"gene_init": "random"}}],
    ids=["labels", "a random table"],
)  # fmt: skip
def test_a_table_that_does_not_depend_on_batches_is_integrated_later(make_cells: Cells, fit: Fit, arguments: dict):
    model = fit(make_cells(), max_epochs=0, integrate=False, **{"setup": {"batch_key": "batch"}, **arguments})
    model.train(**QUICK)
    assert model.integration_ is not None


def test_a_training_that_ends_an_integration_says_so(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0)
    with pytest.warns(UserWarning, match="This model was integrated, and this training does not integrate"):
        model.train(integrate=False, **QUICK)
    assert model.integration_ is None and latent(model).shape == (60, 16)


def test_an_interrupt_of_the_integration_keeps_the_training(
    make_cells: Cells, fit: Fit, monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    model = fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0)
    with monkeypatch.context() as patch:
        patch.setattr("genemamba_sc.model._integration.fit_integration", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"model is kept .* train\(max_epochs=0\) integrates it"):
            model.train(**QUICK)
    assert model.is_trained_ and latent(model).shape == (60, 16)
    model.train(**QUICK)
    assert model.integration_ is not None


def test_a_column_is_looked_for_before_cells_are_read(
    mixed: GeneMambaModel, make_cells: Cells, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("genemamba_sc.model._queries.embed", lambda *_, **__: pytest.fail("it must not read cells"))
    with pytest.raises(ValueError, match="must name one column of adata"):
        latent(mixed, make_cells(), batch_key="donor")


def test_annotate_takes_the_batches_of_a_query(trained: GeneMambaModel, make_cells: Cells):
    query = make_cells()
    query.obs["lane"] = query.obs.pop("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moved = trained.annotate(query, batch_key="lane", coverage=0.8)
        encoded = trained.annotate(query, integrated=False, coverage=0.8)
    assert np.array_equal(moved.embedding, latent(trained, query, batch_key="lane"))
    assert np.array_equal(encoded.embedding, latent(trained, query, integrated=False))
    assert moved.cell_types.equals(encoded.cell_types)


def test_cells_without_genes_stay_at_zero_and_change_no_other(make_cells: Cells, mixed: GeneMambaModel):
    query = make_cells(seed=1)
    dense = query.X.toarray()
    dense[[4, 50]] = 0
    query.X = sparse.csr_matrix(dense)
    for name in ("first", "third"):
        found = latent(mixed, in_batches(query, [name] * 60))
        assert not found[[4, 50]].any() and found[:4].any()
        others = np.setdiff1d(np.arange(60), [4, 50])
        alone = in_batches(query[others].copy(), [name] * 58)
        np.testing.assert_allclose(found[others], latent(mixed, alone), atol=1e-3)


def test_a_batch_of_cells_without_genes_is_no_batch(make_cells: Cells, fit: Fit):
    cells = make_cells()
    dense = cells.X.toarray()
    dense[(cells.obs["batch"] == "second").to_numpy()] = 0
    cells.X = sparse.csr_matrix(dense)
    with pytest.warns(UserWarning, match=r"not integrated .*two batches must have cells that express known.* Got 1"):
        model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0)
    assert model.integration_ is None


def test_duplicated_cells_lie_on_each_other(make_cells: Cells, fit: Fit):
    cells = make_cells()[np.repeat(np.arange(30), 2)].copy()
    cells.obs_names_make_unique()
    model = fit(cells, setup={"batch_key": "batch"}, max_epochs=0)
    found = latent(model)
    np.testing.assert_allclose(found[::2], found[1::2], atol=1e-4)


def test_annotate_writes_the_integrated_embedding(trained: GeneMambaModel, make_cells: Cells):
    query = make_cells(seed=1)
    query.obs["batch"] = ["third"] * 60
    trained.annotate(query)
    assert np.array_equal(query.obsm["X_genemamba"], latent(trained, query))
    assert not np.array_equal(query.obsm["X_genemamba"], projected(trained, query))


# ---------------------------------------------------------------------- on disk


def test_a_saved_model_integrates_as_before(mixed: GeneMambaModel, saved: Path, make_cells: Cells, tmp_path: Path):
    expected = latent(mixed)
    query = in_batches(make_cells(seed=1), ["third"] * 60)
    of_query = latent(mixed, query)
    alone = GeneMambaModel.load(saved, adata=False, accelerator="cpu")
    assert np.array_equal(latent(alone, make_cells()), expected)
    assert np.array_equal(latent(alone, query), of_query)
    assert np.array_equal(latent(GeneMambaModel.load(saved, adata=make_cells(), accelerator="cpu")), expected)
    alone.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()


def test_a_model_without_an_integration_is_saved_without_one(make_cells: Cells, fit: Fit, tmp_path: Path):
    fit(make_cells(), setup={"batch_key": "batch"}, max_epochs=0, integrate=False).save(tmp_path / "model")
    assert "integration" not in json.loads((tmp_path / "model" / "config.json").read_text())
    assert not [name for name in load_file(tmp_path / "model" / "model.safetensors") if "integration" in name]
    model = GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu")
    assert model.integration_ is None and latent(model, make_cells()).shape == (60, 16)


@pytest.mark.parametrize("on_disk", [True, False], ids=["a folder", "a model"])
@pytest.mark.filterwarnings("ignore:.*so it is not registered as batch_key")
def test_query_data_are_mapped_onto_a_reference_that_stays(
    mixed: GeneMambaModel, saved: Path, make_cells: Cells, on_disk: bool
):
    query = in_batches(make_cells(seed=1), ["third"] * 60)
    before = latent(mixed)
    model = GeneMambaModel.load_query_data(query, saved if on_disk else mixed, accelerator="cpu")
    assert np.array_equal(latent(model), latent(mixed, query))
    assert np.array_equal(latent(model, make_cells()), before)


def change(folder: Path, entry: Any = ..., arrays: Callable[[dict[str, np.ndarray]], Any] | None = None) -> None:
    """Write another folder as an honest writer does, with all its checksums."""
    config = json.loads((folder / "config.json").read_text())
    if entry is None:
        del config["integration"]
    elif entry is not ...:
        config["integration"] = entry(config["integration"])
    if arrays is not None:
        tensors = load_file(folder / "model.safetensors")
        arrays(tensors)
        save_file(tensors, folder / "model.safetensors")
        config["sha256"]["model.safetensors"] = sha256_of(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(sealed(config)))


def without(name: str) -> Callable[[dict[str, np.ndarray]], Any]:
    return lambda tensors: tensors.pop(name)


def cut(name: str) -> Callable[[dict[str, np.ndarray]], Any]:
    return lambda tensors: tensors.update({name: tensors[name][:-1].copy()})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"entry": None}, r"config\.json lacks integration"),
        ({"entry": lambda _: None}, r"config\.json has no usable integration: "),
        ({"entry": lambda _: [4, 20]}, r"config\.json has no usable integration: "),
        ({"entry": lambda found: found | {"axes": 3}}, r"config\.json has no usable integration: .*'axes'"),
        ({"entry": lambda found: found | {"width": "wide"}}, r"config\.json has no usable integration: .*width must"),
        ({"entry": lambda found: found | {"n_rounds": 9}}, r"config\.json has no usable integration: .*rounds\.\d"),
        ({"entry": lambda found: found | {"n_rounds": 1}}, r"config\.json has no usable integration: .*of 1 rounds"),
        ({"arrays": without("integration.axes")}, r"config\.json has no usable integration: .*axes"),
        ({"arrays": without("integration.spreads.aim")}, r"config\.json has no usable integration: .*spreads\.aim"),
        ({"arrays": cut("integration.centre")}, r"config\.json has no usable integration: .*fit together"),
        ({"arrays": cut("integration.reach")}, r"config\.json has no usable integration: .*fit together"),
        ({"arrays": cut("integration.axes")}, r"config\.json has no usable integration: .*has 16 dimen.*reads 15"),
    ],
    ids=["no entry", "nothing", "a list", "an unknown choice", "a wrong choice", "more rounds", "fewer rounds",
         "no axes", "no aim", "a short centre", "no reach", "fewer dimensions"],
)  # fmt: skip
def test_an_integration_that_is_damaged_is_refused(
    saved: Path, tmp_path: Path, fault: dict[str, Any], message: str, unchecked: None
):
    shutil.copytree(saved, tmp_path / "model")
    change(tmp_path / "model", **fault)
    with pytest.raises(ValueError, match=message):
        GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu")


def test_an_integration_of_other_batches_is_refused(saved: Path, tmp_path: Path, unchecked: None):
    shutil.copytree(saved, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    state = config["registry"]["field_registries"]["batch"]["state_registry"]
    text = json.dumps(state["categorical_mapping"])
    assert '"second"' in text
    state["categorical_mapping"] = json.loads(text.replace('"second"', '"second", "third"'))
    (tmp_path / "model" / "config.json").write_text(json.dumps(sealed(config)))
    with pytest.raises(ValueError, match=r"config\.json has no usable integration: .*3 batches and the integration 2"):
        GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu")
