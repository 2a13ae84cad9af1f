"""Label sets: the quantile is exact, ties and orders do not matter, and what cannot be stated is refused."""

import numpy as np
import pandas as pd
import pytest

from genemamba_sc import LabelSets
from genemamba_sc.confidence._label_sets import (
    check_coverage,
    exact_quantile,
    fewest_cells,
    members,
    odds_against,
    thresholds,
)


def test_the_odds_against_a_type_are_those_of_its_probability():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))
    expected = np.log([[3 / 7, 4.0, 9.0], [3.0, 3.0, 1.0]])
    np.testing.assert_allclose(odds_against(logits), expected)
    # Scores have no zero point, and a sure type still differs from a surer one.
    np.testing.assert_allclose(odds_against(logits + 5), expected)
    np.testing.assert_allclose(odds_against(np.array([[50.0, 0.0], [90.0, 0.0]]))[:, 0], [-50.0, -90.0])


@pytest.mark.parametrize(
    ("n", "coverage", "rank"),
    # ceil((n + 1) * coverage); in floats 100 * 0.29 is above 29, and 20 * 0.95 must not lift a rank either.
    [
        (9, 0.9, 9),
        (10, 0.9, 10),
        (19, 0.9, 18),
        (20, 0.9, 19),
        (19, 0.95, 19),
        (99, 0.29, 29),
        (3, 0.5, 2),
        (4, 0.5, 3),
    ],
)
def test_the_quantile_is_a_value_of_the_cells_and_exact(n: int, coverage: float, rank: int):
    values = np.random.default_rng(0).permutation(np.arange(1, n + 1)).astype(float)
    assert exact_quantile(values, coverage) == rank


def test_the_coverage_over_all_splits_is_the_stated_one_or_just_above():
    """Each of 20 values once as the new one: 19 others calibrate."""
    values = np.random.default_rng(1).normal(size=20)
    for coverage in (0.5, 0.75, 0.9, 0.95):
        inside = [value <= exact_quantile(np.delete(values, i), coverage) for i, value in enumerate(values)]
        assert np.mean(inside) == pytest.approx(coverage)


def test_ties_only_widen_sets():
    assert exact_quantile(np.array([1.0, 1.0, 1.0, 2.0]), 0.5) == 1.0
    inside = members(np.log([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]), np.full(3, np.log(1.5)), allow_empty=True)
    assert inside.tolist() == [[True, False, False], [True, True, False]]


@pytest.mark.parametrize(("coverage", "least"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.8, 4), (0.5, 1)])
def test_too_few_cells_for_a_coverage_are_refused(coverage: float, least: int):
    assert fewest_cells(coverage) == least
    labels = np.zeros(least, dtype=int)
    found = thresholds(np.arange(least, dtype=float), labels, ["a", "b"], coverage, per_type=False)
    assert found.tolist() == [least - 1.0, least - 1.0]
    message = rf"coverage {coverage} need at least {least} calibration cells\. Got {least - 1}\. Ask for less"
    with pytest.raises(ValueError, match=message):
        thresholds(np.arange(least - 1.0), labels[1:], ["a", "b"], coverage, per_type=False)


@pytest.mark.parametrize("n_cells", [1, 6, 23, 211])
def test_the_coverage_that_a_message_names_is_possible(n_cells: int):
    labels = np.zeros(n_cells, dtype=int)
    with pytest.raises(ValueError) as refused:
        thresholds(np.zeros(n_cells), labels, ["a", "b"], 0.9999, per_type=False)
    named = float(str(refused.value).split("up to coverage=")[1].split(",")[0])
    assert thresholds(np.zeros(n_cells), labels, ["a", "b"], named, per_type=False).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("coverage", [0, 1, 1.0, -0.1, 1.5, float("nan")])
def test_a_coverage_outside_of_0_and_1_is_refused(coverage: float):
    with pytest.raises(ValueError, match=r"coverage must lie in \(0, 1\), both ends left out\. Got "):
        check_coverage(coverage)


@pytest.mark.parametrize("coverage", ["0.9", None, True])
def test_a_coverage_that_is_no_number_is_refused(coverage: object):
    with pytest.raises(TypeError, match=r"coverage must be a number\. Got "):
        check_coverage(coverage)


def test_each_type_has_the_threshold_of_its_own_cells():
    against = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert thresholds(against, labels, ["a", "b"], 0.5, per_type=True).tolist() == [2.0, 20.0]
    assert thresholds(against, labels, ["a", "b"], 0.5, per_type=False).tolist() == [10.0, 10.0]


def test_a_type_of_one_calibration_cell_and_one_of_none_are_named():
    labels = np.array([0] * 12 + [1])
    message = r"calibration cells of each\. These have fewer: rare \(1\), absent \(0\)\. Pass per_type=False"
    with pytest.raises(ValueError, match=message):
        thresholds(np.arange(13.0), labels, ["many", "rare", "absent"], 0.9, per_type=True)
    assert np.isfinite(thresholds(np.arange(13.0), labels, ["many", "rare", "absent"], 0.9, per_type=False)).all()


def test_the_order_of_cells_and_of_types_changes_nothing():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 3)), np.repeat([0, 1, 2, 1], 10)
    against = odds_against(logits)[np.arange(40), labels]
    for per_type in (True, False):
        limits = thresholds(against, labels, list("abc"), 0.8, per_type=per_type)
        order, kinds = rng.permutation(40), np.array([2, 0, 1])
        moved = thresholds(against[order], np.argsort(kinds)[labels[order]], list("cab"), 0.8, per_type=per_type)
        assert np.array_equal(moved, limits[kinds])
        inside = members(logits, limits, allow_empty=True)
        assert np.array_equal(members(logits[order][:, kinds], moved, allow_empty=True), inside[order][:, kinds])


def test_an_empty_set_gets_the_predicted_type_only_where_it_is_asked():
    logits, limits = np.log([[0.4, 0.35, 0.25], [0.9, 0.05, 0.05]]), np.full(3, np.log(1 / 3))
    assert members(logits, limits, allow_empty=True).tolist() == [[False] * 3, [True, False, False]]
    assert members(logits, limits, allow_empty=False).tolist() == [[True, False, False], [True, False, False]]


def test_sets_are_told_as_text_and_sizes():
    inside = pd.DataFrame(
        [[True, True, False], [False, False, False], [False, False, True]], index=["x", "y", "z"], columns=["T", "B", 7]
    )
    sets = LabelSets(inside, 0.9, False, "3 cells")
    expected = pd.DataFrame({"set": ["T | B", "", "7"], "size": [2, 0, 1]}, index=["x", "y", "z"])
    pd.testing.assert_frame_equal(sets.to_frame(), expected)


def test_no_cells_have_no_sets():
    empty = pd.DataFrame(np.zeros((0, 2), dtype=bool), columns=["a", "b"])
    assert LabelSets(empty, 0.9, False, "").to_frame().shape == (0, 2)
