"""What the baselines read, on cells small enough to count by hand."""

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from genemamba_sc.benchmark import Options, method_of
from genemamba_sc.benchmark.methods import _features as features


def cells(counts) -> ad.AnnData:
    return ad.AnnData(sp.csr_matrix(np.array(counts, dtype=np.float32)))


def test_log_cp10k_scales_each_cell_and_leaves_the_counts():
    adata = cells([[1, 3, 0], [0, 0, 5]])
    expected = np.log1p([[2500, 7500, 0], [0, 0, 10000]])
    np.testing.assert_allclose(features.log_cp10k(adata).toarray(), expected, rtol=1e-6)
    assert adata.X.toarray().tolist() == [[1, 3, 0], [0, 0, 5]]


def test_medians_are_of_non_zero_values_and_one_where_there_are_none():
    x = sp.csr_matrix(np.array([[1.0, 0, 0], [3.0, 4.0, 0], [0, 0, 0]]))
    assert features.nonzero_medians(x).tolist() == [2.0, 4.0, 1.0]


def test_fractional_ranks_fall_from_one_with_ties_by_column_and_a_cut():
    x = sp.csr_matrix(np.array([[4.0, 2.0, 0, 8.0], [0, 0, 0, 5.0]]))
    ranks = features.fractional_ranks(x, medians=np.array([2.0, 1.0, 1.0, 8.0]), most=2)
    # Values by median: 2, 2, -, 1; the last is cut.
    assert ranks.toarray().tolist() == [[1.0, 0.5, 0, 0], [0, 0, 0, 1.0]]


def test_scaling_is_fitted_on_the_training_cells_alone():
    train, test = cells([[1, 1], [1, 3]]), cells([[1, 0]])
    fitted, seen = features.scaled_variable_genes(train, test)
    np.testing.assert_allclose(fitted, [[1, -1], [-1, 1]], atol=1e-5)
    assert seen[0].tolist() == [pytest.approx(3.0, abs=0.01), -10.0]  # far outside: clipped


@pytest.mark.parametrize("method", ["l1", "lr_l2", "lr_hvg", "knn", "rank512"])
def test_every_baseline_separates_two_plain_types_and_repeats_itself(method):
    rng = np.random.default_rng(0)
    counts = rng.poisson([[9, 9, 1, 1, 3]] * 60 + [[1, 1, 9, 9, 3]] * 60)
    train, test = cells(counts[::2]), cells(counts[1::2])
    train.obs["cell_type"] = ["B"] * 30 + ["T"] * 30
    one, two = (method_of("annotation", method).load()(train, test, 0, Options()) for _ in range(2))
    assert one.predicted.tolist() == two.predicted.tolist() == ["B"] * 30 + ["T"] * 30
    assert (one.params, one.settings) == (two.params, two.settings)
