"""Test all pairs of genes block by block, and keep the edges that stand out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.stats import false_discovery_control, norm

from genemamba_sc.tl.relations._matched_null import MatchedNull
from genemamba_sc.tl.relations._relatedness import Relatedness
from genemamba_sc.tl.relations._strongest_rows import StrongestRows

_BLOCK_GENES = 512


@dataclass(frozen=True, eq=False)
class Edges:
    """Hold pairs of genes, sorted by p; ``n_tested`` is the number of pairs that were asked about.

    Parameters
    ----------
    first, second
        Numbers of the genes, shape (m,).
    score, p, q
        Their score, p-value and false discovery rate, shape (m,).
    n_tested
        Number of pairs that were tested.
    n_significant
        Number of pairs whose rate is low enough, those left out because both genes have stronger ones included.
    """

    first: Int64[np.ndarray, "m"]
    second: Int64[np.ndarray, "m"]
    score: Float32[np.ndarray, "m"]
    p: Float64[np.ndarray, "m"]
    q: Float64[np.ndarray, "m"]
    n_tested: int
    n_significant: int


def significant_edges(
    scores: Relatedness,
    null: MatchedNull,
    rows: Int64[np.ndarray, "r"],
    columns: Int64[np.ndarray, "c"],
    max_fdr: float,
    n_neighbors: int,
) -> Edges:
    """Test every pair of a row and a column once, directed ones in both orders, and keep each gene's strongest edges.

    Parameters
    ----------
    scores
        Scores of all genes.
    null
        How matched genes score.
    rows, columns
        Genes at the two ends, ascending; a pair of the same gene is none.
    max_fdr
        Largest false discovery rate (Benjamini and Hochberg, 1995) over all pairs that are tested.
    n_neighbors
        An edge is kept only if, of the pairs that are tested, it is among so many highest of one of its genes; where
        scores are directed, of its row.

    Notes
    -----
    Rates are exact although only p-values up to ``max_fdr`` are kept: the rate of a pair is at least its own p-value,
    so no other pair can be within ``max_fdr``, nor lower the rate of one that is.
    """
    least, n_tested = norm.isf(max_fdr), 0
    outliers, found = [np.zeros(0, np.float32)], [np.zeros((0, 4))]
    in_rows, in_columns = (np.isin(np.arange(scores.n_genes), part) for part in (rows, columns))
    in_both = np.zeros_like(in_rows) if scores.directed else in_rows & in_columns
    by_column = None if scores.directed or np.array_equal(rows, columns) else StrongestRows.empty(len(columns))
    for start in range(0, len(rows), _BLOCK_GENES):
        part = rows[start : start + _BLOCK_GENES]
        block = scores.block(part)[:, columns]
        above = null.standardise(block, part, columns, least)
        above[part[:, None] == columns[None, :]] = -np.inf
        once = part[:, None] != columns[None, :]
        once &= ~(in_both[part][:, None] & in_both[columns][None, :]) | (part[:, None] < columns[None, :])
        n_tested += int(once.sum())
        outliers.append(above[once & (above >= least)])
        at, place = _highest(above, n_neighbors, least)
        found.append(np.stack([part[at], columns[place], block[at, place], above[at, place]], axis=1))
        by_column = by_column and by_column.with_rows(part, block, above, n_neighbors)
    if by_column is not None:
        found.append(by_column.pairs(columns, least))
    pairs = _each_once(np.concatenate(found), in_both)
    if not scores.directed:
        pairs = pairs[_among_strongest(pairs, scores.n_genes, n_neighbors)]
    return _kept(pairs, norm.sf(np.concatenate(outliers)), max_fdr, n_tested)


def _highest(above: Float32[np.ndarray, "b c"], n: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the ``n`` highest values of each row, of those that are high enough."""
    n = min(n, above.shape[1])
    place = np.argpartition(-above, n - 1, axis=1)[:, :n]
    at = np.repeat(np.arange(len(above)), n)
    place = place.ravel()
    high = above[at, place] >= least
    return at[high], place[high]


def _each_once(found: Float64[np.ndarray, "m 4"], in_both: Bool[np.ndarray, "n"]) -> Float64[np.ndarray, "k 4"]:
    """Keep each pair once; where both genes are ``in_both`` ends it may be found from either, and is turned."""
    pair = found[:, :2].astype(np.int64)
    turned = in_both[pair].all(axis=1) & (pair[:, 0] > pair[:, 1])
    pair[turned] = pair[turned][:, ::-1]
    pair, once = np.unique(pair, axis=0, return_index=True)
    return np.concatenate([pair, found[once, 2:]], axis=1)


def _among_strongest(pairs: Float64[np.ndarray, "m 4"], n_genes: int, n: int) -> Bool[np.ndarray, "m"]:
    """Tell which pairs are among the ``n`` highest of one of their genes."""
    kept = np.zeros(len(pairs), dtype=bool)
    ends = pairs[:, :2].astype(np.int64)
    order = np.lexsort((ends[:, 1], ends[:, 0], -pairs[:, 3]))
    # The place of a pair among those of a gene, whichever end the gene is at.
    genes = ends[order].ravel()
    by_gene = np.argsort(genes, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(genes, minlength=n_genes))])[:-1]
    place = np.empty(len(genes), dtype=np.int64)
    place[by_gene] = np.arange(len(genes)) - start[genes[by_gene]]
    kept[order] = (place.reshape(-1, 2) < n).any(axis=1)
    return kept


def _kept(
    pairs: Float64[np.ndarray, "m 4"], p_values: Float64[np.ndarray, "k"], max_fdr: float, n_tested: int
) -> Edges:
    """Compute the rates of pairs among all p-values, and keep those that are low enough."""
    pair, score, p = pairs[:, :2].astype(np.int64), pairs[:, 2], norm.sf(pairs[:, 3])
    q, n_significant = np.ones(len(p)), 0
    if len(p):
        ranked = np.sort(p_values)
        rates = false_discovery_control(ranked) * n_tested / len(ranked)
        # An edge found from its other end may differ in the last digit from the one that was ranked.
        q = np.maximum(rates[np.minimum(np.searchsorted(ranked, p), len(ranked) - 1)], p)
        n_significant = int((rates <= max_fdr).sum())
    order = np.lexsort((pair[:, 1], pair[:, 0], p))
    order = order[q[order] <= max_fdr]
    ends, scores = pair[order], score[order].astype(np.float32)
    return Edges(ends[:, 0], ends[:, 1], scores, p[order], q[order], n_tested, n_significant)
