"""The runner: resumes, survives a failure, hides the test labels, keeps settings apart."""

import json
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pytest
import rows
import run
import scipy.sparse as sp

from genemamba_sc.benchmark import Options, Outcome


@pytest.fixture
def tiny_set(monkeypatch):
    adata = ad.AnnData(sp.csr_matrix(np.arange(40, dtype=np.float32).reshape(20, 2)))
    adata.obs["cell_type"] = ["B", "T"] * 10
    adata.obs["batch"] = ["one"] * 12 + ["two"] * 8
    adata.obs["original_label"] = adata.obs["cell_type"]
    monkeypatch.setattr(run, "load_set", lambda name: adata)
    return adata


class Methods(dict):
    """Methods of the tests, by name, in place of those of the package."""

    def __call__(self, task, name):
        return SimpleNamespace(load=lambda: self[task, name])


@pytest.fixture
def methods(monkeypatch):
    found = Methods()
    monkeypatch.setattr(run, "method_of", found)
    return found


@pytest.fixture
def always_b(methods):
    """A method that says B; what it was given is recorded."""
    seen = []

    def method(train, test, seed, options):
        seen.append((list(train.obs), list(test.obs), seed))
        return Outcome(np.array(["B"] * test.n_obs), params=1, settings={"says": "B"}, seconds=0.5)

    methods["annotation", "knn"] = method
    return seen


def arguments(out, *more):
    return run.parse(["--methods", "knn", "--sets", "kang_ctrl", "--out", str(out), *more])


def test_a_row_holds_scores_sizes_and_versions(tiny_set, always_b, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "new" / "rows.jsonl"
    assert run.run(arguments(out, "--splits", "batch", "--seeds", "0")) == 0
    found = rows.read_rows(out)
    assert [line.pop("versions").keys() for line in found] == [run.versions().keys()] * 2
    common = {"set": "kang_ctrl", "split": "batch", "seed": 0, "method": "knn", "asked": {}, "accuracy": 0.5}
    common |= {"macro_f1": pytest.approx(1 / 3), "seconds": 0.5, "params": 1, "settings": {"says": "B"}, "threads": "1"}
    assert found == [
        common | {"held_out": "one", "n_train": 8, "n_test": 12},
        common | {"held_out": "two", "n_train": 12, "n_test": 8},
    ]


def test_no_method_can_see_the_labels_of_the_test_cells(tiny_set, always_b, tmp_path):
    run.run(arguments(tmp_path / "rows.jsonl", "--splits", "stratified", "--seeds", "3"))
    assert always_b == [(["cell_type", "batch"], ["batch"], 3)]
    assert list(tiny_set.obs) == ["cell_type", "batch", "original_label"]


def test_a_second_run_measures_only_what_is_missing(tiny_set, always_b, tmp_path):
    out = tmp_path / "rows.jsonl"
    run.run(arguments(out, "--splits", "stratified", "--seeds", "0"))
    run.run(arguments(out, "--splits", "stratified", "--seeds", "0,1"))
    assert [seed for _, _, seed in always_b] == [0, 1]
    assert [line["seed"] for line in rows.read_rows(out)] == [0, 1]


def test_baselines_run_once_where_neither_split_nor_method_depends_on_the_seed():
    assert run.seeds_of("batch", "lr_l2", [0, 1, 2]) == [0]
    assert run.seeds_of("batch", "genemamba", [0, 1, 2]) == [0, 1, 2]
    assert run.seeds_of("stratified", "lr_l2", [0, 1, 2]) == [0, 1, 2]


def test_one_failure_is_named_and_counted_and_does_not_end_the_run(tiny_set, always_b, methods, tmp_path, capsys):
    def fails(train, test, seed, options):
        raise RuntimeError("no luck")

    methods["annotation", "l1"] = fails
    out = tmp_path / "rows.jsonl"
    args = ["--methods", "l1,knn", "--sets", "kang_ctrl", "--splits", "stratified", "--seeds", "0", "--out", str(out)]
    assert run.run(run.parse(args)) == 1
    assert [line["method"] for line in rows.read_rows(out)] == ["knn"]
    captured = capsys.readouterr()
    assert "FAILED kang_ctrl stratified - seed 0 l1" in captured.err and "RuntimeError: no luck" in captured.err
    assert captured.out == ""


def test_two_settings_of_one_method_do_not_share_a_file(tmp_path):
    line = {"method": "genemamba", "asked": {"model": {"n_layer": 2}, "train": {}}}
    with pytest.raises(SystemExit, match="one setting per method.*'n_layer': 2.*Give another --out"):
        run.refuse_mixed_settings(tmp_path / "rows.jsonl", [line], ["genemamba"], Options())


def test_embeddings_are_probed_on_the_test_cells(tiny_set, methods, tmp_path):
    def method(train, test, seed, options):
        clear = (train.obs["cell_type"] == "T").to_numpy(dtype=float)[:, None]
        return Outcome(np.array(["T"] * test.n_obs), 1, {}, 0.0, clear, np.ones((test.n_obs, 1)))

    methods["annotation", "knn"] = method
    run.run(arguments(tmp_path / "rows.jsonl", "--splits", "stratified", "--seeds", "0"))
    (line,) = rows.read_rows(tmp_path / "rows.jsonl")
    assert line["embedding"] == {"knn_accuracy": 0.5, "knn_macro_f1": pytest.approx(1 / 3)}


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        pytest.param("--methods", "magic", id="method"),
        pytest.param("--sets", "hpancreas", id="set"),
        pytest.param("--splits", "random", id="split"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(flag, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        run.parse([flag, text, "--out", "rows.jsonl"])
    assert f"{flag} must be among" in capsys.readouterr().err


def test_all_means_every_name_and_json_reaches_the_model():
    args = run.parse(["--sets", "all", "--out", "x.jsonl", "--model", json.dumps({"n_layer": 0})])
    assert args.sets == list(run.SETS)
    assert (args.model, args.train, args.seeds) == ({"n_layer": 0}, {}, [0, 1, 2])
