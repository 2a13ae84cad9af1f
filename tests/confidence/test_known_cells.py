"""Where the known types lie: distances in units of what varies within types, and cells of no type far away."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.confidence import KnownCells, fit_known_cells


@pytest.fixture
def expression() -> tuple[sparse.csr_array, np.ndarray]:
    """60 cells of 2 types, 30 tokens of which 0 to 3 never occur; types differ in tokens 4 to 9."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    values = rng.poisson(1.0, (60, 30)).astype(np.float32)
    values[labels == 0, 4:7] += 6
    values[labels == 1, 7:10] += 6
    values[:, :4] = 0
    return sparse.csr_array(np.log1p(values)), labels


def test_the_distance_is_that_to_the_nearest_type_with_cells():
    weights, centres = np.eye(2, dtype=np.float32), np.array([[0, 0], [3, 4], [9, 9]], dtype=np.float32)
    known = KnownCells(np.array([1, 3]), weights, centres, np.array([5, 1, 0]))
    found = known.distance(np.array([[0, 1], [3, 3], [9, 9]], dtype=np.float32))
    assert found.tolist() == [1.0, 1.0, 61.0]
    assert known.table(5).tolist() == [[0, 0], [1, 0], [0, 0], [0, 1], [0, 0]]


def test_cells_vary_by_one_within_their_types(expression: tuple[sparse.csr_array, np.ndarray]):
    matrix, labels = expression
    known = fit_known_cells(matrix, labels, 2)
    cells = matrix @ known.table(30)
    within = cells - known.centres[labels]
    np.testing.assert_allclose(within.T @ within / 60, np.eye(cells.shape[1]), atol=0.05)
    for kind in range(2):
        np.testing.assert_allclose(known.centres[kind], cells[labels == kind].mean(axis=0), atol=1e-4)
    assert known.counts.tolist() == [30, 30]
    assert known.genes.min() == 4


def test_a_cell_of_another_kind_lies_farther_away_than_all_known_cells(
    expression: tuple[sparse.csr_array, np.ndarray],
):
    matrix, labels = expression
    known = fit_known_cells(matrix, labels, 2)
    strange = np.zeros((1, 30), dtype=np.float32)
    strange[0, 20:25] = np.log1p(9.0)
    far = known.distance(strange @ known.table(30))
    assert far > known.distance(matrix @ known.table(30)).max()


def test_a_type_of_one_cell_and_one_of_none_are_no_hindrance(expression: tuple[sparse.csr_array, np.ndarray]):
    matrix, labels = expression
    alone = np.where(np.arange(60) == 7, 2, labels)
    known = fit_known_cells(matrix, alone, 4)
    assert known.counts.tolist() == [30, 29, 1, 0]
    assert np.isfinite(known.centres).all()
    assert known.distance(matrix[[7]] @ known.table(30)) == pytest.approx(0.0, abs=1e-3)


def test_the_order_of_the_cells_does_not_matter(expression: tuple[sparse.csr_array, np.ndarray]):
    matrix, labels = expression
    order = np.random.default_rng(1).permutation(60)
    first, second = fit_known_cells(matrix, labels, 2), fit_known_cells(matrix[order], labels[order], 2)
    found = [known.distance(matrix @ known.table(30)) for known in (first, second)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


@pytest.mark.parametrize("n", [1, 2])
def test_cells_that_do_not_differ_have_finite_distances(n: int):
    matrix = sparse.csr_array(np.ones((n, 6), dtype=np.float32))
    known = fit_known_cells(matrix, np.zeros(n, dtype=int), 2)
    assert np.isfinite(known.distance(np.zeros((3, 6), dtype=np.float32) @ known.table(6))).all()
