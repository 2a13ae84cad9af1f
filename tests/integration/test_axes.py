"""Axes: those along which partners agree and cells of a batch differ."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.integration._axes import shared_axes


@pytest.fixture
def gaussian() -> tuple[np.ndarray, np.ndarray, sparse.csr_array]:
    """Pairs of partners: column 0 tells two types apart, column 1 the batches, column 2 is noise of every cell."""
    rng = np.random.default_rng(0)
    n = 200
    types = np.arange(n) % 2
    cells = np.zeros((2 * n, 3))
    cells[:, 0] = np.tile(np.where(types, 3.0, -3.0), 2)
    cells[:, 1] = np.repeat([-2.0, 2.0], n)
    cells += rng.normal(size=cells.shape) * [0.5, 0.1, 1.0]
    links = np.zeros((2 * n, 2 * n))
    links[np.arange(n), n + np.arange(n)] = links[n + np.arange(n), np.arange(n)] = 1
    return cells, np.repeat([0, 1], n), sparse.csr_array(links)


def test_an_axis_of_types_counts_most_and_one_of_batches_not_at_all(
    gaussian: tuple[np.ndarray, np.ndarray, sparse.csr_array],
):
    axes = shared_axes(*gaussian, 3, 0.25)
    assert axes.shape == (3, 3)
    spans = np.abs(axes).sum(axis=1)
    assert np.abs(axes[:, 0]).argmax() == 0
    # The direction of the batches gets a ratio far below 1 and vanishes: its axis is zero.
    assert not axes[:, 2].any()
    assert spans[1] < 0.1 * spans[0]


def test_partners_differ_by_one_unit_along_every_axis(gaussian: tuple[np.ndarray, np.ndarray, sparse.csr_array]):
    cells, batches, links = gaussian
    along = cells @ shared_axes(cells, batches, links, 3, 0.0)
    difference = along[:200] - along[200:]
    np.testing.assert_allclose((difference**2).mean(axis=0) / 2, 1.0, atol=0.02)


def test_axes_are_those_of_the_dense_problem(gaussian: tuple[np.ndarray, np.ndarray, sparse.csr_array]):
    cells, batches, links = gaussian
    within = sum(np.cov(cells[batches == batch].T, bias=True) for batch in (0, 1)) / 2
    difference = cells[:200] - cells[200:]
    between = difference.T @ difference / 400
    between = between + np.eye(3) * 1e-3 * np.trace(between) / 3
    ratios = np.sort(np.linalg.eigvals(np.linalg.solve(between, within)).real)[::-1]
    axes = shared_axes(cells, batches, links, 2, 0.0)
    np.testing.assert_allclose(np.diag(axes.T @ within @ axes), ratios[:2], rtol=1e-6)
    np.testing.assert_allclose(axes.T @ between @ axes, np.eye(2), atol=1e-6)
    sharp = shared_axes(cells, batches, links, 2, 0.5)
    np.testing.assert_allclose(sharp, axes * np.maximum(1 - 1 / ratios[:2], 0) ** 0.5, atol=1e-9)


def test_cells_of_a_type_are_to_agree_as_partners_are(gaussian: tuple[np.ndarray, np.ndarray, sparse.csr_array]):
    cells, batches, links = gaussian
    labels = np.where(np.arange(400) < 40, np.arange(400) % 2, -1)
    labels[:10:2] = -1  # 15 cells of type 0 and 20 of type 1 have labels
    labels[50:59] = 2  # too few to tell how a type scatters
    difference = cells[:200] - cells[200:]
    partners = difference.T @ difference / 400
    types = sum(np.cov(cells[labels == kind].T) for kind in (0, 1)) / 2
    share = 0.5 * 33 / (33 + 10 * 3)
    noise = (1 - share) * partners + share * types
    noise = noise + np.eye(3) * 1e-3 * np.trace(noise) / 3
    axes = shared_axes(cells, batches, links, 2, 0.0, labels=labels)
    np.testing.assert_allclose(axes.T @ noise @ axes, np.eye(2), atol=1e-6)


def test_labels_that_tell_nothing_change_nothing(gaussian: tuple[np.ndarray, np.ndarray, sparse.csr_array]):
    without = shared_axes(*gaussian, 2, 0.25)
    for labels in (np.full(400, -1), np.where(np.arange(400) < 9, 0, -1)):
        assert np.array_equal(shared_axes(*gaussian, 2, 0.25, labels=labels), without)


def test_the_largest_entry_of_an_axis_is_positive(gaussian: tuple[np.ndarray, np.ndarray, sparse.csr_array]):
    cells, batches, links = gaussian
    for sign in (1.0, -1.0):
        axes = shared_axes(cells * sign, batches, links, 3, 0.0)
        assert (np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0) > 0).all()
    np.testing.assert_allclose(shared_axes(-cells, batches, links, 2, 0.2), shared_axes(cells, batches, links, 2, 0.2))


def test_all_batches_weigh_alike(gaussian: tuple[np.ndarray, np.ndarray, sparse.csr_array]):
    cells, batches, links = gaussian
    rows = np.concatenate([np.arange(400), np.arange(200, 400)])  # the second batch twice, its copies without partners
    wider = sparse.csr_array(sparse.block_diag([links, sparse.csr_array((200, 200))]))
    found = shared_axes(cells[rows], batches[rows], wider, 3, 0.2)
    np.testing.assert_allclose(found, shared_axes(cells, batches, links, 3, 0.2), atol=1e-9)
