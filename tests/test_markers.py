"""The convex part of the cell-type head."""

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from genemamba_sc._markers import MarkerFit, _Cells, _folds, expression_matrix, fit_markers
from genemamba_sc.data import GeneVocabulary, Tokens

VOCABULARY = GeneVocabulary(("A", "B", "C"), ("", "", ""), np.array([1.0, 2.0, 4.0]), "unknown")


@dataclass
class Cells:
    """Stands in for a TokenDataset: tokens in memory and their vocabulary."""

    all_tokens: Tokens
    vocabulary: GeneVocabulary = VOCABULARY

    def tokens(self, indices: np.ndarray) -> Tokens:
        t = self.all_tokens
        return Tokens(ids=t.ids[indices], values=t.values[indices], lengths=t.lengths[indices])


def marked_cells(types: np.ndarray) -> Cells:
    """One gene in each cell: the marker of its type, at different levels."""
    ids = (types + 2).astype(np.int32)[:, None]
    values = (1 + np.arange(len(types)) % 5).astype(np.float32)[:, None]
    return Cells(Tokens(ids=ids, values=values, lengths=np.ones(len(types), dtype=np.int32)))


def fit(types: np.ndarray, labels: np.ndarray, n_labels: int, batches: np.ndarray | None = None) -> MarkerFit:
    # _markers reads a TokenDataset by two names only; the type check of the test run would want the whole of it.
    function = getattr(fit_markers, "__wrapped__", fit_markers)
    return function(marked_cells(types), np.arange(len(types)), labels, n_labels, batches)


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


def test_each_marker_speaks_for_its_type_and_cells_are_scored_by_fits_without_them():
    types = np.arange(60) % 3
    found = fit(types, types, 3)
    assert found.weights[2:5].argmax(axis=1).tolist() == [0, 1, 2]
    assert not found.weights[[0, 1, 5, 6]].any()  # special tokens
    assert (found.held_out.argmax(axis=1) == types).all()


def test_the_weights_are_the_mean_of_an_l2_and_of_l1_regressions():
    types = np.arange(60) % 3
    found = fit(types, types, 3)
    features = expression_matrix(marked_cells(types).all_tokens, VOCABULARY)
    many = LogisticRegression(C=0.3, max_iter=150, tol=1e-3).fit(features, types)
    few = LogisticRegression(C=0.5, l1_ratio=1.0, solver="liblinear", random_state=0)
    strong = np.stack([few.fit(features, types == kind).coef_[0] for kind in range(3)])
    np.testing.assert_allclose(found.weights, ((many.coef_ + strong) / 2).T, atol=1e-3)


def test_a_cell_is_not_scored_by_its_own_label():
    types = np.arange(60) % 3
    wrong = types.copy()
    wrong[0] = 1
    # A fit that saw cell 0 would learn a little of its wrong label; its own fold did not.
    np.testing.assert_allclose(
        fit(types, types, 3, np.arange(60) // 20).held_out[0], fit(types, wrong, 3, np.arange(60) // 20).held_out[0]
    )


def test_unlabelled_cells_are_neither_fitted_nor_scored():
    types = np.arange(60) % 3
    labels = np.where(np.arange(60) < 30, types, 3)  # 3 stands for «no label»
    found = fit(types, labels, 3)
    alone = fit(types[:30], types[:30], 3)
    np.testing.assert_allclose(found.weights, alone.weights)
    assert not found.held_out[30:].any() and found.held_out[:30].all(axis=1).all()


def test_a_type_without_cells_is_never_preferred():
    types = np.arange(60) % 2
    found = fit(types, types, 3)
    assert found.bias[2] == -8.0 and not found.weights[:, 2].any()
    assert (found.held_out[:, 2] < found.held_out[:, :2].max(axis=1)).all()


def test_two_types_have_opposite_l2_scores():
    types = np.arange(60) % 2
    found = fit(types, types, 2)
    assert (found.held_out.argmax(axis=1) == types).all()
    np.testing.assert_allclose(found.weights[:, 0], -found.weights[:, 1], atol=1e-2)


@pytest.mark.parametrize(
    ("n_batches", "whole"), [(1, False), (2, False), (3, True), (7, True)], ids=["one", "two", "three", "seven"]
)
def test_from_three_batches_on_whole_batches_are_held_out(n_batches, whole):
    batches, labels = np.arange(70) % n_batches, np.arange(70) // 7 % 2
    pairs = list(_folds(labels, batches, seed=0))
    assert sorted(np.concatenate([scored for _, scored in pairs]).tolist()) == list(range(70))
    apart = [not set(batches[fitted]) & set(batches[scored]) for fitted, scored in pairs]
    assert apart == [whole] * len(pairs)


def test_batches_count_alike_up_to_five_times():
    def weights(sizes: list[int]) -> np.ndarray:
        batches = np.repeat(np.arange(len(sizes)), sizes)
        cells = _Cells(expression_matrix(marked_cells(batches * 0).all_tokens, VOCABULARY), batches, batches)
        return cells.importance[np.cumsum([0, *sizes[:-1]])]

    np.testing.assert_allclose(weights([30, 10]), [2 / 3, 2.0])
    # 99 : 1 would weigh the single cell 50 to 0.505; 5 is the most, before the mean is brought back to 1.
    np.testing.assert_allclose(weights([99, 1]), np.array([100 / 198, 5.0]) / ((99 * 100 / 198 + 5) / 100))
