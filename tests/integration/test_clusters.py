"""Clusters: the same ones whatever the order of the cells, and soft memberships."""

import numpy as np
import pytest

from genemamba_sc.integration._clusters import find_centroids, memberships


def sorted_rows(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.round(6).T)]


def test_the_order_of_the_cells_does_not_matter():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(300, 6))
    found, other = find_centroids(cells, 12), find_centroids(cells[rng.permutation(300)], 12)
    assert found.shape == (12, 6)
    np.testing.assert_allclose(sorted_rows(other), sorted_rows(found), atol=1e-9)


def test_two_clear_groups_are_found():
    rng = np.random.default_rng(0)
    groups = np.repeat([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]], [30, 10], axis=0)
    cells = 5 * (groups + 0.01 * rng.normal(size=(40, 3)))
    np.testing.assert_allclose(sorted_rows(find_centroids(cells, 2)), [[0, 0, -1], [1, 0, 0]], atol=0.02)


@pytest.mark.parametrize("cell", [[1.0, 2.0], [0.0, 0.0]], ids=["somewhere", "at the origin"])
def test_identical_cells_are_one_cluster(cell: list[float]):
    found = find_centroids(np.array([cell] * 20), 5)
    expected = np.array(cell) / max(np.linalg.norm(cell), 1.0)
    np.testing.assert_allclose(found, np.tile(expected, (len(found), 1)), atol=1e-12)


def test_there_are_no_more_clusters_than_different_cells():
    cells = np.repeat(np.eye(3), 10, axis=0)
    np.testing.assert_allclose(sorted_rows(find_centroids(cells, 8))[-3:], sorted_rows(np.eye(3)), atol=1e-12)
    assert len(find_centroids(np.eye(3)[:1], 8)) == 1


def test_memberships_are_a_softmax_of_cosines():
    cells, centroids = np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 1.0]])
    found = memberships(cells, centroids, 0.5)
    near = np.exp(4) / (np.exp(4) + 1)
    np.testing.assert_allclose(found, [[near, 1 - near], [0.5, 0.5]])


def test_memberships_sum_to_one_also_where_clusters_are_sharp():
    rng = np.random.default_rng(0)
    found = memberships(rng.normal(size=(50, 4)), rng.normal(size=(7, 4)), 1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
    assert found.max(axis=1).min() > 0.99
