"""Scores with a direction: one table of vectors for the genes that act, one for those that answer."""

import numpy as np

from genemamba_sc.tl.relations._directed_cosines import DirectedCosines

SCORES = DirectedCosines.of(
    np.array([[2.0, 0.0], [0.0, 3.0], [np.nan, 1.0]]), np.array([[0.0, 5.0], [1.0, 0.0], [3.0, 4.0]])
)
TABLE = np.array([[0.0, 1.0, 0.6], [1.0, 0.0, 0.8], [1.0, 0.0, 0.8]])


def test_rows_act_and_columns_answer():
    assert SCORES.directed and SCORES.bounded and SCORES.n_genes == 3
    np.testing.assert_allclose(SCORES.block(np.array([0, 1, 2])), TABLE, atol=1e-6)
    np.testing.assert_allclose(SCORES.block(np.array([1])), TABLE[[1]], atol=1e-6)
    np.testing.assert_allclose(SCORES.pairs(np.array([0, 1]), np.array([2, 2])), [0.6, 0.8], atol=1e-6)


def test_moments_are_those_of_the_gene_that_acts():
    moments = SCORES.moments()
    np.testing.assert_allclose(moments.mean, TABLE.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(moments.deviation, TABLE.std(axis=1), atol=1e-6)
