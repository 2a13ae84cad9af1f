"""``genemamba benchmark``: a table, a figure and a file that reads back; wrong options end before any work."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from anndata import AnnData

from genemamba_sc.benchmark import BenchmarkReport
from genemamba_sc.cli._main import main
from genemamba_sc.cli.commands.benchmark import check

QUICK = ["--methods", "lr_l2", "knn", "--seeds", "2"]


@pytest.fixture
def file(make_cells: Callable[..., AnnData], tmp_path: Path) -> str:
    make_cells(90).write_h5ad(tmp_path / "cells.h5ad")
    return str(tmp_path / "cells.h5ad")


def test_table_figure_and_rows_are_written_and_used_again(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "new" / "results"
    command = ["benchmark", file, "--labels-key", "cell_type", "--out", str(folder), *QUICK]
    assert main(command) == 0
    first = capsys.readouterr()
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md", "report.png", "rows.jsonl"]
    assert first.out == (folder / "report.md").read_text(encoding="utf-8") + "\n"
    assert "[4/4, about 0 s left] annotation, random, seed 1: knn: accuracy" in first.err
    found = BenchmarkReport.from_json(folder / "report.json")
    assert [(row.method, row.seed) for row in found.rows] == [("lr_l2", 0), ("knn", 0), ("lr_l2", 1), ("knn", 1)]

    monkeypatch.setattr("genemamba_sc.benchmark._report.measure", None)  # nothing is measured again
    assert main(command) == 0
    assert capsys.readouterr().out == first.out


def test_a_second_file_is_the_query(file: str, make_cells: Callable[..., AnnData], tmp_path: Path):
    make_cells(30, seed=1).write_h5ad(tmp_path / "query.h5ad")
    query = ["--query", str(tmp_path / "query.h5ad"), "--splits", "query", "query:batch=first", "--batch-key", "batch"]
    assert main(["benchmark", file, "--labels-key", "cell_type", "--out", str(tmp_path / "out"), *query, *QUICK]) == 0
    rows = BenchmarkReport.from_json(tmp_path / "out" / "report.json").rows
    assert {(row.split, row.n_train, row.n_test) for row in rows} == {("query", 90, 30), ("query:batch=first", 75, 45)}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["random,few:10", "query"], ["random", "few:10", "query"]),
        (["query:lane=1, second run", "query"], ["query:lane=1, second run", "query"]),
        (["random,query:lane=1,a,,b,few:10,query"], ["random", "query:lane=1,a,,b", "few:10", "query"]),
        (["query:lane=1,2,query:lane, new=batch", "query"], ["query:lane=1,2", "query:lane, new=batch", "query"]),
        (["query:lane=1,", "query,"], ["query:lane=1", "query"]),
    ],
    ids=["no query", "a comma", "between others", "two queries", "commas that separate"],
)
def test_the_value_of_a_query_may_have_commas(given: list[str], meant: list[str]):
    arguments = argparse.Namespace(splits=given, methods=["lr_l2,knn"], batch_key="batch", query="new.h5ad")
    assert check(arguments) == ""
    assert (arguments.splits, arguments.methods) == (meant, ["lr_l2", "knn"])


def test_cells_of_a_value_with_a_comma_are_tested(
    file: str, make_cells: Callable[..., AnnData], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cells = make_cells(90)
    cells.obs["lane"] = ["1, second run"] * 30 + ["1"] * 60
    cells.write_h5ad(file)
    command = ["benchmark", file, "--labels-key", "cell_type", "--out", str(tmp_path / "out"), *QUICK, "--splits"]
    assert main([*command, "query:lane=1, second run"]) == 0
    rows = BenchmarkReport.from_json(tmp_path / "out" / "report.json").rows
    assert {(row.split, row.n_train, row.n_test) for row in rows} == {("query:lane=1, second run", 60, 30)}
    capsys.readouterr()
    assert main([*command, "query:lane=1, third run"]) == 1
    assert "query:lane=1, third run" in capsys.readouterr().err


def test_a_method_that_fails_ends_with_an_error_code_and_its_name(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fails(*arguments: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr("genemamba_sc.benchmark._report.measure", fails)
    assert main(["benchmark", file, "--labels-key", "cell_type", "--out", str(tmp_path / "out"), *QUICK]) == 1
    assert "- lr_l2 (annotation, random, seed 0): RuntimeError: no luck" in capsys.readouterr().out
    assert not (tmp_path / "out" / "report.png").exists()


def test_a_refused_benchmark_leaves_a_folder_as_it_was(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for folder, is_there in ((tmp_path / "new", False), (tmp_path / "old", True)):
        if is_there:
            folder.mkdir()
        assert main(["benchmark", file, "--labels-key", "no_such", "--out", str(folder), *QUICK]) == 1
        assert "no_such" in capsys.readouterr().err
        assert folder.exists() == is_there


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--methods", "forest"], 2, "A method is one of"),
        (["--methods", "knn,forest", "genemamba"], 2, "Got 'forest'"),
        (["--splits", "batch"], 2, "needs a batch_key"),
        (["--splits", "query"], 2, "needs a second AnnData"),
        (["--seeds", "0"], 2, "a whole number of at least 1 is needed"),
        (["--labels-key", "kind"], 1, "labels_key='kind' is not a column"),
        (["--accelerator", "abacus"], 1, "--accelerator abacus cannot be used here"),
        (["--layer", "counts"], 1, "layer must name one of adata.layers"),
        (["--out", "FILE"], 1, "Results go into a folder"),
    ],
)
def test_wrong_options_end_before_any_work(
    file: str, tmp_path: Path, options: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr("genemamba_sc.benchmark._report.measure", None)
    options = [file if option == "FILE" else option for option in options]
    command = ["benchmark", file, "--labels-key", "cell_type", "--out", str(tmp_path / "out"), *options]
    if code == 2:
        with pytest.raises(SystemExit, match="2"):
            main(command)
    else:
        assert main(command) == 1
    assert told in capsys.readouterr().err
