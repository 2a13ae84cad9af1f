"""Who won, from rows of a few seeds, in full sentences."""

import pytest

from genemamba_sc.benchmark.results._result import BenchmarkReport
from genemamba_sc.benchmark.results._summary import compare, summarise
from genemamba_sc.benchmark.runs._rows import BenchmarkRow, NotRun


def row(method: str, seed: int, f1: float, *, split: str = "random", held_out: str = "", task: str = "annotation"):
    scores = {"macro_f1": f1} if task == "annotation" else {"avg_bio": f1, "ilisi": 0.5}
    return BenchmarkRow(
        task, method, split, held_out, seed, scores, 80, 20, 0, 0.2 if split == "random" else 0.0, 1.0, {}, "", {},
        {"numpy": "2"}, f"{method} {split} {held_out} {seed}",
    )  # fmt: skip


def report(rows: list[BenchmarkRow], not_run: tuple[NotRun, ...] = ()) -> BenchmarkReport:
    return BenchmarkReport("type", None, (0, 1), 100, 40, 3, 1, 0, "counts", "f" * 64, tuple(rows), not_run, {})


def rows_of(split: str = "random", **scores: list[float]) -> list[BenchmarkRow]:
    return [row(name, seed, f1, split=split) for name, of in scores.items() for seed, f1 in enumerate(of)]


def test_a_baseline_that_is_ahead_is_called_so():
    told = report(rows_of("query", genemamba=[0.90, 0.90, 0.91], lr_l2=[0.95, 0.96, 0.96], knn=[0.5] * 3)).verdicts
    # Differences .05, .06, .05: mean .0533, sd .00577, half width 4.3027 * .00577 / sqrt(3) = .0143.
    assert told == (
        "query, macro-F1: logistic regression (L2), the best of 2 baselines, is ahead of GeneMamba by .053 [.039, .068]"
        " (95 % interval of 3 paired seeds).",
    )


def test_genemamba_that_is_ahead_is_called_so():
    told = report(rows_of("query", genemamba=[0.95, 0.96, 0.96], lr_l2=[0.90, 0.90, 0.91])).verdicts
    assert told == (
        "query, macro-F1: GeneMamba is ahead of logistic regression (L2) by .053 [.039, .068] "
        "(95 % interval of 3 paired seeds).",
    )


def test_an_interval_that_holds_zero_is_a_tie_with_its_numbers():
    told = report(rows_of("query", genemamba=[0.90, 0.92], knn=[0.91, 0.90])).verdicts
    # Differences -.01 and .02: mean .005, sd .0212, half width 12.706 * .015 = .1906.
    assert told == (
        "query, macro-F1: a tie: GeneMamba minus kNN on PCA is +.005 [−.186, +.196] (95 % interval of 2 paired seeds), "
        "and the interval holds 0.",
    )


def test_what_wins_on_fixed_parts_may_be_a_tie_on_drawn_ones():
    scores = {"genemamba": [0.90, 0.90, 0.90], "lr_l2": [0.95, 0.96, 0.92]}
    fixed, drawn = (compare(rows_of(split, **scores))[0] for split in ("query", "random"))
    assert fixed.difference.mean == drawn.difference.mean == pytest.approx(-0.0433, abs=1e-4)
    assert (fixed.winner, drawn.winner) == ("", "")
    scores["lr_l2"] = [0.95, 0.96, 0.94]
    assert [compare(rows_of(split, **scores))[0].winner for split in ("query", "random")] == ["lr_l2", "lr_l2"]
    scores["lr_l2"] = [0.95, 0.98, 0.94]
    assert [compare(rows_of(split, **scores))[0].winner for split in ("query", "random")] == ["lr_l2", ""]


def test_one_seed_claims_no_interval_and_names_no_winner():
    found = report(rows_of(genemamba=[0.8], l1=[0.9]))
    assert found.differences[0].winner == ""
    assert found.verdicts == (
        "random, macro-F1: GeneMamba .800, logistic regression (L1) .900. This is one seed: there is no interval, and "
        "neither is called better.",
    )
    assert "[" not in found.to_markdown().split("## Annotation")[1].split("## Versions")[0]


def test_seeds_that_all_say_the_same_claim_no_certainty():
    told = report(rows_of("query", genemamba=[0.8, 0.8], l1=[0.9, 0.9])).verdicts
    assert told == (
        "query, macro-F1: GeneMamba .800, logistic regression (L1) .900, the same difference of −.100 with all 2 seeds."
        " Seeds that do not vary give no interval, so neither is called better.",
    )
    told = report(rows_of("query", genemamba=[0.8, 0.8], l1=[0.8, 0.8])).verdicts
    assert told == (
        "query, macro-F1: a tie: GeneMamba and logistic regression (L1) scored the same, .800, with all 2 seeds.",
    )


def test_batches_are_averaged_within_a_seed_and_counted():
    rows = [
        row(name, seed, f1, split="batch", held_out=batch)
        for name, of in {"genemamba": [0.9, 0.5, 0.92, 0.5], "lr_l2": [0.7, 0.6, 0.7, 0.6]}.items()
        for (seed, batch), f1 in zip([(0, "a"), (0, "b"), (1, "a"), (1, "b")], of)
    ]
    (found,) = compare(rows)
    assert (found.ours, found.theirs) == (pytest.approx(0.705), pytest.approx(0.65))
    assert found.difference.mean == pytest.approx(0.055)
    assert (found.n_ahead, found.n_behind, found.n_parts, found.difference.n_seeds) == (1, 1, 2, 2)
    assert report(rows).verdicts[0].endswith("GeneMamba is ahead on 1 and behind on 1 of 2 held-out batches.")


def test_a_baseline_that_lacks_a_seed_is_not_the_best_and_this_is_said():
    rows = rows_of(genemamba=[0.8, 0.81], l1=[0.7, 0.72], lr_l2=[0.99])
    found = report(rows, (NotRun("annotation", "lr_l2", "ValueError: no", "random", "", 1),))
    assert [one.other for one in found.differences] == ["l1"]
    assert found.verdicts[-1] == (
        "random: logistic regression (L2) lacks rows that GeneMamba has, so it is not among the baselines compared."
    )
    assert [one.score.n_seeds for one in found.means if one.method == "lr_l2"] == [1]
    assert "- lr_l2 (annotation, random, seed 1): ValueError: no" in found.to_markdown()
    assert not found.ok


def test_genemamba_that_failed_is_no_reason_to_be_silent():
    failure = NotRun("annotation", "genemamba", "RuntimeError: out of memory", "random", "", 0)
    told = report(rows_of(l1=[0.7, 0.72]), (failure,)).verdicts
    assert told == (
        "random: GeneMamba failed on a part of annotation, see below.",
        "random (annotation): nothing is compared, for GeneMamba or every baseline is missing.",
    )


def test_parts_of_genemamba_are_no_baselines_and_come_last():
    rows = rows_of(genemamba=[0.8], bag=[0.99], linear_head=[0.7], random_encoder=[0.6], l1=[0.75])
    found = [(one.other, one.role) for one in compare(rows)]
    assert found == [("l1", "best baseline"), ("bag", "part"), ("linear_head", "part")]


def test_every_score_has_a_mean_and_only_some_are_compared():
    rows = [row("genemamba", 0, 0.8, task="integration"), row("pca", 0, 0.7, task="integration")]
    assert [(one.method, one.metric) for one in summarise(rows)] == [
        ("genemamba", "avg_bio"),
        ("pca", "avg_bio"),
        ("genemamba", "ilisi"),
        ("pca", "ilisi"),
    ]
    assert [one.metric for one in compare(rows)] == ["avg_bio"]


def test_the_page_of_a_small_report():
    rows = rows_of("query", genemamba=[0.90, 0.92], knn=[0.91, 0.90])
    page = report(rows, (NotRun("annotation", "xgboost", "not installed: pip install xgboost"),)).to_markdown()
    assert page.startswith(
        "# Benchmark\n\n100 cells, 40 genes (counts), 3 types of 'type'. Seeds: 0, 1. Data ffffffffffff.\n\nMeans over"
    )
    assert page.split("tell the type.\n\n")[1].split("\n\n## Who won")[0] == (
        "| method | seeds | macro-F1 | seconds |\n"
        "| --- | --- | --- | --- |\n"
        "| GeneMamba | 2 | .910 [.783, 1.000] | 1.0 |\n"
        "| kNN on PCA | 2 | .905 [.841, .969] | 1.0 |"
    )
    assert page.endswith(
        "## Not run\n\n- xgboost (annotation): not installed: pip install xgboost\n\n## Versions\n\n\n"
    )


def test_tables_have_a_row_per_measurement_and_per_score():
    found = report(rows_of("query", genemamba=[0.90, 0.92], knn=[0.91, 0.90]))
    assert found.to_frame()[["method", "seed", "macro_f1"]].to_numpy().tolist() == [
        ["genemamba", 0, 0.90],
        ["genemamba", 1, 0.92],
        ["knn", 0, 0.91],
        ["knn", 1, 0.90],
    ]
    table = found.summary()
    assert table[["method", "metric", "n_seeds", "is_ours"]].to_numpy().tolist() == [
        ["genemamba", "macro_f1", 2, True],
        ["knn", "macro_f1", 2, False],
    ]
    assert report([]).to_frame().empty and report([]).summary().empty


def test_the_interval_of_a_score_below_zero_lies_round_its_mean():
    rows = [row("pca", seed, bio, task="integration") for seed, bio in enumerate([-0.02, -0.01, -0.03])]
    score = next(one.score for one in summarise(rows) if one.metric == "avg_bio")
    assert score.mean == pytest.approx(-0.02)
    assert score.low is not None and score.high is not None and score.low < score.mean < score.high < 0.2
