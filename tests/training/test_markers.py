"""Marker genes: linear scores from expression."""

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.training._linear import LabelledCells
from genemamba_sc.training._markers import expression_matrix, solve_markers

VOCABULARY = GeneVocabulary(("A", "B", "C"), ("", "", ""), np.array([1.0, 2.0, 4.0]), "unknown")


def marked_cells(types: np.ndarray) -> LabelledCells:
    """One gene in each cell: the marker of its type, at different levels."""
    ids = (types + 2).astype(np.int32)[:, None]
    values = (1 + np.arange(len(types)) % 5).astype(np.float32)[:, None]
    tokens = Tokens(ids=ids, values=values, lengths=np.ones(len(types), dtype=np.int32))
    return LabelledCells(expression_matrix(tokens, VOCABULARY), types, None)


def test_the_matrix_holds_log1p_of_counts_per_10_000():
    tokens = Tokens(
        ids=np.array([[3, 2], [4, 1]], dtype=np.int32),
        values=np.array([[3.0, 2.0], [0.5, 0.0]], dtype=np.float32),
        lengths=np.array([2, 1], dtype=np.int32),
    )
    matrix = expression_matrix(tokens, VOCABULARY).toarray()
    # Tokens 2, 3, 4 have the medians 1, 2, 4, by which their values were divided; pads add nothing.
    expected = np.zeros((2, VOCABULARY.size))
    expected[0, 3], expected[0, 2], expected[1, 4] = np.log1p(6.0), np.log1p(2.0), np.log1p(2.0)
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)


def test_the_weights_are_the_mean_of_an_l2_and_of_l1_regressions():
    types = np.arange(60) % 3
    cells = marked_cells(types)
    weights, intercepts = solve_markers(cells, 0)
    many = LogisticRegression(C=0.3, max_iter=150, tol=1e-3).fit(cells.features, types)
    few = LogisticRegression(C=0.5, l1_ratio=1.0, solver="liblinear", random_state=0)
    strong = [clone(few).fit(cells.features, types == kind) for kind in range(3)]
    np.testing.assert_allclose(weights, (many.coef_ + np.stack([f.coef_[0] for f in strong])) / 2, atol=1e-3)
    np.testing.assert_allclose(intercepts, (many.intercept_ + [f.intercept_[0] for f in strong]) / 2, atol=1e-3)
    assert weights[:, 2:5].argmax(axis=0).tolist() == [0, 1, 2]
    assert not weights[:, [0, 1, 5, 6]].any()  # special tokens
