"""Markers and programs, blended by what they say of cells they have not seen."""

import numpy as np
import pytest

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.training import _cell_types
from genemamba_sc.training._cell_types import CellTypeFit, blend_scores, fit_cell_types, towards_rare
from genemamba_sc.training._dataset import TokenDataset
from genemamba_sc.training._linear import LabelledCells

N_GENES = 12
VOCABULARY = GeneVocabulary(
    tuple(f"G{i}" for i in range(N_GENES)), ("",) * N_GENES, np.linspace(0.5, 2, N_GENES), "unknown"
)
# Genes 0-3, 4-7 and 8-11 belong to one type each.
TABLE = np.zeros((VOCABULARY.size, 3), dtype=np.float32)
TABLE[2 : 2 + N_GENES] = np.eye(3)[np.arange(N_GENES) // 4]


class Cells(TokenDataset):
    """A dataset whose tokens are given."""

    def __init__(self, all_tokens: Tokens, vocabulary: GeneVocabulary = VOCABULARY) -> None:
        self.all_tokens, self._vocabulary, self._n_obs = all_tokens, vocabulary, len(all_tokens.lengths)
        self.lengths = all_tokens.lengths

    def tokens(self, indices: np.ndarray) -> Tokens:
        t = self.all_tokens
        return Tokens(ids=t.ids[indices], values=t.values[indices], lengths=t.lengths[indices])


def new_cells(types: np.ndarray, seed: int = 0) -> Cells:
    """Each cell shows two of the four genes of its type, and one of another."""
    rng = np.random.default_rng(seed)
    own = np.stack([rng.choice(4, 2, replace=False) for _ in types]) + 4 * types[:, None]
    other = (4 * (types + 1) + rng.integers(0, 8, len(types))) % N_GENES
    ids = np.concatenate([own, other[:, None]], axis=1).astype(np.int32) + 2
    values = rng.integers(1, 4, ids.shape).astype(np.float32)
    return Cells(Tokens(ids=ids, values=values, lengths=np.full(len(types), 3, dtype=np.int32)))


def fit(cells: Cells, labels: np.ndarray, table: np.ndarray = TABLE) -> CellTypeFit:
    return fit_cell_types(cells, np.arange(len(labels)), labels, 3, [table])


def labelled(labels: list[int]) -> LabelledCells:
    return LabelledCells(np.zeros((len(labels), 1)), np.array(labels), None)


def test_the_blend_takes_what_tells_and_leaves_what_misleads():
    labels = [0, 1, 0, 1, 0, 1]
    right = np.where(np.eye(2)[labels] > 0, 1.0, -1.0).astype(np.float32)
    wrong = -right
    right[:2] *= -0.5  # a third of the cells is told wrongly, less surely: the best factor is finite
    assert blend_scores(wrong, right, labelled(labels))[0] == 0.0
    assert blend_scores(right, wrong, labelled(labels))[1] == 0.0


def test_the_blend_is_the_most_likely_one():
    rng = np.random.default_rng(0)
    cells = labelled(rng.integers(0, 3, 200).tolist())
    one_hot = np.eye(3)[cells.labels]
    first, second = ((one_hot + rng.normal(0, s, one_hot.shape)).astype(np.float32) for s in (0.8, 1.2))
    found = blend_scores(first, second, cells)

    def loss(a: float, b: float) -> float:
        scores = a * first + b * second
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(200), cells.labels]).mean())

    grid = [(loss(a, b), a, b) for a in np.arange(0, 3.01, 0.05) for b in np.arange(0, 3.01, 0.05)]
    np.testing.assert_allclose(found, min(grid)[1:], atol=0.04)


def test_cells_that_no_fit_could_know_do_not_count():
    known = np.array([[2.0, -2.0], [-2.0, 2.0]], dtype=np.float32)
    unseen = np.array([[3.0, -8.0], [0.0, 0.0]], dtype=np.float32)  # a type no fit saw; a cell that was not held out
    alone = blend_scores(known, known, labelled([0, 1]))
    assert blend_scores(np.vstack([known, unseen]), np.vstack([known, unseen]), labelled([0, 1, 1, 0])) == alone
    assert blend_scores(unseen, unseen, labelled([1, 0])) == (1.0, 1.0)


def test_few_labels_are_told_by_programs_and_new_cells_are_scored_as_the_parts_say():
    types = np.tile(np.arange(3), 4)
    found = fit(new_cells(types), types)
    assert found.blend[1] > found.blend[0]
    assert (found.held_out.argmax(axis=1) == types).mean() > 0.8
    query = new_cells(np.tile(np.arange(3), 30), seed=1)
    scores = found.scores(query.all_tokens, VOCABULARY)
    assert (scores.argmax(axis=1) == np.tile(np.arange(3), 30)).mean() > 0.9


def test_a_table_of_noise_leaves_the_types_to_the_markers():
    types = np.arange(300) % 3
    noise = np.random.default_rng(0).normal(size=TABLE.shape).astype(np.float32) * 1e-3
    found, good = fit(new_cells(types), types, noise), fit(new_cells(types), types)
    assert found.blend[0] > good.blend[0]
    assert (found.held_out.argmax(axis=1) == types).mean() > 0.9


def test_unlabelled_cells_are_neither_fitted_nor_scored():
    types = np.arange(60) % 3
    labels = np.where(np.arange(60) < 30, types, 3)  # 3 stands for «no label»
    cells = new_cells(types)
    found = fit(cells, labels)
    alone = fit(Cells(cells.tokens(np.arange(30))), types[:30])
    np.testing.assert_array_equal(found.markers, alone.markers)
    np.testing.assert_array_equal(found.programs, alone.programs)
    assert not found.held_out[30:].any() and found.held_out[:30].any(axis=1).all()


def test_a_type_without_cells_is_never_preferred():
    types = np.arange(60) % 2
    found = fit(new_cells(types), types)
    assert found.bias[2] <= -8.0 and not found.markers[:, 2].any() and not found.programs[:, 2].any()
    assert not (found.held_out.argmax(axis=1) == 2).any()


def test_cells_beyond_those_fitted_are_scored_by_the_fit(monkeypatch):
    types = np.arange(60) % 3
    cells = new_cells(types)
    monkeypatch.setattr(_cell_types, "_MAX_CELLS", 45)
    monkeypatch.setattr(_cell_types, "_BLOCK", 4)
    found = fit(cells, types)
    fitted = np.sort(np.random.default_rng(0).choice(60, 45, replace=False))
    rest = np.setdiff1d(np.arange(60), fitted)
    np.testing.assert_allclose(found.held_out[rest], found.scores(cells.tokens(rest), VOCABULARY), rtol=1e-4, atol=1e-5)
    assert np.abs(found.held_out[fitted] - found.scores(cells.tokens(fitted), VOCABULARY)).min(axis=1).max() > 1e-3


@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1, 1], [1]], ids=["one of each", "one type", "one cell"])
def test_next_to_no_labels_give_finite_scores(labels):
    found = fit(new_cells(np.array(labels)), np.array(labels))
    assert all(np.isfinite(part).all() for part in (found.markers, found.programs, found.bias, found.held_out))
    scores = found.scores(new_cells(np.array(labels)).all_tokens, VOCABULARY)
    assert (scores.argmax(axis=1) == labels).all()


def test_a_fifth_of_the_log_frequency_is_taken_back():
    offsets = towards_rare(labelled([1] * 32 + [3] * 8 + [0]), 4)
    np.testing.assert_allclose(offsets, [np.log(32) / 5, 0.0, 0.0, np.log(4) / 5], rtol=1e-6)
    assert offsets.dtype == np.float32


def test_frequencies_are_those_of_equally_weighted_batches():
    # Two batches, one four times as large: type 1 is half of the small one, and type 0 all of the rest.
    labels, batches = np.array([0] * 16 + [0, 0, 1, 1]), np.array([0] * 16 + [1] * 4)
    offsets = towards_rare(LabelledCells(np.zeros((20, 1)), labels, batches), 2)
    np.testing.assert_allclose(offsets, [0.0, np.log(3) / 5], rtol=1e-6)


def test_neither_the_bias_nor_held_out_scores_are_moved_to_rare_types(monkeypatch):
    types = np.array([0] * 40 + [1] * 10 + [2] * 5)
    cells = new_cells(types)
    moved = fit(cells, types)
    monkeypatch.setattr(_cell_types, "_TOWARDS_RARE", 0.0)
    plain = fit(cells, types)
    np.testing.assert_array_equal(moved.bias, plain.bias)
    np.testing.assert_array_equal(moved.held_out, plain.held_out)
    np.testing.assert_allclose(moved.towards_rare, np.log([1, 4, 8]) / 5, rtol=1e-6)
    np.testing.assert_array_equal(plain.towards_rare, 0.0)
