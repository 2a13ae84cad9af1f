"""The null: scores of matched pairs become standard normal, related pairs do not widen it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from genemamba_sc.tl.relations._matched_null import matched_null
from genemamba_sc.tl.relations._relatedness import Cosines
from genemamba_sc.tl.relations._relations import Relations


class Table:
    """Scores that are given."""

    bounded = directed = False

    def __init__(self, table):
        self.table = (table + table.T) / np.sqrt(2)

    n_genes = property(lambda self: len(self.table))

    def block(self, rows):
        return self.table[rows].astype(np.float32)

    def pairs(self, first, second):
        return self.table[first, second].astype(np.float32)

    def moments(self):
        raise AssertionError


def relations(table, mean, detected=None) -> Relations:
    n = len(table)
    names = tuple(f"G{i}" for i in range(n))
    detected = np.full(n, 0.5) if detected is None else detected
    return Relations(np.arange(n), names, names, Table(table), "given", mean, detected, 100)


pytestmark = pytest.mark.usefixtures("unchecked")


def test_strata_of_different_level_and_spread_become_standard_normal():
    rng = np.random.default_rng(0)
    mean = np.arange(400.0)
    high = mean >= 200
    table = rng.normal(size=(400, 400)) * (1 + 4 * np.outer(high, high)) + 3 * np.outer(high, high)
    given = relations(table, mean)

    null = matched_null(given)
    z = null.standardise(given.scores.table.astype(np.float32), np.arange(400), np.arange(400))

    off = ~np.eye(400, dtype=bool)
    for part in (np.outer(high, high), np.outer(high, ~high), np.outer(~high, ~high)):
        assert abs(z[part & off].mean()) < 0.06
        assert abs(z[part & off].std() - 1) < 0.06


def test_related_pairs_stand_out_and_do_not_widen_the_null():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(200, 200))
    table[:20, :20] += 100
    given = relations(table, rng.random(200))

    z = matched_null(given).standardise(given.scores.table[:20, :20].astype(np.float32), np.arange(20), np.arange(20))

    assert z[~np.eye(20, dtype=bool)].min() > 50


def test_genes_of_one_mean_are_matched_for_dropout_too():
    rng = np.random.default_rng(0)
    detected = rng.random(150)
    often = detected > np.median(detected)
    table = rng.normal(size=(150, 150)) + 10 * np.outer(often, often)
    given = relations(table, np.ones(150), detected)

    null = matched_null(given)

    assert len(np.unique(null.stratum)) == 2
    assert (null.stratum == null.stratum[often.argmax()]).sum() == 75
    z = null.standardise(given.scores.table.astype(np.float32), np.arange(150), np.arange(150))
    assert (z[~np.eye(150, dtype=bool)] > 5).sum() == 0


def test_scores_that_are_all_equal_stand_out_nowhere():
    given = relations(np.ones((20, 20)), np.arange(20.0))
    z = matched_null(given).standardise(given.scores.table.astype(np.float32), np.arange(20), np.arange(20))
    assert not z.any()


@pytest.mark.parametrize("n_dimensions", [3, 8, 60])
def test_cosines_of_random_vectors_have_uniform_p_values_in_few_dimensions_too(n_dimensions):
    vectors = np.random.default_rng(0).normal(size=(600, n_dimensions))
    given = replace(relations(np.zeros((600, 600)), np.arange(600.0)), scores=Cosines.of(vectors))

    z = matched_null(given).standardise(given.scores.block(np.arange(600)), np.arange(600), np.arange(600))

    p = norm.sf(z[np.triu_indices(600, 1)])
    for level in (0.05, 1e-2, 1e-3):
        assert 0.8 < (p < level).mean() / level < 1.25


@pytest.mark.parametrize("least", [-1.0, 0.0, 0.5, 1.0, 1.6448536, 3.0])
@pytest.mark.parametrize("bounded", [True, False])
def test_what_is_below_the_least_is_left_out_and_nothing_else(least, bounded):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 6)) + 0.7 * (np.arange(300) > 150)[:, None]  # cosines of two halves differ
    given = relations(rng.normal(size=(300, 300)), np.arange(300.0))
    given = replace(given, scores=Cosines.of(vectors)) if bounded else given
    null, genes = matched_null(given), np.arange(300)
    null.spread[0, 1] = null.spread[1, 0] = 0.0  # as if matched scores were all equal
    scores = given.scores.block(genes)

    whole = null.standardise(scores, genes, genes)

    assert np.isfinite(whole).all()
    expected = np.where(whole >= np.float32(least), whole, -np.inf)
    assert np.array_equal(null.standardise(scores, genes, genes, least), expected)


def test_too_few_genes_are_refused():
    with pytest.raises(ValueError, match="at least 30 other pairs. 8 expressed genes have 28"):
        matched_null(relations(np.zeros((8, 8)), np.arange(8.0)))
