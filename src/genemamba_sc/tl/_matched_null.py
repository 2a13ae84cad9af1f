"""Compare the score of two genes with those of other genes that are expressed alike."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer

from genemamba_sc.tl._relations import Relations

# At most so many bins of expression, each cut into two of dropout; a bin has at least so many genes.
_MOST_BINS, _LEAST_GENES = 10, 100
# Pairs that are drawn for each two strata, and the fewest of different genes that a spread can be taken from.
_N_PAIRS, _LEAST_PAIRS = 2000, 30
# Distance between the quartiles of a normal distribution, in standard deviations.
_QUARTILES = 1.349


@dataclass(frozen=True, eq=False)
class MatchedNull:
    """Hold how pairs of genes score that are expressed alike.

    Parameters
    ----------
    stratum
        Stratum of each gene, shape (n,).
    centre, spread
        Middle of the scores between two strata, and their standard deviation as the middle half tells it, shape (s, s).
    """

    stratum: Int64[np.ndarray, "n"]
    centre: Float64[np.ndarray, "s s"]
    spread: Float64[np.ndarray, "s s"]

    def standardise(
        self, scores: Float32[np.ndarray, "b c"], rows: Integer[np.ndarray, "b"], columns: Integer[np.ndarray, "c"]
    ) -> Float32[np.ndarray, "b c"]:
        """Return how many standard deviations scores lie above those of matched pairs; 0 where these are all equal."""
        of_row, of_column = self.stratum[rows], self.stratum[columns]
        spread = self.spread[of_row][:, of_column]
        above = scores - self.centre[of_row][:, of_column]
        return np.divide(above, spread, out=np.zeros_like(above), where=spread > 0).astype(np.float32)


def matched_null(relations: Relations, seed: int = 0) -> MatchedNull:
    """Estimate the null from pairs drawn at random between genes of like expression and dropout.

    Genes are put into up to ten bins of mean expression, and each bin is cut into halves by the share of cells that
    express the gene. Between each two of these strata 2,000 pairs are drawn. Most genes have nothing to do with each
    other, so the middle half of their scores shows how unrelated genes score (the empirical null of Efron, JASA 99,
    2004); the related ones among them stand in the tails and do not count.

    Parameters
    ----------
    relations
        Genes and scores.
    seed
        Seed of the draws.

    Raises
    ------
    ValueError
        If there are too few genes to tell how unrelated ones score.
    """
    n = len(relations.genes)
    if n * (n - 1) // 2 < _LEAST_PAIRS:
        raise ValueError(
            f"Scores are compared with those of at least {_LEAST_PAIRS} other pairs. {n} expressed genes have "
            f"{n * (n - 1) // 2}. Pass cells with more genes, or a smaller min_cells; gene_correlation needs no others."
        )
    stratum = _strata(relations.mean, relations.detected)
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(stratum == s) for s in range(stratum.max() + 1)]
    places = [(a, b) for a in range(len(members)) for b in range(a, len(members))]
    draws = [_draw(rng, members[a], members[b]) for a, b in places]
    scores = relations.scores.pairs(*(np.concatenate([draw[end] for draw in draws]) for end in (0, 1)))
    centre, spread = np.zeros((2, len(members), len(members)))
    for (a, b), found in zip(places, scores.reshape(len(places), _N_PAIRS)):
        low, middle, high = np.quantile(found.astype(np.float64), (0.25, 0.5, 0.75))
        centre[a, b] = centre[b, a] = middle
        spread[a, b] = spread[b, a] = (high - low) / _QUARTILES
    return MatchedNull(stratum, centre, spread)


def _strata(mean: Float64[np.ndarray, "n"], detected: Float64[np.ndarray, "n"]) -> Int64[np.ndarray, "n"]:
    n_bins = int(np.clip(len(mean) // _LEAST_GENES, 1, _MOST_BINS))
    halves = 2 if len(mean) >= _LEAST_GENES else 1
    result = np.empty(len(mean), dtype=np.int64)
    for number, rows in enumerate(np.array_split(np.argsort(mean, kind="stable"), n_bins)):
        by_dropout = rows[np.argsort(detected[rows], kind="stable")]
        for half, part in enumerate(np.array_split(by_dropout, halves)):
            result[part] = number * halves + half
    return result


def _draw(
    rng: np.random.Generator, first: Int64[np.ndarray, "a"], second: Int64[np.ndarray, "b"]
) -> tuple[Int64[np.ndarray, "m"], Int64[np.ndarray, "m"]]:
    """Draw pairs of different genes."""
    one, other = rng.choice(first, _N_PAIRS), rng.choice(second, _N_PAIRS)
    while len(equal := np.flatnonzero(one == other)):
        other[equal] = rng.choice(second, len(equal))
    return one, other
