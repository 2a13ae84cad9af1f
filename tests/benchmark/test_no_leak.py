"""Nothing is learned from the types of test cells, and nothing is chosen by the test cells at all."""

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc.benchmark import Outcome, report
from genemamba_sc.benchmark.methods import _scvi
from genemamba_sc.benchmark.methods._methods import METHODS, Method, missing_packages
from genemamba_sc.benchmark.runs._rows import BenchmarkRow

ANNOTATING = [method.name for method in METHODS if method.task == "annotation"]
IS_TEST = "query:batch=second"


def measured(adata: AnnData, name: str, small: dict) -> BenchmarkRow:
    """The row of a method that is tested on the second batch."""
    found = report(adata, "cell_type", methods=[name], splits=[IS_TEST], seeds=1, **small)
    assert found.not_run == ()
    return found.rows[0]


def shuffled_types(adata: AnnData, batch: str) -> AnnData:
    """The same cells, with the types of one batch dealt out anew."""
    changed = adata.copy()
    types, rows = adata.obs["cell_type"].astype(str).to_numpy(), np.flatnonzero(adata.obs["batch"] == batch)
    types[rows] = np.random.default_rng(1).permutation(types[rows])
    changed.obs["cell_type"] = types
    return changed


@pytest.fixture(params=ANNOTATING)
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every method that this environment can run."""
    needs = next(method.needs for method in METHODS if (method.task, method.name) == ("annotation", request.param))
    if missing := missing_packages(needs):
        pytest.skip(f"{', '.join(missing)} is not installed")
    monkeypatch.setattr(_scvi, "EPOCHS", 2)
    return request.param


def test_other_types_of_the_test_cells_give_the_same_predictions(cells: AnnData, method: str, small: dict):
    plain, other = measured(cells, method, small), measured(shuffled_types(cells, "second"), method, small)
    assert plain.predictions == other.predictions
    assert plain.settings == other.settings
    # The types did change, and those of training cells do matter.
    assert plain.scores["accuracy"] != other.scores["accuracy"]
    assert plain.predictions != measured(shuffled_types(cells, "first"), method, small).predictions


def test_other_values_of_the_test_cells_choose_no_other_settings(cells: AnnData, method: str, small: dict):
    changed = cells.copy()
    values, rows = cells.X.toarray(), np.flatnonzero(cells.obs["batch"] == "second")
    values[rows] = np.random.default_rng(2).permutation(values[rows].T).T
    changed.X = type(cells.X)(values)
    plain, other = measured(cells, method, small), measured(changed, method, small)
    assert plain.settings == other.settings
    assert plain.predictions != other.predictions


@pytest.mark.parametrize("split", ["random", "few:5", "batch:1", IS_TEST])
def test_a_method_is_given_test_cells_without_types(
    cells: AnnData, split: str, small: dict, monkeypatch: pytest.MonkeyPatch
):
    seen = []

    def spy(train: AnnData, test: AnnData, seed: int, options: object) -> Outcome:
        layers = [name for name in test.layers if name is not None]  # None is X, for anndata 0.13
        seen.append((list(train.obs), list(test.obs), [*test.obsm, *test.uns, *layers, *test.var.columns]))
        assert not set(train.obs_names) & set(test.obs_names)
        return Outcome(np.full(test.n_obs, "B cell"), 0, {}, 0.0)

    monkeypatch.setattr(Method, "load", lambda self: spy)
    found = report(cells, "cell_type", "batch", methods=["lr_l2"], splits=[split], seeds=1, **small)
    assert seen == [(["cell_type", "batch"], ["batch"], [])]
    assert found.rows[0].n_test > 0


def test_a_method_that_could_see_the_types_would_be_caught(
    cells: AnnData, small: dict, monkeypatch: pytest.MonkeyPatch
):
    adata = {}

    def cheat(train: AnnData, test: AnnData, seed: int, options: object) -> Outcome:
        is_test = adata["now"].obs["batch"] == "second"
        return Outcome(adata["now"].obs["cell_type"].astype(str).to_numpy()[is_test].astype(str), 0, {}, 0.0)

    monkeypatch.setattr(Method, "load", lambda self: cheat)
    found = []
    for now in (cells, shuffled_types(cells, "second")):
        adata["now"] = now
        found.append(measured(now, "lr_l2", small))
    assert [row.scores["accuracy"] for row in found] == [1.0, 1.0]
    assert found[0].predictions != found[1].predictions
