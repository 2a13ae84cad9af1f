"""Shifts: seen where cells are answered otherwise, by more than chance."""

import numpy as np

from genemamba_sc.confidence import Shift
from genemamba_sc.confidence._shift import shift_between


def test_the_distance_is_the_largest_gap_of_the_shares():
    found = shift_between(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.5, 4.5, 5.0, 6.0]))
    assert found.distance == 0.75
    assert 0.1 < found.p_value < 0.3


def test_cells_of_one_kind_do_not_differ_and_others_do():
    rng = np.random.default_rng(0)
    known = rng.normal(size=200)
    assert not shift_between(known, rng.normal(size=500)).is_seen
    assert shift_between(known, rng.normal(loc=0.7, size=500)).is_seen


def test_a_small_difference_of_many_cells_and_a_large_one_of_few_are_not_told():
    assert not Shift(0.1, 1e-9).is_seen
    assert not Shift(0.6, 0.01).is_seen
    assert Shift(0.15, 9e-4).is_seen


def test_no_cells_do_not_differ():
    assert shift_between(np.ones(3), np.zeros(0)) == Shift(0.0, 1.0)


def test_less_against_the_best_type_is_surer():
    assert shift_between(np.array([2.0, 3.0, 4.0]), np.array([1.0, 1.5, 2.0])).is_surer
    assert not shift_between(np.array([1.0, 1.5, 2.0]), np.array([2.0, 3.0, 4.0])).is_surer
