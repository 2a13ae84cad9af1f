"""Linear scores by convex fits, and scores of cells by fits that did not see them."""

import numpy as np
import pytest

from genemamba_sc.training._linear import UNSEEN, LabelledCells, fit_linear, folds, held_out_scores
from genemamba_sc.training._multinomial import multinomial

TYPES = np.arange(60) % 3


def marked(types: np.ndarray, labels: np.ndarray | None = None, batches: np.ndarray | None = None) -> LabelledCells:
    """One feature for each of three types, at different levels."""
    features = (np.eye(3)[types] * (1 + np.arange(len(types)) % 5)[:, None]).astype(np.float32)
    return LabelledCells(features, types if labels is None else labels, batches)


def solve(cells: LabelledCells, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return multinomial(cells, 1.0, max_iter=200)


def test_each_feature_speaks_for_its_type_also_where_it_is_held_out():
    fit = fit_linear(marked(TYPES), 3, solve)
    assert fit.weights.argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(fit(np.eye(3, dtype=np.float32)[:1]), fit.weights[:1] + fit.bias, rtol=1e-6)
    assert (held_out_scores(marked(TYPES), 3, solve).argmax(axis=1) == TYPES).all()


def test_a_cell_is_not_scored_by_its_own_label():
    wrong = TYPES.copy()
    wrong[0] = 1
    batches = np.arange(60) // 20
    # A fit that saw cell 0 would learn a little of its wrong label; its own fold did not.
    before, after = (held_out_scores(marked(TYPES, labels, batches), 3, solve) for labels in (TYPES, wrong))
    np.testing.assert_array_equal(before[batches == 0], after[batches == 0])
    assert np.abs(before - after)[batches > 0].min(axis=1).max() > 1e-4


def test_a_type_without_cells_is_never_preferred():
    types = TYPES % 2
    fit = fit_linear(marked(types), 3, solve)
    assert fit.bias[2] == UNSEEN == -8.0 and not fit.weights[:, 2].any()
    held_out = held_out_scores(marked(types), 3, solve)
    assert (held_out[:, 2] < held_out[:, :2].max(axis=1)).all()


def test_one_type_alone_needs_no_solver_and_too_few_cells_are_not_held_out():
    def never(cells: LabelledCells, seed: int) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("called")

    fit = fit_linear(marked(np.full(4, 1)), 3, never)
    assert not fit.weights.any() and fit.bias.tolist() == [-8.0, 0.0, -8.0]
    assert not held_out_scores(marked(np.arange(3)), 3, never).any()


def test_the_folds_are_watched():
    seen = []

    def watch(pairs: list) -> list:
        seen.extend(pairs)
        return pairs

    held_out_scores(marked(TYPES), 3, solve, watch=watch)
    assert sorted(np.concatenate([unseen for _, unseen in seen]).tolist()) == list(range(60)) and len(seen) == 5


@pytest.mark.parametrize(
    ("n_batches", "whole"), [(1, False), (2, False), (3, True), (7, True)], ids=["one", "two", "three", "seven"]
)
def test_from_three_batches_on_whole_batches_are_held_out(n_batches, whole):
    batches, labels = np.arange(70) % n_batches, np.arange(70) // 7 % 2
    pairs = list(folds(labels, batches, seed=0))
    assert sorted(np.concatenate([scored for _, scored in pairs]).tolist()) == list(range(70))
    apart = [not set(batches[fitted]) & set(batches[scored]) for fitted, scored in pairs]
    assert apart == [whole] * len(pairs)


def test_batches_count_alike_up_to_five_times():
    def weights(sizes: list[int]) -> np.ndarray:
        batches = np.repeat(np.arange(len(sizes)), sizes)
        return LabelledCells(np.zeros((len(batches), 1)), batches, batches).importance[np.cumsum([0, *sizes[:-1]])]

    np.testing.assert_allclose(weights([30, 10]), [2 / 3, 2.0])
    # 99 : 1 would weigh the single cell 50 to 0.505; 5 is the most, before the mean is brought back to 1.
    np.testing.assert_allclose(weights([99, 1]), np.array([100 / 198, 5.0]) / ((99 * 100 / 198 + 5) / 100))
