"""The reference that new batches are mapped onto: it keeps its cells, and knows how far its partners lie apart."""

import numpy as np
import pytest

from genemamba_sc.integration import Integration, fit_integration
from genemamba_sc.integration import _reference as reference_module
from genemamba_sc.integration._offsets import Offsets, Spreads
from genemamba_sc.integration._reference import Reference

TYPES = 6 * np.eye(4)


def cells_of(types: np.ndarray, seed: int, shift: float = 0.0) -> np.ndarray:
    return TYPES[types] + 0.4 * np.random.default_rng(seed).normal(size=(len(types), 4)) + shift


@pytest.fixture
def still() -> tuple[Reference, Spreads]:
    """A reference of three types in which nothing is scaled."""
    one = np.ones(3)
    spreads = Spreads(TYPES[:3], TYPES[:3], one, 0 * one, one[None], 0.1)
    return Reference(cells_of(np.arange(150) % 3, 0), 1.5), spreads


def mapped(cells: np.ndarray, moves: tuple[Offsets | Spreads, ...]) -> np.ndarray:
    """Where all moves but the last, which scales, bring cells."""
    for move in moves[:-1]:
        cells = move(cells, np.zeros(len(cells), dtype=int))
    return cells


def test_a_batch_is_first_moved_as_a_whole_and_then_cluster_by_cluster(still: tuple[Reference, Spreads]):
    reference, spreads = still
    types = np.arange(90) % 3
    moves = reference.moves(cells_of(types, 1, shift=1.0), spreads, 20)
    assert [type(move) for move in moves] == [Offsets, Offsets, Offsets, Offsets, Spreads]
    assert [len(move.centroids) for move in moves] == [1, 3, 3, 3, 3]
    assert moves[0].offsets.shape == (1, 1, 4)
    np.testing.assert_allclose(moves[0].offsets[0, 0], -1.0, atol=0.4)
    found = mapped(cells_of(types, 1, shift=1.0), moves)
    for kind in range(3):
        np.testing.assert_allclose(found[types == kind].mean(axis=0), TYPES[kind], atol=0.35)


def test_cells_that_lie_where_the_reference_does_hardly_move(still: tuple[Reference, Spreads]):
    reference, spreads = still
    cells = cells_of(np.arange(90) % 3, 1)
    assert np.linalg.norm(mapped(cells, reference.moves(cells, spreads, 20)) - cells, axis=1).max() < 0.4


def test_links_beyond_the_reach_have_no_say(still: tuple[Reference, Spreads]):
    reference, spreads = still
    types = np.arange(90) % 3
    cells = cells_of(types, 1)
    # One type of the batch lies off; the batch as a whole does not. Most of its cells have no close partner, and stay.
    cells[types == 0, 3] += 1.0
    left = {}
    for reach in (5.0, 0.2):
        found = mapped(cells, Reference(reference.cells, reach).moves(cells, spreads, 20))
        left[reach] = found[types == 0, 3].mean()
        for kind in (1, 2):
            np.testing.assert_allclose(found[types == kind].mean(axis=0), TYPES[kind], atol=0.3)
    assert left[5.0] < 0.95 * left[0.2]


def test_of_many_cells_evenly_spaced_ones_are_read(still: tuple[Reference, Spreads], monkeypatch: pytest.MonkeyPatch):
    reference, spreads = still
    cells = cells_of(np.arange(90) % 3, 1, shift=1.0)
    monkeypatch.setattr(reference_module, "_MOST_QUERY_CELLS", 45)
    read = np.linspace(0, 89, 45).round().astype(int)
    found, expected = reference.moves(cells, spreads, 20), reference.moves(cells[read], spreads, 20)
    for move, other in zip(found[:-1], expected[:-1]):
        assert np.array_equal(move.offsets, other.offsets)


def test_a_fit_keeps_evenly_spaced_cells_and_the_reach_of_its_partners(monkeypatch: pytest.MonkeyPatch):
    types, batches = np.arange(120) % 3, np.arange(120) // 3 % 2
    embedding = (cells_of(types, 0) + batches[:, None]).astype(np.float32)
    whole = fit_integration(embedding, batches)
    np.testing.assert_allclose(whole.reference.cells, whole(embedding, batches), atol=1e-4)
    monkeypatch.setattr("genemamba_sc.integration._fit.MOST_CELLS", 40)
    part: Integration = fit_integration(embedding, batches)
    kept = np.linspace(0, 119, 40).round().astype(int)
    np.testing.assert_allclose(part.reference.cells, whole.reference.cells[kept], atol=1e-6)
    assert part.reference.reach == whole.reference.reach
    middle = np.stack([whole.reference.cells[types == kind].mean(axis=0) for kind in range(3)])
    apart = np.linalg.norm(middle[:, None] - middle[None], axis=2)[np.triu_indices(3, 1)].min()
    assert 0 < whole.reference.reach < apart
