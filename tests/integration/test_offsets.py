"""Offsets and spreads: what is asked of a cluster is what its cells get."""

import numpy as np

from genemamba_sc.integration._offsets import Offsets, cluster_targets, fit_offsets, fit_spreads

CENTROIDS = np.array([[1.0, 0.0], [0.0, 1.0]])
SHARP = 1e-3


def test_cells_get_the_offset_of_their_cluster_and_batch():
    offsets = np.array([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [3.0, 4.0]]])
    cells = np.array([[5.0, 0.0], [5.0, 0.0], [0.0, 5.0], [0.0, 5.0]])
    moved = Offsets(CENTROIDS, offsets, SHARP)(cells, np.array([0, 1, 1, -1]))
    np.testing.assert_allclose(moved, [[5, 0], [6, 2], [3, 9], [0, 5]], atol=1e-9)
    assert cells.tolist() == [[5, 0], [5, 0], [0, 5], [0, 5]]


def test_an_offset_is_the_mean_of_what_is_asked_shrunk_by_one_cell():
    # Batch 0, cluster 0: three cells ask for (1, 0), (3, 0) and, without a partner, for nothing. Batch 1 asks nothing.
    cells = np.array([[5.0, 0.0], [6.0, 0.0], [7.0, 0.0], [8.0, 0.0], [0.0, 5.0]])
    targets = cells + np.array([[1.0, 0.0], [3.0, 0.0], [99.0, 99.0], [0.0, 0.0], [0.0, 0.0]])
    has, batches = np.array([True, True, False, True, True]), np.array([0, 0, 0, 1, 1])
    found = fit_offsets(cells, batches, targets, has, CENTROIDS, SHARP)
    np.testing.assert_allclose(found.offsets, [[[1, 0], [0, 0]], [[0, 0], [0, 0]]], atol=1e-9)


def test_there_are_ten_targets_to_a_cluster_and_two_clusters_at_least():
    targets = np.random.default_rng(0).normal(size=(60, 3))
    assert [len(cluster_targets(targets, n)) for n in (1, 4, 100)] == [2, 4, 6]
    assert len(cluster_targets(targets[:2], 100)) == 2


def two_widths(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """One cluster, which scatters twice as widely in batch 1."""
    batches = np.arange(n) % 2
    cells = np.random.default_rng(0).normal(size=(n, 3)) * (1.0 + batches)[:, None] + [50.0, 0.0, 0.0]
    return cells, batches


def spread_of(cells: np.ndarray) -> float:
    return float(np.sqrt(((cells - [50.0, 0.0, 0.0]) ** 2).mean()))


def test_batches_are_brought_to_the_geometric_mean_of_their_spreads():
    cells, batches = two_widths()
    scaled = fit_spreads(cells, batches, 2, 10.0)(cells, batches)
    np.testing.assert_allclose([spread_of(scaled[batches == b]) for b in (0, 1)], np.sqrt(2), rtol=0.05)


def test_a_batch_of_unknown_code_keeps_its_spread():
    cells, batches = two_widths()
    np.testing.assert_allclose(fit_spreads(cells, batches, 2, 10.0)(cells, np.full(len(cells), -1)), cells, atol=1e-9)


def test_a_further_batch_is_brought_to_the_same_spread():
    cells, batches = two_widths()
    spreads = fit_spreads(cells, batches, 2, 10.0)
    wide = 2.0 * (cells[batches == 0] - [50.0, 0.0, 0.0]) + [50.0, 0.0, 0.0]
    further = spreads.of_batch(wide)
    assert len(further.factors) == 1 and len(spreads.factors) == 2
    np.testing.assert_allclose(spread_of(further(wide, np.zeros(len(wide), dtype=int))), np.sqrt(2), rtol=0.05)


def test_a_further_batch_is_stretched_by_half_at_most():
    cells, batches = two_widths()
    very_wide = 20 * (cells[batches == 0] - [50.0, 0.0, 0.0]) + [50.0, 0.0, 0.0]
    factors = fit_spreads(cells, batches, 2, 10.0).of_batch(very_wide).factors
    np.testing.assert_allclose(factors, 1 / 1.5)


def test_a_batch_of_one_cell_has_about_the_factor_of_an_average_batch():
    cells, batches = two_widths()
    batches[0] = 2
    factors = fit_spreads(cells, batches, 2, 10.0).factors
    assert (factors[0] > 1.2).all() and (factors[1] < 0.9).all()
    assert (np.abs(np.log(factors[2])) < 0.3).all()
