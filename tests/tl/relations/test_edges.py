"""Edges in blocks: rates as over all pairs at once, each pair once, the strongest of each gene."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

from genemamba_sc.tl.relations import _edges
from genemamba_sc.tl.relations._edges import significant_edges
from genemamba_sc.tl.relations._matched_null import MatchedNull

N = 60


class Table:
    """Scores that are given."""

    n_genes = N
    bounded = directed = False

    def __init__(self, table):
        self.table = table.astype(np.float32)

    def block(self, rows):
        return self.table[rows]

    def pairs(self, first, second):
        return self.table[first, second]

    def moments(self):
        raise AssertionError


@pytest.fixture
def table() -> np.ndarray:
    found = np.random.default_rng(0).normal(size=(N, N))
    found = np.triu(found, 1)
    found[:6, :6] += np.triu(np.full((6, 6), 8.0), 1)
    return (found + found.T).astype(np.float32)


NULL = MatchedNull(np.zeros(N, dtype=np.int64), np.zeros((1, 1)), np.ones((1, 1)), None)
ALL = np.arange(N)
pytestmark = pytest.mark.usefixtures("unchecked")


def at_once(table, rows, columns, max_fdr):
    """All pairs, their p-values and rates, by scipy in one call."""
    pairs = sorted({(min(i, j), max(i, j)) for i in rows for j in columns if i != j})
    p = norm.sf([table[pair] for pair in pairs])
    q = false_discovery_control(p)
    return {pair: (p[k], q[k]) for k, pair in enumerate(pairs) if q[k] <= max_fdr}, len(pairs)


@pytest.mark.parametrize("block", [7, 512])
@pytest.mark.parametrize("max_fdr", [0.01, 0.05, 0.6])
def test_rates_are_those_of_all_pairs_at_once(table, monkeypatch, block, max_fdr):
    monkeypatch.setattr(_edges, "_BLOCK_GENES", block)
    expected, n_tested = at_once(table, ALL, ALL, max_fdr)

    found = significant_edges(Table(table), NULL, ALL, ALL, max_fdr, N)

    assert found.n_tested == n_tested == N * (N - 1) // 2
    assert list(zip(found.first, found.second)) == sorted(expected, key=lambda pair: (expected[pair][0], pair))
    np.testing.assert_allclose(np.stack([found.p, found.q], 1), list(map(expected.get, zip(found.first, found.second))))
    assert {(i, j) for i in range(6) for j in range(i + 1, 6)} <= expected.keys()


def test_rows_and_columns_that_overlap_are_tested_once_each_pair(table):
    rows, columns = np.array([0, 1, 2, 40]), np.array([1, 2, 3, 4])
    expected, n_tested = at_once(table, rows, columns, 0.05)

    found = significant_edges(Table(table), NULL, rows, columns, 0.05, N)

    assert found.n_tested == n_tested == 13
    pairs = {(min(pair), max(pair)) for pair in zip(found.first.tolist(), found.second.tolist())}
    assert pairs == expected.keys()
    assert len(found.first) == len(pairs)
    assert set(found.first) <= set(rows.tolist())


def test_an_edge_stays_where_it_is_the_strongest_of_one_of_its_genes(table):
    found = significant_edges(Table(table), NULL, ALL, ALL, 0.05, 1)

    best = {(min(i, j), max(i, j)) for i, j in enumerate((table - 99 * np.eye(N)).argmax(axis=1).tolist())}
    significant, _ = at_once(table, ALL, ALL, 0.05)
    assert set(zip(found.first.tolist(), found.second.tolist())) == best & significant.keys()
    # The rates are over all pairs, not over those that are kept.
    np.testing.assert_allclose(found.q, [significant[pair][1] for pair in zip(found.first, found.second)])


def test_noise_has_no_edges():
    noise = np.random.default_rng(1).normal(size=(N, N))
    found = significant_edges(Table((noise + noise.T) / np.sqrt(2)), NULL, ALL, ALL, 0.01, N)
    assert len(found.first) == 0


@pytest.mark.parametrize("block", [3, 512])
@pytest.mark.parametrize("n_neighbors", [1, 2, N])
def test_edges_lead_from_rows_to_columns_and_are_the_strongest_of_either_gene(table, monkeypatch, block, n_neighbors):
    monkeypatch.setattr(_edges, "_BLOCK_GENES", block)
    rows, columns = np.arange(4, 20), np.concatenate([np.arange(6), np.arange(10, 50)])
    significant, n_tested = at_once(table, rows, columns, 0.6)
    expected = set()
    for gene in ALL:
        own = sorted((pair for pair in at_once(table, rows, columns, 1.0)[0] if gene in pair), key=lambda p: -table[p])
        expected |= set(own[:n_neighbors])

    found = significant_edges(Table(table), NULL, rows, columns, 0.6, n_neighbors)

    pairs = [(min(pair), max(pair)) for pair in zip(found.first.tolist(), found.second.tolist())]
    assert set(pairs) == expected & significant.keys() and len(set(pairs)) == len(pairs)
    assert set(found.first) <= set(rows.tolist()) and set(found.second) <= set(columns.tolist())
    assert (found.n_tested, found.n_significant) == (n_tested, len(significant))


def test_a_hub_that_is_asked_alone_keeps_all_its_edges_and_directed_scores_only_so_many(table):
    table[3] = table[:, 3] = 8.0 + np.arange(N) / N
    found = significant_edges(Table(table), NULL, np.array([3]), ALL, 0.05, 2)
    assert sorted(found.second) == [gene for gene in ALL if gene != 3]

    directed = Table(table)
    directed.directed = True
    found = significant_edges(directed, NULL, np.array([3]), ALL, 0.05, 2)
    assert found.second.tolist() == [59, 58] and found.n_significant == N - 1
