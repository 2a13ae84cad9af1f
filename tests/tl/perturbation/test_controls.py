"""Genes expressed like a gene, and p-values among them, by hand."""

import numpy as np
import pytest

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.tl.perturbation._controls import Expression, permutation_p, share_above


def test_expression_is_counted_by_group():
    vocabulary = GeneVocabulary(("A", "B"), ("", ""), np.array([2.0, 1.0]), "unknown")
    ids = np.array([[2, 3], [3, 1], [2, 1]], np.int32)
    values = np.array([[2, 1], [4, 0], [3, 0]], np.float32)
    found = Expression.empty(2, vocabulary.size)
    found.add(Tokens(ids, values, np.array([2, 1, 1], np.int32)), np.array([1, 1, 0]), vocabulary)
    np.testing.assert_array_equal(found.n_cells, [1, 2])
    np.testing.assert_array_equal(found.counts[:, 2:4], [[1, 0], [1, 2]])
    # A value times the median of its gene gives counts per 10,000.
    np.testing.assert_allclose(found.levels[:, 2:4], np.log1p([[6, 0], [4, 1]]) + [[0, 0], [0, np.log1p(4)]], rtol=1e-6)


@pytest.fixture
def expression():
    """Genes 2 to 6 in one group: 2 and 3 alike, 4 and 5 alike, 6 unlike all; gene 7 is in no cell."""
    counts = np.array([[0, 0, 10, 11, 100, 110, 1, 0]], float)
    return Expression(counts, counts * [[0, 0, 1, 1, 2, 2, 0.1, 0]], np.array([200]))


def test_controls_are_the_genes_most_alike_nearest_first(expression):
    assert expression.matched(np.array([2]), 1).tolist() == [[[3]]]
    assert expression.matched(np.array([5]), 3).tolist() == [[[4, 3, 2]]]


def test_genes_of_the_list_are_no_controls_of_each_other_where_there_are_others(expression):
    found = expression.matched(np.array([2, 3]), 2)
    assert set(found.ravel()) <= {4, 5, 6}
    # With too few others, the list itself serves, but never the gene for itself.
    found = expression.matched(np.array([2, 3, 4, 5]), 2)
    assert found[0, 0, 0] == 3
    assert all(gene not in found[i] for i, gene in enumerate([2, 3, 4, 5]))


def test_control_sets_are_as_long_as_the_set_and_take_no_gene_twice():
    # Genes 2, 3 and 4 are alike, and 5 to 9 are ever less like them.
    counts = np.array([[0, 0, 50, 50, 50, 52, 54, 56, 58, 60, 0]], float)
    found = Expression(counts, counts, np.array([100])).matched_sets(np.array([2, 3, 4]), 4)
    # The fourth would need three genes from the eighth on.
    assert found.tolist() == [[5, 6, 7], [6, 7, 8], [7, 8, 9]]


def test_there_are_no_control_sets_where_too_few_genes_are_left(expression):
    assert expression.matched_sets(np.array([2, 3, 4]), 2).shape == (0, 3)
    assert expression.matched_sets(np.array([2, 7]), 2).shape == (0, 2)
    assert expression.matched_sets(np.array([], dtype=int), 2).shape == (0, 0)


def test_a_gene_that_no_cell_has_gets_no_controls(expression):
    assert expression.matched(np.array([7]), 2).tolist() == [[[-1, -1]]]


def test_missing_controls_are_marked(expression):
    assert expression.matched(np.array([2]), 6).tolist()[0][0].count(-1) == 2


def test_p_is_the_share_of_genes_with_at_least_this_effect():
    controls = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, np.nan], [np.nan] * 3, [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(permutation_p(np.array([2.5, 2.5, 2.5, 1.0]), controls), [2 / 4, 1 / 2, np.nan, 1.0])
    assert np.isnan(permutation_p(np.array([np.nan]), np.ones((1, 3))))[0]


def test_controls_that_lie_above_count_and_equal_ones_half():
    controls = np.array([[1.0, 2.0, 3.0, np.nan], [np.nan] * 4])
    np.testing.assert_allclose(share_above(np.array([2.0, 2.0]), controls), [1.5 / 3, np.nan])


def test_effects_that_differ_by_rounding_are_equal():
    own, controls = np.array([1e-3, -1e-3]), np.array([[1e-3 * (1 - 1e-7), 5e-4], [-1e-3 * (1 - 1e-7), 5e-4]])
    np.testing.assert_allclose(permutation_p(own[:1], controls[:1]), [2 / 3])
    np.testing.assert_allclose(share_above(own, controls), [0.25, 0.75])


def test_controls_do_not_depend_on_the_order_of_the_cells():
    # Each gene has the same levels, in cells of its own: all are equally near, but for the last digits of their sums.
    rng, n_cells, n_genes = np.random.default_rng(0), 300, 60
    vocabulary = GeneVocabulary(tuple(f"G{i}" for i in range(n_genes)), ("",) * n_genes, np.ones(n_genes), "unknown")
    table, levels = np.zeros((n_cells, n_genes), np.float32), rng.gamma(2, 1, 20).astype(np.float32)
    for gene in range(n_genes):
        table[rng.choice(n_cells, 20, replace=False), gene] = rng.permutation(levels)

    def controls(order: np.ndarray) -> np.ndarray:
        found = Expression.empty(1, vocabulary.size)
        for cell in order:
            genes = np.flatnonzero(table[cell])
            if len(genes):
                tokens = Tokens(
                    (genes + 2)[None].astype(np.int32), table[[cell]][:, genes], np.array([len(genes)], np.int32)
                )
                found.add(tokens, np.zeros(1, np.int64), vocabulary)
        return found.matched(np.arange(2, 12), 5)

    np.testing.assert_array_equal(controls(np.arange(n_cells)), controls(rng.permutation(n_cells)))
