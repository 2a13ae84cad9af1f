"""What a demo run says: computed from which cells were right, never a fixed sentence."""

from pathlib import Path

import numpy as np
import pytest

from genemamba_sc.benchmark.results._demo_report import DemoReport, Score, standing


def score(method: str, right: list[int]) -> Score:
    return Score(method, np.array(right, dtype=bool), 0.5, 1.0)


def test_a_score_counts_right_cells_and_averages_f1_over_the_types_that_occur():
    found = Score.of("m", np.array(["a", "a", "b", "b"]), np.array(["a", "a", "b", "c"]), 2.0)
    assert (found.right.tolist(), found.accuracy) == ([True, True, True, False], 0.75)
    assert found.macro_f1 == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    "ours, theirs, told",
    [
        ([1] * 90 + [0] * 10, [1] * 90 + [0] * 10, "GeneMamba is level with kNN, by 0.0 points of accuracy"),
        (
            [1] * 100,
            [0] * 20 + [1] * 80,
            "GeneMamba is ahead of kNN, by 20.0 points of accuracy (standard error 4.0",
        ),
        (
            [0] * 20 + [1] * 80,
            [1] * 100,
            "kNN is ahead of GeneMamba, by 20.0 points of accuracy (standard error 4.0",
        ),
        (
            [0, 1, 1, 1],
            [1, 1, 1, 1],
            "GeneMamba is below kNN, by 25.0 points of accuracy (standard error 25.0, 4",
        ),
        (
            [1, 1, 1, 1],
            [0, 1, 1, 1],
            "GeneMamba is above kNN, by 25.0 points of accuracy (standard error 25.0, 4",
        ),
    ],
)
def test_who_is_ahead_is_said_with_its_error(ours: list[int], theirs: list[int], told: str):
    sentence = standing([score("GeneMamba", ours), score("far behind", [0] * len(ours)), score("kNN", theirs)])
    assert sentence.startswith(told)
    assert ("too few cells to tell them apart" in sentence) is (" ahead " not in sentence)


def test_the_report_is_a_table_with_remarks_files_and_what_to_do_next():
    scores = [score("GeneMamba", [1, 1, 0, 1]), score("kNN", [1, 0, 0, 1])]
    text = str(DemoReport(scores, 12, "bulk_labels of x", ["a remark"], [Path("demo") / "umap.png"], loaded=False))
    assert text.startswith("12 cells to train on, 4 held out, bulk_labels of x\n\nmethod ")
    assert f"{'GeneMamba':<28}     0.750     0.500      1.0\n" in text
    assert "\n\na remark\n\nwritten:\n  " + str(Path("demo") / "umap.png") + "\n\nnext, with cells of yours:\n" in text
    assert "the model was loaded" not in text
    assert "the model was loaded: it has seen" in str(DemoReport(scores, 12, "x", [], [], loaded=True))
