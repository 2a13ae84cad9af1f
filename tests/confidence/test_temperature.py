"""One temperature: it is the most likely one, finite where all is right, and changes no prediction."""

import numpy as np
import pytest
from scipy.special import softmax

from genemamba_sc.confidence import fit_temperature, probabilities_of


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_it_finds_the_temperature_that_labels_were_drawn_with(true: float):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3.0, size=(20_000, 4))
    shares = softmax(logits / true, axis=1).cumsum(axis=1)
    labels = (rng.random((20_000, 1)) > shares).sum(axis=1).clip(max=3)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.05)  # 20,000 cells outweigh the prior


def test_cells_that_are_all_predicted_rightly_do_not_make_it_fall_without_end():
    logits = np.array([[4.0, 0.0], [0.0, 4.0]] * 20)
    found = fit_temperature(logits, np.array([0, 1] * 20))
    assert 0.5 < found < 1.0
    # There the slope of the surprise of 40 cells, by x = -log(T), is that of the prior: 40 · 4 s p = x / 0.2², where
    # s = exp(x) and p is the probability of the wrong type.
    x = -np.log(found)
    assert 40 * 4 * np.exp(x) / (1 + np.exp(4 * np.exp(x))) == pytest.approx(x / 0.04, rel=1e-3)


def test_few_cells_move_it_less_than_many():
    few = fit_temperature(np.array([[3.0, 0.0]] * 4), np.array([0, 0, 1, 1]))
    many = fit_temperature(np.array([[3.0, 0.0]] * 400), np.array([0, 0, 1, 1] * 100))
    assert 1.0 < few < 1.5 < many


def test_no_cells_leave_scores_as_they_are():
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0


def test_it_stays_in_its_range():
    wrong = np.array([[500.0, 0.0]] * 999)
    assert fit_temperature(wrong, np.ones(999, dtype=int)) == pytest.approx(10.0, rel=1e-3)


def test_predictions_stay_and_rows_sum_to_one():
    logits = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    for temperature in (0.1, 1.0, 10.0):
        found = probabilities_of(logits, temperature)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
        assert np.array_equal(found.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(probabilities_of(np.log([[0.2, 0.8]]), 1.0), [[0.2, 0.8]], rtol=1e-6)
