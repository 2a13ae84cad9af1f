"""Which cells share a batch, and which process gets which batch."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genemamba_sc.corpus import BatchPlan
from genemamba_sc.corpus._sampler import Place, fixed_batches

LENGTHS = np.random.default_rng(0).integers(0, 60, 997).astype(np.int32)
PLAN = BatchPlan(LENGTHS, np.arange(997), 300, seed=3)


def padded(cells: np.ndarray) -> int:
    return len(cells) * max(1, int(LENGTHS[cells].max()))


def test_a_pass_takes_each_cell_once_and_keeps_the_budget():
    batches = PLAN.epoch(0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(997))
    assert max(padded(cells) for cells in batches) <= 300


def test_little_is_padded():
    batches = PLAN.epoch(0)
    assert sum(padded(cells) for cells in batches) <= 1.1 * LENGTHS.sum()


def test_the_order_is_that_of_seed_and_pass():
    again = BatchPlan(LENGTHS, np.arange(997), 300, seed=3)
    assert all(map(np.array_equal, PLAN.epoch(2), again.epoch(2)))
    others = [PLAN.epoch(1), BatchPlan(LENGTHS, np.arange(997), 300, seed=4).epoch(2)]
    assert not any(np.array_equal(PLAN.epoch(2)[0], other[0]) for other in others)


def test_a_cell_longer_than_the_budget_has_a_batch_of_its_own():
    plan = BatchPlan(np.array([10, 50, 2], np.int32), np.arange(3), 20, seed=0)
    assert sorted(map(sorted, (cells.tolist() for cells in plan.epoch(0)))) == [[0, 2], [1]]


@given(st.integers(1, 5), st.integers(0, 300), st.integers(1, 60))
def test_processes_take_turns_of_one_stream(world_size: int, start: int, turns: int):
    place = Place(0, start)
    whole = [cells for cells, _ in islice(PLAN.stream(place), turns * world_size)]
    for rank in range(world_size):
        own = [cells for cells, _ in islice(PLAN.shared(place, rank, world_size), turns)]
        assert len(own) == turns
        assert all(map(np.array_equal, own, whole[rank::world_size]))


def test_parts_of_processes_are_disjoint_within_a_pass():
    n_batches = len(PLAN.epoch(0))
    parts = [
        np.concatenate([cells for cells, _ in islice(PLAN.shared(Place(), rank, 3), n_batches // 3)])
        for rank in range(3)
    ]
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)


@given(st.integers(0, 400))
def test_the_stream_goes_on_where_it_was_left_also_in_a_later_pass(n_read: int):
    _, place = next(islice(PLAN.stream(Place()), n_read, None))
    rest = [cells for cells, _ in islice(PLAN.stream(Place()), n_read + 1, n_read + 6)]
    assert all(map(np.array_equal, (cells for cells, _ in islice(PLAN.stream(place), 5)), rest))


def test_all_processes_go_on_from_one_place():
    places = [[place for _, place in islice(PLAN.shared(Place(), rank, 4), 30)] for rank in range(4)]
    assert places[0] == places[1] == places[2] == places[3]


def test_validation_batches_are_fixed_equal_in_number_and_disjoint():
    cells = np.arange(0, 997, 7)
    parts = [fixed_batches(LENGTHS, cells, 300, rank, 2) for rank in range(2)]
    assert len(parts[0]) == len(parts[1])
    seen = np.concatenate([batch for part in parts for batch in part])
    assert len(np.unique(seen)) == len(seen)
    assert set(seen.tolist()) <= set(cells.tolist())


def test_no_cells_are_refused():
    with pytest.raises(ValueError, match=r"Batches need cells to draw from; got none\. Hold out fewer"):
        BatchPlan(LENGTHS, np.arange(0), 300, seed=0)
