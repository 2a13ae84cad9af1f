"""Test all pairs of genes block by block, and keep the edges that stand out."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.stats import false_discovery_control, norm

from genemamba_sc.tl.relations._matched_null import MatchedNull
from genemamba_sc.tl.relations._relatedness import Relatedness

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
    """

    first: Int64[np.ndarray, "m"]
    second: Int64[np.ndarray, "m"]
    score: Float32[np.ndarray, "m"]
    p: Float64[np.ndarray, "m"]
    q: Float64[np.ndarray, "m"]
    n_tested: int


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
        An edge is kept only if it is among so many highest of one of its genes; where scores are directed, of its row.

    Notes
    -----
    Rates are exact although only p-values up to ``max_fdr`` are kept: the rate of a pair is at least its own p-value,
    so no other pair can be within ``max_fdr``, nor lower the rate of one that is.
    """
    least, n_tested = norm.isf(max_fdr), 0
    outliers, found = [np.zeros(0, np.float32)], [np.zeros((0, 4))]
    in_rows, in_columns = (np.isin(np.arange(scores.n_genes), part) for part in (rows, columns))
    for start in range(0, len(rows), _BLOCK_GENES):
        part = rows[start : start + _BLOCK_GENES]
        block = scores.block(part)[:, columns]
        above = null.standardise(block, part, columns, least)
        above[part[:, None] == columns[None, :]] = -np.inf
        both = in_columns[part][:, None] & in_rows[columns][None, :] & (not scores.directed)
        once = (part[:, None] != columns[None, :]) & (~both | (part[:, None] < columns[None, :]))
        n_tested += int(once.sum())
        outliers.append(above[once & (above >= least)])
        at, place = _highest(above, n_neighbors, least)
        found.append(np.stack([part[at], columns[place], block[at, place], above[at, place]], axis=1))
    in_either = np.zeros_like(in_rows) if scores.directed else in_rows
    return _kept(np.concatenate(found), norm.sf(np.concatenate(outliers)), max_fdr, n_tested, in_either)


def _highest(above: Float32[np.ndarray, "b c"], n: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the ``n`` highest values of each row, of those that are high enough."""
    n = min(n, above.shape[1])
    place = np.argpartition(-above, n - 1, axis=1)[:, :n]
    at = np.repeat(np.arange(len(above)), n)
    place = place.ravel()
    high = above[at, place] >= least
    return at[high], place[high]


def _kept(
    found: Float64[np.ndarray, "m 4"],
    p_values: Float64[np.ndarray, "k"],
    max_fdr: float,
    n_tested: int,
    in_either: np.ndarray,
) -> Edges:
    """Compute the rates, and keep each edge once; the genes ``in_either`` may be found at the other end, too."""
    pair = found[:, :2].astype(np.int64)
    # Where both ends were asked about, an edge may be found from either.
    turned = in_either[pair[:, 1]] & (pair[:, 0] > pair[:, 1])
    pair[turned] = pair[turned][:, ::-1]
    _, once = np.unique(pair, axis=0, return_index=True)
    pair, score, p = pair[once], found[once, 2], norm.sf(found[once, 3])
    q = np.ones(len(p))
    if len(p):
        ranked = np.sort(p_values)
        rates = false_discovery_control(ranked) * n_tested / len(ranked)
        # An edge found from its other end may differ in the last digit from the one that was ranked.
        q = np.maximum(rates[np.minimum(np.searchsorted(ranked, p), len(ranked) - 1)], p)
    order = np.lexsort((pair[:, 1], pair[:, 0], p))
    order = order[q[order] <= max_fdr]
    return Edges(pair[order, 0], pair[order, 1], score[order].astype(np.float32), p[order], q[order], n_tested)
