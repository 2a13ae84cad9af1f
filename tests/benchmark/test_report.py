"""The whole run: what is measured, kept, used again, and said of what could not be."""

import json
import logging
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scvi
import torch
from anndata import AnnData
from lightning.pytorch.callbacks import EarlyStopping

from genemamba_sc._files import only_writer
from genemamba_sc.benchmark import BenchmarkReport, Embedding, Outcome, _report, report
from genemamba_sc.benchmark.methods._methods import Method
from genemamba_sc.benchmark.methods._outcome import Options
from genemamba_sc.benchmark.runs._progress import Estimate, Progress
from genemamba_sc.benchmark.runs._random_state import keeping_random_state


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Every method says "B cell" of all cells, or puts them on a line; what was asked for is listed."""
    seen: list[tuple] = []

    def load(self: Method) -> Any:
        def annotate(train: AnnData, test: AnnData, seed: int, options: object) -> Outcome:
            seen.append((self.name, train.n_obs, test.n_obs, seed))
            return Outcome(np.full(test.n_obs, "B cell"), 0, {"says": "B"}, 0.5)

        def embed(adata: AnnData, seed: int, options: object) -> Embedding:
            assert list(adata.obs) == ["batch"]
            seen.append((self.name, adata.n_obs, 0, seed))
            return Embedding(np.arange(adata.n_obs, dtype=float)[:, None], {}, 0.25)

        return annotate if self.task == "annotation" else embed

    monkeypatch.setattr(Method, "load", load)
    return seen


def run(cells: AnnData, **arguments: Any) -> BenchmarkReport:
    return report(cells, "cell_type", **{"methods": ["lr_l2"], "seeds": 1, "on_progress": None, **arguments})


def test_rows_hold_scores_sizes_and_what_was_used(cells: AnnData, asked: list[tuple]):
    found = run(cells, batch_key="batch", methods=["lr_l2", "pca"], splits=["random", "batch"], seeds=2)
    assert [(row.task, row.split, row.held_out, row.seed, row.n_train, row.n_test) for row in found.rows] == [
        ("annotation", "random", "", 0, 72, 18),
        ("annotation", "batch", "first", 0, 45, 45),
        ("annotation", "batch", "second", 0, 45, 45),
        ("integration", "all cells", "", 0, 90, 90),
        ("annotation", "random", "", 1, 72, 18),
        ("annotation", "batch", "first", 1, 45, 45),
        ("annotation", "batch", "second", 1, 45, 45),
        ("integration", "all cells", "", 1, 90, 90),
    ]
    first = found.rows[0]
    assert first.scores == {"accuracy": pytest.approx(1 / 3), "macro_f1": pytest.approx(1 / 6)}
    assert first.settings == {"says": "B", "params": 0}
    assert {"numpy", "scikit-learn", "code"} <= set(first.versions)
    assert (found.n_cells, found.n_genes, found.n_types, found.n_batches) == (90, 40, 3, 2)
    assert found.ok


def test_types_that_the_training_cells_lack_are_counted(cells: AnnData, asked: list[tuple]):
    cells.obs["cell_type"] = cells.obs["cell_type"].astype(str)
    cells.obs.iloc[[3, 9], 0] = "rare"
    assert set(cells.obs["batch"].iloc[[3, 9]]) == {"second"}
    found = run(cells, splits=["query:batch=second"])
    assert found.rows[0].n_unknown == 2
    assert "2 test cells are of types that the training cells lack; no method can be right about them." in str(found)


def test_a_second_run_measures_only_what_is_missing(cells: AnnData, asked: list[tuple], tmp_path: Path):
    first = run(cells, folder=tmp_path / "new" / "results")
    again = run(cells, folder=tmp_path / "new" / "results", seeds=2)
    assert [seed for *_, seed in asked] == [0, 1]
    assert again.rows[0] == first.rows[0]
    assert [row.seed for row in again.rows] == [0, 1]


def test_rows_of_other_cells_parts_arguments_or_code_are_not_used(
    cells: AnnData, asked: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def measured(adata: AnnData = cells, **arguments: Any) -> int:
        before = len(asked)
        run(adata, folder=tmp_path, methods=["genemamba"], **arguments)
        return len(asked) - before

    assert measured() == 1
    assert measured() == 0
    other = cells.copy()
    other.X[0, 0] += 1
    assert measured(other) == 1
    assert measured(seeds=[5]) == 1
    assert measured(splits=["random:0.3"]) == 1
    assert measured(model_kwargs={"n_layer": 0}) == 1
    assert measured(train_kwargs={"max_epochs": 3}) == 1
    assert measured() == 0
    monkeypatch.setattr("genemamba_sc.benchmark.runs._jobs.code_digest", lambda: "other code")
    assert measured() == 1


def test_arguments_of_genemamba_are_none_of_a_baselines(cells: AnnData, asked: list[tuple], tmp_path: Path):
    run(cells, folder=tmp_path)
    run(cells, folder=tmp_path, model_kwargs={"n_layer": 0})
    assert len(asked) == 1


def test_a_cut_line_is_measured_again_and_a_damaged_row_refused(cells: AnnData, asked: list[tuple], tmp_path: Path):
    run(cells, folder=tmp_path)
    rows = tmp_path / "rows.jsonl"
    whole = rows.read_text(encoding="utf-8")
    rows.write_text(whole[:-30], encoding="utf-8")
    with pytest.warns(UserWarning, match="rows.jsonl:1: not a whole JSON line, left out"):
        run(cells, folder=tmp_path)
    assert len(asked) == 2
    rows.write_text(whole.replace('"n_test": 18', '"n_test": "many"'), encoding="utf-8")
    with pytest.raises(ValueError, match="rows.jsonl must have a whole number of at least 0 as n_test. Got 'many'"):
        run(cells, folder=tmp_path)


def test_one_failure_is_named_and_the_rest_goes_on(cells: AnnData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def load(self: Method) -> Any:
        def annotate(train: AnnData, test: AnnData, seed: int, options: object) -> Outcome:
            if self.name == "l1" and seed == 1:
                raise RuntimeError("no luck")
            return Outcome(np.full(test.n_obs - (self.name == "knn"), "B cell"), 0, {}, 0.0)

        return annotate

    monkeypatch.setattr(Method, "load", load)
    found = run(cells, methods=["l1", "lr_l2", "knn"], seeds=2, folder=tmp_path)
    assert [(row.method, row.seed) for row in found.rows] == [("l1", 0), ("lr_l2", 0), ("lr_l2", 1)]
    assert [(one.method, one.seed, one.reason) for one in found.not_run] == [
        ("knn", 0, "ValueError: A method must name a type for each of 18 cells. Got the shape (17,)."),
        ("l1", 1, "RuntimeError: no luck"),
        ("knn", 1, "ValueError: A method must name a type for each of 18 cells. Got the shape (17,)."),
    ]
    assert not found.ok
    # What failed is tried again.
    monkeypatch.setattr(Method, "load", lambda self: lambda train, test, seed, options: Outcome(
        np.full(test.n_obs, "B cell"), 0, {}, 0.0))  # fmt: skip
    assert len(run(cells, methods=["l1", "lr_l2", "knn"], seeds=2, folder=tmp_path).rows) == 6


def test_what_is_not_installed_is_named_with_the_way_to_it(
    cells: AnnData, asked: list[tuple], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("genemamba_sc.benchmark.methods._methods.find_spec", lambda name: None)
    found = run(cells, batch_key="batch", methods=["celltypist", "xgboost", "lr_l2", "harmony", "pca"], splits="random")
    assert [(one.task, one.method, one.reason) for one in found.not_run] == [
        ("annotation", "celltypist", "not installed: pip install celltypist"),
        ("annotation", "xgboost", "not installed: pip install xgboost"),
        ("integration", "harmony", "not installed: pip install harmonypy"),
        ("integration", "scores of scib-metrics", "not installed: pip install scib-metrics igraph leidenalg"),
    ]
    assert [row.method for row in found.rows] == ["lr_l2", "pca"]
    assert set(found.rows[1].scores) == {"knn_accuracy", "knn_worst_all"}
    assert found.ok


def test_more_genes_than_are_chosen_need_scikit_misc(cells: AnnData, monkeypatch: pytest.MonkeyPatch):
    found = {name: _report.needs_of(Method("annotation", name, "", "", "", picks_genes=True), n)
             for name, n in (("few", 2000), ("many", 2001))}  # fmt: skip
    assert found == {"few": (), "many": ("skmisc",)}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.full((90, 2), np.nan), "The embedding of variable genes and PCA must be finite. 90 of 90 cells"),
        (np.ones((90, 2)), "All 90 cells have the same values: it collapsed"),
        (np.repeat(np.arange(45.0), 2)[:, None], "50.0% of the 90 cells repeat another cell exactly"),
        (np.arange(80.0)[:, None], r"must have a row per cell and a column or more. Got the shape \(80, 1\)"),
    ],
)
def test_broken_embeddings_are_refused_by_the_name_of_the_method(
    cells: AnnData, values: np.ndarray, told: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Method, "load", lambda self: lambda adata, seed, options: Embedding(values, {}, 0.0))
    found = run(cells, batch_key="batch", methods=["pca"])
    assert found.rows == ()
    (one,) = [one for one in found.not_run if one.split]
    assert one.method == "pca"
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(one.reason)


def test_a_report_comes_back_from_its_file(cells: AnnData, asked: list[tuple], tmp_path: Path):
    found = run(cells, batch_key="batch", methods=["lr_l2", "pca", "xgboost"], splits=["random", "batch"])
    found.to_json(tmp_path / "report.json")
    assert BenchmarkReport.from_json(tmp_path / "report.json") == found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda report: report.pop("digest"), "report.json lacks digest"),
        (lambda report: report.update(format="other"), "has no usable format"),
        (
            lambda report: report["rows"][0].update(scores={"accuracy": "high"}),
            r"no usable rows\[0\].scores: 'high' is",
        ),
        (lambda report: report["rows"][0].update(scores={"accuracy": 91.0}), "91.0 is no score"),
        (lambda report: report["rows"][0].update(method="forest"), "A method of annotation is one of"),
        (lambda report: report["rows"][0].update(colour="red"), r"report.json may have .* in rows\[0\]"),
        (lambda report: report.update(rows={}), "must have a list as rows"),
    ],
)
def test_a_damaged_file_is_refused_by_field(cells: AnnData, asked: list[tuple], tmp_path: Path, change: Any, told: str):
    path = tmp_path / "report.json"
    run(cells).to_json(path)
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        BenchmarkReport.from_json(path)


@pytest.fixture
def loose(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that draws, sets the seed and says what it was given, objects and numpy numbers among it."""

    def load(self: Method) -> Any:
        def annotate(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
            scvi.settings.seed = seed
            settings = {"train": options.train, "C": np.float32(0.5), "n": (np.int64(3), None)}
            return Outcome(np.full(test.n_obs, "B cell"), 0, settings, 0.5)

        return annotate

    monkeypatch.setattr(Method, "load", load)


@pytest.mark.usefixtures("loose")
def test_settings_are_stored_as_plain_values(cells: AnnData, tmp_path: Path):
    callback = EarlyStopping("validation_loss")
    found = run(cells, methods=["genemamba"], train_kwargs={"callbacks": [callback]})
    assert found.rows[0].settings == {"train": {"callbacks": [repr(callback)]}, "C": 0.5, "n": [3, None], "params": 0}
    found.to_json(tmp_path / "report.json")
    assert BenchmarkReport.from_json(tmp_path / "report.json") == found


@pytest.mark.usefixtures("loose")
def test_rows_with_numpy_numbers_are_found_again(cells: AnnData, tmp_path: Path):
    arguments = {"methods": ["genemamba"], "folder": tmp_path}
    first = run(cells, train_kwargs={"max_epochs": np.int64(2)}, **arguments)
    assert first.rows[0].settings["train"] == {"max_epochs": 2}
    assert run(cells, train_kwargs={"max_epochs": 2}, **arguments) == first
    assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    with pytest.raises(TypeError, match=r"train_kwargs\['callbacks'\]\[0\] is EarlyStopping"):
        run(cells, train_kwargs={"callbacks": [EarlyStopping("validation_loss")]}, **arguments)


@pytest.mark.usefixtures("loose")
@pytest.mark.parametrize("seed", [None, 11])
def test_what_is_drawn_afterwards_is_as_if_nothing_had_run(cells: AnnData, seed: int | None):
    with keeping_random_state():
        scvi.settings.seed = seed
        states = np.random.get_state(), torch.get_rng_state()
        expected = np.random.rand(), float(torch.rand(()))
        np.random.set_state(states[0])
        torch.set_rng_state(states[1])
        run(cells, seeds=[5])
        assert scvi.settings.seed == seed
        assert (np.random.rand(), float(torch.rand(()))) == expected


def test_random_states_come_back_after_an_error():
    # Type checks draw from random as well, so no checked function stands between.
    before, state = scvi.settings.seed, random.getstate()
    flags = torch.backends.cudnn.deterministic, os.environ.get("PL_GLOBAL_SEED"), os.environ.get("XLA_FLAGS")
    with pytest.raises(KeyboardInterrupt), keeping_random_state():
        scvi.settings.seed = 5
        raise KeyboardInterrupt
    assert random.getstate() == state
    assert scvi.settings.seed == before
    now = torch.backends.cudnn.deterministic, os.environ.get("PL_GLOBAL_SEED"), os.environ.get("XLA_FLAGS")
    assert now == flags


def test_what_cannot_be_is_refused_before_any_work(cells: AnnData, asked: list[tuple], tmp_path: Path):
    few = cells[:9].copy()
    one_type = cells.copy()
    one_type.obs["batch"] = np.where(cells.obs["cell_type"] == "B cell", "first", "second")
    for adata, arguments, told in (
        (cells, {"splits": ["batch"]}, "needs a batch_key"),
        (cells, {"methods": ["forest"]}, "A method is one of"),
        (cells, {"train_kwargs": {"max_epoch": 1}, "splits": "random"}, "train\\(\\) has no argument"),
        (few, {"splits": ["random:0.1"]}, "needs a cell of each of the 3 types .* Got room for 1 in the smaller part"),
        (one_type, {"splits": ["query:batch=second"]}, "Training cells must have two types or more"),
        (cells, {"layer": "counts"}, "layer must name one of adata.layers"),
    ):
        with pytest.raises((ValueError, TypeError), match=told):
            run(adata, folder=tmp_path / "new", **arguments)
        assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="Results go into a folder. .*file is a file"):
        run(cells, folder=tmp_path / "file")
    assert asked == []


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_anndata_is_refused(cells: AnnData):
    with pytest.raises(TypeError, match="Cells are read from an AnnData. Got builtins.str"):
        run("cells.h5ad")  # type: ignore[arg-type]


def test_types_of_a_single_batch_leave_integration_without_a_mean(cells: AnnData, asked: list[tuple]):
    kinds = cells.obs["cell_type"].astype(str) + cells.obs["batch"].astype(str)
    cells.obs["cell_type"] = kinds.to_numpy()
    (row,) = run(cells, batch_key="batch", methods=["pca"]).rows
    assert "knn_accuracy" not in row.scores
    assert set(row.details["knn_single"]) == set(kinds)


def test_training_and_test_cells_without_a_common_type_are_refused(
    cells: AnnData, make_cells: Callable[..., AnnData], asked: list[tuple]
):
    query = make_cells(90, seed=1)
    query.obs["cell_type"] = "the " + cells.obs["cell_type"].astype(str)
    with pytest.raises(ValueError, match="Training and test cells must share a type"):
        run(cells, query=query, splits=["query"])
    assert asked == []


def test_a_folder_that_cannot_be_written_is_refused(cells: AnnData, asked: list[tuple], read_only_folder: Path):
    with pytest.raises(PermissionError, match="cannot be written to. Choose another place"):
        run(cells, folder=read_only_folder)
    with pytest.raises(PermissionError, match="cannot be made .* Choose another place"):
        run(cells, folder=read_only_folder / "new")
    assert asked == []


def test_a_folder_has_one_writer(cells: AnnData, asked: list[tuple], tmp_path: Path):
    with (
        only_writer(tmp_path / ".benchmark.lock", "another"),
        pytest.raises(FileExistsError, match="must have one writer at a time"),
    ):
        run(cells, folder=tmp_path)


def test_progress_says_what_runs_and_how_long_the_rest_takes(cells: AnnData, asked: list[tuple]):
    seen: list[Progress] = []
    run(cells, seeds=3, on_progress=seen.append)
    assert [str(one) for one in seen] == [
        "[0/3] annotation, random, seed 0: lr_l2",
        "[1/3, about 1 s left] annotation, random, seed 0: lr_l2: accuracy 0.333, macro_f1 0.167 in 0.5 s",
        "[1/3, about 1 s left] annotation, random, seed 1: lr_l2",
        "[2/3, about 0 s left] annotation, random, seed 1: lr_l2: accuracy 0.333, macro_f1 0.167 in 0.5 s",
        "[2/3, about 0 s left] annotation, random, seed 2: lr_l2",
        "[3/3, about 0 s left] annotation, random, seed 2: lr_l2: accuracy 0.333, macro_f1 0.167 in 0.5 s",
    ]
    assert Estimate().of([]) is None
    assert str(Progress(1, 2, "x", "", 3700.0)) == "[1/2, about 1 h 1 min left] x"


def test_what_lightning_says_of_every_training_is_not_repeated(cells: AnnData, monkeypatch: pytest.MonkeyPatch):
    logger, speaks = logging.getLogger("lightning.fabric"), []
    monkeypatch.setattr(logger, "level", logging.INFO)

    def load(self: Method) -> Any:
        def annotate(train: AnnData, test: AnnData, seed: int, options: object) -> Outcome:
            speaks.append(logger.isEnabledFor(logging.INFO))
            return Outcome(np.full(test.n_obs, "B cell"), 0, {}, 0.0)

        return annotate

    monkeypatch.setattr(Method, "load", load)
    run(cells)
    assert speaks == [False]
    assert logger.level == logging.INFO


def test_the_cells_stay_as_they_were(cells: AnnData):
    before = cells.copy()
    run(cells, batch_key="batch", methods=["lr_l2", "pca"], splits=["random", "few:3"])
    assert (before.X != cells.X).nnz == 0
    assert before.obs.equals(cells.obs) and before.var.equals(cells.var)
    assert (set(cells.obsm), set(cells.uns), set(cells.layers)) == (set(), set(before.uns), set(before.layers))
