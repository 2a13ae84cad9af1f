"""Mutual neighbours: which cells of different batches are linked, and where a cell's partners say it should be."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.integration._neighbours import ANY_DISTANCE, Closeness, mutual_neighbours, partner_means, unit_rows

BY_DEFAULT = Closeness()


@pytest.fixture
def crowded() -> tuple[np.ndarray, np.ndarray]:
    """60 cells in three batches, in no order."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 4)), rng.integers(0, 3, 60)


def degrees(*angles: float) -> np.ndarray:
    """Points on the unit circle: neighbours go by the cosine."""
    return np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)


def links_of(cells: np.ndarray, batches: list[int], k: int, labels: list[int] | None = None) -> set[tuple[int, int]]:
    """Links of cells of one type, where batches may be small, or of those of ``labels``."""
    found = mutual_neighbours(cells, np.array(batches), k, np.array(labels or [0] * len(cells)))
    assert set(found.data.tolist()) <= {1.0}
    pairs = found.tocoo()
    return set(zip(pairs.coords[0].tolist(), pairs.coords[1].tolist()))


def both_ways(*pairs: tuple[int, int]) -> set[tuple[int, int]]:
    return {*pairs, *((j, i) for i, j in pairs)}


def test_only_neighbours_of_each_other_are_linked():
    # Six cells of each batch crowd at 0 degrees; one of batch 0 lies far off, finds five others, and none finds it.
    cells = degrees(0, 1, 2, 3, 4, 5, 90, 0.4, 1.4, 2.4, 3.4, 4.4, 5.4)
    # Of six, a cell finds all but the farthest.
    missed = {*((5, j) for j in (0, 1, 2)), *((0, j) for j in (3, 4, 5))}
    missed |= {*((i, 5) for i in (0, 1, 2)), *((i, 0) for i in (3, 4, 5))}
    expected = both_ways(*((i, 7 + j) for i in range(6) for j in range(6) if (i, j) not in missed))
    assert links_of(cells, [0] * 7 + [1] * 6, 5) == expected


def test_the_length_of_a_cell_does_not_count():
    cells = degrees(*range(0, 90, 10), *range(5, 95, 10))
    batches = [0] * 9 + [1] * 9
    scale = np.random.default_rng(0).uniform(0.1, 50, (18, 1))
    assert links_of(cells * scale, batches, 5) == links_of(cells, batches, 5) != set()


def test_links_are_symmetric_and_join_different_batches_only(crowded: tuple[np.ndarray, np.ndarray]):
    cells, batches = crowded
    found = mutual_neighbours(cells, batches, 5)
    assert found.nnz and (found != found.T).nnz == 0
    rows, columns = found.tocoo().coords
    assert not (batches[rows] == batches[columns]).any()


def test_links_are_those_of_a_search_by_hand(crowded: tuple[np.ndarray, np.ndarray]):
    cells, batches = crowded
    unit = cells / np.linalg.norm(cells, axis=1, keepdims=True)
    finds = np.zeros((60, 60), dtype=bool)
    for i in range(60):
        for batch in {0, 1, 2} - {int(batches[i])}:
            members = np.flatnonzero(batches == batch)
            finds[i, members[np.argsort(-(unit[members] @ unit[i]))[:6]]] = True
    found = mutual_neighbours(cells, batches, 6, np.zeros(60, dtype=int))
    assert np.array_equal(found.toarray(), (finds & finds.T).astype(float))


@pytest.mark.parametrize(("n", "k"), [(10, 1), (11, 2), (100, 10), (101, 11), (300, 12)])
def test_neighbours_are_a_tenth_of_a_batch_at_most(n: int, k: int):
    # The only cell of the first batch is found by all of the second, and finds as many of them as it may.
    rng = np.random.default_rng(0)
    cells = np.vstack([[1.0, 0.0], rng.normal(size=(n, 2))])
    found = mutual_neighbours(cells, np.array([0] + [1] * n), 12, closeness=ANY_DISTANCE)
    assert found[[0]].sum() == k


def test_a_batch_of_one_cell_is_linked_to_those_that_it_finds():
    cells = degrees(0, 10, 20, 30, 40, 50, 60, 0)
    # Everyone finds the only cell of batch 1; it finds five.
    assert links_of(cells, [0] * 7 + [1], 5) == both_ways(*((i, 7) for i in range(5)))


def test_more_neighbours_than_a_batch_has_are_all_of_it():
    cells = degrees(0, 40, 80, 10, 50)
    assert links_of(cells, [0, 0, 0, 1, 1], 20) == both_ways(*((i, j) for i in range(3) for j in (3, 4)))


def close_links(
    cells: np.ndarray, batches: list[int], k: int, closeness: Closeness = BY_DEFAULT
) -> set[tuple[int, int]]:
    """Links that are close, where all of a batch may be neighbours."""
    pairs = mutual_neighbours(cells, np.array(batches), k, most_of_batch=1.0, closeness=closeness).tocoo()
    return set(zip(pairs.coords[0].tolist(), pairs.coords[1].tolist()))


def test_a_neighbour_much_farther_than_the_nearest_is_none():
    # Batch 0 has a rare cell at 0 degrees and four others, batch 1 likewise; among five neighbours is everyone.
    cells = degrees(0, 30, 31, 32, 33, 5, 30.2, 31.2, 32.2, 33.2)
    far = both_ways(*((0, j) for j in range(6, 10)), *((i, 5) for i in range(1, 5)))
    linked = close_links(cells, [0] * 5 + [1] * 5, 5, Closeness(to_usual=0.0, to_nearest=1.2))
    assert (0, 5) in linked and not linked & far
    assert close_links(cells, [0] * 5 + [1] * 5, 5) >= far


@pytest.mark.parametrize(("apart", "is_linked"), [(5.9, True), (6.1, False)])
def test_a_partner_lies_at_most_twice_as_far_as_the_cells_of_the_own_batch(apart: float, is_linked: bool):
    # Cells of a batch are one degree apart: that at the end has its three neighbours up to three degrees off.
    cells = degrees(*range(0, 6), *(5 + apart + i for i in range(6)))
    assert bool(close_links(cells, [0] * 6 + [1] * 6, 3)) == is_linked


def test_a_cell_that_lies_by_itself_is_no_partner_of_a_close_group():
    # Twenty cells of each batch lie half a degree from each other. Three of batch 0 lie near 40 degrees, as close to
    # each other as the rest; batch 1 has one cell at 50, by itself, which is the nearest that they find there.
    groups = [*range(20), 40, 41, 42], [*(i + 0.5 for i in range(20)), 50]
    cells, batches = degrees(*groups[0], *groups[1]), [0] * 23 + [1] * 21
    alone = both_ways(*((i, 43) for i in (20, 21, 22)))

    linked = close_links(cells, batches, 2)
    strictly = close_links(cells, batches, 2, Closeness(to_usual=2.0))

    assert linked & alone
    assert linked - strictly == linked & alone


def test_links_that_are_longer_than_usual_stay_where_no_cell_is_nearer():
    # Twenty cells of each batch lie a degree from each other. Four more of each lie far apart beside the three degrees
    # of their own group; three neighbours are looked at.
    groups = [*range(20), 40, 41, 42, 43], [*(i + 0.5 for i in range(20)), 53, 54, 56, 57]
    cells, batches = degrees(*groups[0], *groups[1]), [0] * 24 + [1] * 24
    # Those at 41, 42 and 43 find those at 53, 54 and 56, and are found by them.
    between = both_ways(*((i, j) for i in (21, 22, 23) for j in (44, 45, 46)))

    usual = close_links(cells, batches, 3, Closeness(to_own=np.inf, to_usual=2.0))
    shortest = close_links(cells, batches, 3, Closeness(to_own=np.inf, to_usual=2.0, to_nearest=1.15))
    either = close_links(cells, batches, 3, Closeness(to_own=np.inf, to_usual=2.0, to_nearest=1.4))

    assert usual and not usual & between
    assert either == usual | between
    # 43 has 53 at 10 and 54 at 11 degrees, 42 has them at 11 and 12; 41, at 12 and 13, is not near enough for these.
    assert shortest == usual | both_ways((23, 44), (23, 45), (22, 44), (22, 45))


def test_the_shortest_links_are_close_beside_the_own_batch_too():
    # A batch of six cells, a degree apart, and one of six that lie 40 degrees off.
    cells, batches = degrees(*range(6), *range(45, 51)), [0] * 6 + [1] * 6
    assert not close_links(cells, batches, 3, Closeness(to_own=2.0, to_usual=0.0, to_nearest=1.5))
    assert close_links(cells, batches, 3, Closeness(to_own=np.inf, to_usual=0.0, to_nearest=1.5))


def test_a_batch_that_lies_far_off_is_asked_for_what_is_usual_among_its_own_links():
    # Batches 0 and 1 lie half a degree apart and batch 2 twelve: beside the others all of its links are long.
    near, far = [*range(20), *(i + 0.5 for i in range(20))], [i + 30.0 for i in range(4)]
    cells, batches = degrees(*near, *far), [0] * 20 + [1] * 20 + [2] * 4
    strict = close_links(cells, batches, 3, Closeness(to_own=np.inf, to_usual=1.5))
    of_far = {(i, j) for i, j in strict if 40 <= i < 44}
    assert of_far == {(i, j) for i, j in close_links(cells, batches, 3, ANY_DISTANCE) if 40 <= i < 44} != set()


def test_a_rule_that_no_link_meets_is_refused():
    with pytest.raises(ValueError, match=r"to_nearest must be at least 1\. Got 0\.0"):
        Closeness(to_usual=0.0)


@pytest.mark.parametrize("closeness", [Closeness(), Closeness(to_usual=2.0), Closeness(to_usual=0.0, to_nearest=1.3)])
def test_the_same_cells_in_two_batches_are_partners_however_close_these_must_be(closeness: Closeness):
    cells = degrees(0, 20, 40, 60)
    linked = close_links(np.vstack([cells, cells]), [0] * 4 + [1] * 4, 1, closeness)
    assert linked == both_ways(*((i, i + 4) for i in range(4)))


def test_one_batch_has_no_links():
    assert links_of(degrees(0, 10, 20), [0, 0, 0], 5) == set()


def test_no_link_joins_two_labels_and_a_cell_without_one_may_link_to_any(crowded: tuple[np.ndarray, np.ndarray]):
    cells, batches = crowded
    labels = np.arange(60) % 3 - 1
    found, free = mutual_neighbours(cells, batches, 20, labels).toarray(), mutual_neighbours(cells, batches, 20)
    rows, columns = np.nonzero(found)
    pairs = set(zip(labels[rows].tolist(), labels[columns].tolist()))
    assert pairs == {(-1, -1), (-1, 0), (-1, 1), (0, -1), (1, -1), (0, 0), (1, 1)}
    unknown = (labels[:, None] < 0) | (labels[None] < 0)
    assert np.array_equal(found[unknown], free.toarray()[unknown])


def test_labels_that_no_cell_has_are_as_none_given(crowded: tuple[np.ndarray, np.ndarray]):
    cells, batches = crowded
    unlabelled = mutual_neighbours(cells, batches, 5, np.full(60, -1))
    assert np.array_equal(unlabelled.toarray(), mutual_neighbours(cells, batches, 5).toarray())


def test_a_label_looks_among_its_own_however_far_they_are():
    # Type 1 of batch 1 lies among type 0 of batch 0: by position alone its own type is never found.
    cells = degrees(*range(8), 80, *range(8), 4.5)
    batches, labels = [0] * 9 + [1] * 9, [0] * 8 + [1] + [0] * 8 + [1]
    assert (8, 17) not in links_of(cells, batches, 5)
    assert (8, 17) in links_of(cells, batches, 5, labels)


def test_an_average_counts_every_batch_with_a_partner_once():
    cells = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [0.0, 9.0], [7.0, 7.0]])
    batches = np.array([0, 1, 1, 2, 0])
    links = np.zeros((5, 5))
    links[0, [1, 2, 3]] = 1
    means, has = partner_means(cells, batches, sparse.csr_array(np.maximum(links, links.T)))
    # Cell 0: itself, (3, 0) of batch 1 and (0, 9) of batch 2. Cell 4 has no partner and stays.
    np.testing.assert_allclose(means, [[1, 3], [1, 0], [2, 0], [0, 4.5], [7, 7]])
    assert has.tolist() == [True, True, True, True, False]
    assert cells.tolist() == [[0, 0], [2, 0], [4, 0], [0, 9], [7, 7]]


def test_rows_get_length_one_and_zeros_stay():
    assert unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]
