"""Votes: the most frequent type of a cluster, and the first of equally frequent ones."""

import numpy as np
import pytest

from genemamba_sc.confidence import most_frequent, over_clustering_resolution


def test_every_cell_of_a_cluster_gets_its_most_frequent_type():
    types, clusters = np.array([0, 2, 2, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 0, 3])
    # Cluster 0 has 0, 2, 2, 1; nobody is in cluster 2.
    assert most_frequent(types, clusters).tolist() == [2, 2, 2, 1, 1, 2, 0]


def test_of_equally_frequent_types_the_first_one_wins_whatever_the_order_of_the_cells():
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        types = np.array([2, 1, 1, 2])[order]
        assert most_frequent(types, np.zeros(4, dtype=int)).tolist() == [1, 1, 1, 1]


def test_nobody_votes_without_cells():
    assert most_frequent(np.zeros(0, dtype=int), np.zeros(0, dtype=int)).tolist() == []


@pytest.mark.parametrize(
    ("n_cells", "resolution"), [(4_999, 5), (5_000, 10), (39_999, 15), (99_999, 20), (199_999, 25), (200_000, 30)]
)
def test_more_cells_are_cut_finer(n_cells: int, resolution: float):
    assert over_clustering_resolution(n_cells) == resolution
