"""Multinomial regressions on centred features."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from genemamba_sc.training._linear import LabelledCells
from genemamba_sc.training._multinomial import multinomial

N_CELLS, N_FEATURES = 90, 12


def new_cells(n_types: int = 3, batches: np.ndarray | None = None, is_sparse: bool = True) -> LabelledCells:
    """Each type is raised in two of the features, which all have a mean far from 0 and many zeros."""
    rng = np.random.default_rng(0)
    types = np.arange(N_CELLS) % n_types
    features = (3 + rng.normal(size=(N_CELLS, N_FEATURES))) * (rng.random((N_CELLS, N_FEATURES)) < 0.7)
    features[np.arange(N_CELLS), types] += 1
    features[np.arange(N_CELLS), types + 3] += 1
    features = features.astype(np.float32)
    return LabelledCells(sparse.csr_array(features) if is_sparse else features, types, batches)


def objective(cells: LabelledCells, strength: float, weights: np.ndarray, intercepts: np.ndarray) -> float:
    scores = cells.features @ weights.T.astype(np.float64) + intercepts
    own = scores[np.arange(N_CELLS), cells.labels]
    return float((strength * cells.importance * (logsumexp(scores, axis=1) - own)).sum() + (weights**2).sum() / 2)


@pytest.mark.parametrize("is_sparse", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("batches", [None, np.repeat([0, 1], [80, 10])], ids=["alike", "weighted"])
def test_it_solves_the_problem_of_scikit_learn(is_sparse, batches):
    cells = new_cells(batches=batches, is_sparse=is_sparse)
    weights, intercepts = multinomial(cells, 0.3, max_iter=300)
    theirs = LogisticRegression(C=0.3, tol=1e-8, max_iter=3000).fit(
        cells.features, cells.labels, sample_weight=cells.importance
    )
    np.testing.assert_allclose(weights, theirs.coef_, atol=5e-3)
    np.testing.assert_allclose(intercepts - intercepts.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=2e-2)
    assert (weights.dtype, intercepts.dtype) == (np.float32, np.float32)


def test_a_few_steps_end_near_the_optimum():
    cells = new_cells()
    best = objective(cells, 0.3, *multinomial(cells, 0.3, max_iter=500))
    at_zero = objective(cells, 0.3, np.zeros((3, N_FEATURES)), np.zeros(3))
    few = objective(cells, 0.3, *multinomial(cells, 0.3, max_iter=12))
    assert best <= few < best + 0.01 * (at_zero - best)


def test_a_constant_that_is_added_to_a_feature_changes_no_score():
    cells = new_cells(is_sparse=False)
    moved = LabelledCells(cells.features + np.float32(5), cells.labels, None)
    scores = [part.features @ w.T + b for part in (cells, moved) for w, b in [multinomial(part, 0.3, 300)]]
    np.testing.assert_allclose(scores[0], scores[1], atol=5e-3)


def test_a_scale_is_that_of_the_features():
    cells, scale = new_cells(is_sparse=False), np.linspace(0.2, 2.0, N_FEATURES).astype(np.float32)
    scaled = LabelledCells(cells.features * scale, cells.labels, None)
    weights, intercepts = multinomial(cells, 0.3, 300, scale)
    expected, theirs = multinomial(scaled, 0.3, 300)
    np.testing.assert_allclose(weights, expected * scale[None], atol=1e-3)
    np.testing.assert_allclose(intercepts, theirs, atol=1e-2)


def test_two_types_have_opposite_scores():
    weights, intercepts = multinomial(new_cells(n_types=2), 0.3, 300)
    np.testing.assert_allclose(weights[0], -weights[1], atol=1e-4)
    np.testing.assert_allclose(intercepts[0], -intercepts[1], atol=1e-3)


def test_the_codes_of_the_types_need_not_be_consecutive():
    cells = new_cells()
    others = LabelledCells(cells.features, cells.labels * 5 + 1, None)
    np.testing.assert_array_equal(multinomial(others, 0.3, 50)[0], multinomial(cells, 0.3, 50)[0])
