"""Calibrations: what is said of unknown cells, and what comes back from a file or is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from genemamba_sc.confidence import Calibration, KnownCells, unknown_share
from genemamba_sc.confidence._calibration import energy


def calibration(n: int = 20, seed: int = 0) -> Calibration:
    rng = np.random.default_rng(seed)
    known = KnownCells(
        np.array([4, 6]),
        np.eye(2, dtype=np.float32),
        np.array([[0, 0], [5, 5], [0, 0]], np.float32),
        np.array([9, 9, 0]),
    )
    labels = np.arange(n) % 2
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    logits[np.arange(n), labels] += 4
    cells = known.centres[labels] + rng.normal(size=(n, 2)).astype(np.float32)
    return Calibration(logits, labels, known.distance(cells).astype(np.float32), known, f"{n} cells")


def test_the_share_counts_calibration_cells_with_less_and_ties_speak_for_the_cell():
    found = unknown_share(np.array([0.0, 1.0, 2.5, 9.0]), np.array([3.0, 1.0, 2.0, 1.0]))
    assert found.tolist() == [0.0, 0.0, 0.6, 0.8]
    assert unknown_share(np.array([1.0]), np.zeros(0)).tolist() == [0.0]


def test_at_most_the_stated_share_of_known_cells_is_called_unknown():
    """Each of 40 cells once as the new one, by a measure that the others do not change."""
    values = np.random.default_rng(0).normal(size=40)
    shares = [unknown_share(values[i : i + 1], np.delete(values, i))[0] for i in range(40)]
    for lost in (0.05, 0.25, 0.5):
        assert np.mean(np.array(shares) >= 1 - lost) == pytest.approx(lost, abs=1e-9)


def test_the_energy_is_high_where_all_scores_are_low():
    np.testing.assert_allclose(energy(np.array([[0.0, 0.0], [5.0, -90.0]])), [-np.log(2), -5.0])


def test_a_far_cell_and_a_cell_without_a_likely_type_look_unknown():
    found = calibration(200)
    typical, low = np.array([[4.0, 0, 0]], np.float32), np.array([[-4.0, -4, -4]], np.float32)
    near, far = np.zeros((1, 2), np.float32), np.full((1, 2), 40.0, np.float32)
    assert found.unknown(typical, near) < 0.5
    assert found.unknown(typical, far) > 0.95
    assert found.unknown(low, near) > found.unknown(typical, near)
    assert found.unknown(low, far) == 200 / 201
    # A type without cells is nowhere: its centre is no place for a known cell.
    only = replace(found, known=replace(found.known, counts=np.array([0, 9, 0])))
    assert only.known.distance(near) == 50.0


def test_calibration_cells_are_among_the_known_ones_as_often_as_stated():
    found = calibration(200)
    rng = np.random.default_rng(5)
    others = calibration(200, seed=5)
    cells = others.known.centres[others.labels] + rng.normal(size=(200, 2)).astype(np.float32)
    assert np.mean(found.unknown(others.logits, cells) >= 0.9) == pytest.approx(0.1, abs=0.05)


def test_equal_calibration_cells_are_no_hindrance():
    found = calibration(4)
    same = replace(found, logits=np.zeros_like(found.logits), distances=np.ones_like(found.distances))
    shares = same.unknown(np.zeros((2, 3), np.float32), np.array([[1, 0], [9, 9]], np.float32))
    assert shares.tolist() == [0.0, 0.8]


def test_sets_come_from_the_cells_of_the_calibration():
    found = calibration(19)
    sets = found.sets(np.array([[9, 0, 0], [0, 0, 0]], np.float32), pd.Index(["x", "y"]), ["a", "b", "c"], 0.9)
    assert sets.members.loc["x"].tolist() == [True, False, False]
    assert (sets.coverage, sets.per_type, sets.calibrated_on) == (0.9, False, "19 cells")
    with pytest.raises(ValueError, match=r"need at least 9 calibration cells of each\. These have fewer: c \(0\)"):
        found.sets(found.logits, pd.RangeIndex(19), ["a", "b", "c"], 0.9, per_type=True)


def test_a_calibration_comes_back_from_its_arrays():
    found = calibration()
    again = Calibration.of_arrays(found.arrays(), found.cells)
    logits = np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32)
    assert np.array_equal(again.probabilities(logits), found.probabilities(logits))
    assert np.array_equal(again.unknown(logits, logits[:, :2]), found.unknown(logits, logits[:, :2]))
    assert again.labels.dtype == found.labels.dtype and again.cells == found.cells


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("labels", None, "has arrays of these dimensions"),
        ("more", lambda _: np.zeros(3), "has arrays of these dimensions"),
        ("labels", lambda old: old[:-1], r"labels \(19,\) instead of \(20,\)"),
        ("labels", lambda old: old + 0.5, "labels of a calibration must be whole numbers"),
        ("labels", lambda old: old + 2, "must be codes of 3 types. Got 3"),
        ("labels", lambda old: old - 1, "must be whole numbers from 0"),
        ("logits", lambda old: old[:0], "Got 0 cells"),
        ("distances", lambda old: old - 1e6, "Distances of a calibration must be 0 or more"),
        ("known.centres", lambda old: old[:, :1], r"known\.centres \(3, 1\) instead of \(3, 2\)"),
        ("known.counts", lambda old: old * 0, "to one type at least"),
        ("known.genes", lambda old: old * np.nan, "known.genes of a calibration must be whole numbers"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(name: str, change, message: str):
    arrays = calibration().arrays()
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays.get(name))
    with pytest.raises(ValueError, match=message):
        Calibration.of_arrays(arrays, "cells")
