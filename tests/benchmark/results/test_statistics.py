"""Means over seeds, and intervals that say no more than they know."""

import numpy as np
import pytest

from genemamba_sc.benchmark.results._statistics import Mean, mean_over_seeds

T_OF_TWO = 4.302652729911275  # 97.5 % quantile of Student's t with two degrees of freedom


def test_fixed_parts_give_the_plain_interval():
    found = mean_over_seeds(np.array([0.5, 0.6, 0.7]))
    half = T_OF_TWO * 0.1 / 3**0.5
    assert (found.mean, found.n_seeds) == (pytest.approx(0.6), 3)
    assert (found.low, found.high) == (pytest.approx(0.6 - half), pytest.approx(0.6 + half))


def test_parts_that_overlap_give_a_wider_one():
    found = mean_over_seeds(np.array([0.5, 0.6, 0.7]), test_share=0.2)
    half = T_OF_TWO * 0.1 * (1 / 3 + 0.2 / 0.8) ** 0.5
    assert (found.low, found.high) == (pytest.approx(0.6 - half), pytest.approx(0.6 + half))


def test_ends_are_cut_where_no_value_can_be():
    found = mean_over_seeds(np.array([0.1, 0.9]))
    assert (found.low, found.high) == (0.0, 1.0)
    assert mean_over_seeds(np.array([-0.4, 0.4]), least=-1.0).low == -1.0


def test_an_interval_holds_its_mean():
    found = mean_over_seeds(np.array([-0.02, -0.01, -0.03]), least=-1.0)
    half = T_OF_TWO * 0.01 / 3**0.5
    assert (found.low, found.high) == (pytest.approx(-0.02 - half), pytest.approx(-0.02 + half))
    cut = mean_over_seeds(np.array([-0.02, -0.01, -0.03]))
    assert cut.low == cut.mean == pytest.approx(-0.02)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
def test_one_seed_or_equal_seeds_claim_no_interval(values: list[float]):
    assert mean_over_seeds(np.array(values)) == Mean(0.5, None, None, len(values))


def test_the_corrected_interval_covers_what_the_plain_one_misses():
    # The share of right cells of a fixed rule over all cells, seen through overlapping drawn test parts: the parts of
    # one draw of cells agree too much. Coverage is over draws of the cells.
    rng, plain, corrected = np.random.default_rng(0), 0, 0
    for _ in range(400):
        right = rng.random(100) < 0.7
        seen = np.array([rng.choice(right, 20, replace=False).mean() for _ in range(10)])
        for share in (0.0, 0.2):
            found = mean_over_seeds(seen, share)
            hit = found.low is not None and found.low <= 0.7 <= found.high
            plain, corrected = plain + (hit and share == 0), corrected + (hit and share > 0)
    assert plain / 400 < 0.85 < 0.92 < corrected / 400
