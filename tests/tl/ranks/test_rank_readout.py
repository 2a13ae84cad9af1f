"""What reference cells say about the rank of a gene: means, neighbours and read-outs by hand."""

import numpy as np
import pytest

from genemamba_sc.data import Tokens
from genemamba_sc.tl.ranks._rank_readout import _RIDGE, Axes, RankReference, fit_readout

PAD = 1


@pytest.fixture
def two_cells() -> RankReference:
    """Genes 3 4 5 in this order, and genes 4 3."""
    ids = np.array([[3, 4, 5], [4, 3, PAD]], dtype=np.int32)
    return RankReference.of(Tokens(ids, np.ones((2, 3), np.float32), np.array([3, 2], np.int32)), 7)


def test_the_mean_rank_is_over_the_cells_that_have_the_gene_and_one_of_rank_a_half(two_cells):
    np.testing.assert_allclose(two_cells.mean, [0.5, 0.5, 0.5, 1.5 / 3, 2 / 3, 0.25, 0.5])
    np.testing.assert_array_equal(two_cells.counts, [0, 0, 0, 2, 2, 1, 0])


def test_the_last_gene_of_a_cell_counts_although_its_rank_is_zero(two_cells):
    np.testing.assert_array_equal(two_cells.has.toarray()[:, 3:6], [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(two_cells.ranks.tocsc().indptr, [0, 0, 0, 0, 2, 4, 5, 5])


def test_neighbours_that_have_the_gene_are_averaged_with_five_mean_ranks(two_cells):
    genes = np.array([3, 5, 6])
    np.testing.assert_allclose(two_cells.imputed(np.array([0]), genes), [(1 + 2.5) / 6, (0 + 1.25) / 6, 0.5])
    np.testing.assert_allclose(two_cells.imputed(np.array([0, 1]), genes), [(1 + 2.5) / 7, (0 + 1.25) / 6, 0.5])


def test_a_readout_is_the_ridge_regression_of_the_departure_from_the_mean():
    # Gene 2 is in all cells, first or last; gene 5 in four only, too few for a fit.
    first = np.array([[2, 3, 4], [3, 4, 2]], dtype=np.int32)
    ids = np.concatenate([first[[0] * 6 + [1] * 6], np.array([[5, 3, 2]] * 4, dtype=np.int32)])
    reference = RankReference.of(Tokens(ids, np.ones(ids.shape, np.float32), np.full(16, 3, np.int32)), 6)
    places = np.random.default_rng(0).normal(size=(16, 2))

    fit = fit_readout(places, reference, np.array([2, 5]))

    departs = np.array([1.0] * 6 + [0.0] * 10) - reference.mean[2]
    rows = np.vstack([np.column_stack([places, np.ones(16)]), np.diag(np.sqrt([_RIDGE, _RIDGE, 1.0]))])
    expected = np.linalg.lstsq(rows, np.concatenate([departs, np.zeros(3)]), rcond=None)[0]
    np.testing.assert_allclose(fit[2], expected)
    assert not fit[[0, 1, 3, 4, 5]].any()


def test_axes_have_unit_variance_and_tell_neighbours_by_direction():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4)) * [5, 3, 1, 1]
    n_genes = rng.integers(10, 20, 30)
    axes = Axes.of(features, n_genes, seed=0)
    placed = axes(features, n_genes)
    np.testing.assert_allclose(placed.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(placed.std(axis=0), 1)
    assert axes.nearest(placed[:2], placed[[0, 0, 1]]).shape == (2, 3)


def test_a_feature_that_does_not_vary_says_nothing():
    n_genes = np.full(12, 7)
    axes = Axes.of(np.random.default_rng(0).normal(size=(12, 3)), n_genes, seed=0)
    assert not axes(np.ones((2, 3)), np.array([7, 9]))[:, -1].any()
