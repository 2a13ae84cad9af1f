"""Compare the score of two genes with those of other genes that are expressed alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer
from scipy.stats import norm, t

from genemamba_sc.tl.relations._relations import Relations

# At most so many bins of expression, each cut into two of dropout; a bin has at least so many genes.
_MOST_BINS, _LEAST_GENES = 10, 100
# Pairs that are drawn for each two strata, and the fewest of different genes that a spread can be taken from.
_N_PAIRS, _LEAST_PAIRS = 2000, 30
# Distance between the quartiles of a normal distribution, in standard deviations.
_QUARTILES = 1.349
# Below so many standard deviations the tail does not matter; beyond this cosine rounding decides.
_NEAR, _MOST = 1.0, 1 - 1e-6
_ROUNDING = 1e-5
# Student's t beyond this is not told from infinity.
_FARTHEST = 1e12
_FREEDOMS = np.geomspace(1.0, 1e6, 500)


@dataclass(frozen=True, eq=False)
class MatchedNull:
    """Hold how pairs of genes score that are expressed alike.

    Parameters
    ----------
    stratum
        Stratum of each gene, shape (n,).
    centre, spread
        Middle of the scores between two strata, and their standard deviation as the middle half tells it, shape (s, s).
    freedom
        Degrees of freedom of cosines and correlations, shape (s, s); ``None`` for scores without bounds.
    """

    stratum: Int64[np.ndarray, "n"]
    centre: Float64[np.ndarray, "s s"]
    spread: Float64[np.ndarray, "s s"]
    freedom: Float64[np.ndarray, "s s"] | None

    def standardise(
        self,
        scores: Float32[np.ndarray, "b c"],
        rows: Integer[np.ndarray, "b"],
        columns: Integer[np.ndarray, "c"],
        least: float = -np.inf,
    ) -> Float32[np.ndarray, "b c"]:
        """Return how far scores lie above those of matched pairs, in standard deviations of a normal distribution.

        Cosines are bounded, and those of vectors of few dimensions are far from normal: that of random vectors of ``k``
        dimensions has the tail of Student's t of ``k - 1`` degrees of freedom. What is returned of a cosine is the
        normal deviate of the same tail. It is 0 where matched scores are all equal.

        Parameters
        ----------
        scores
            Scores of the genes ``rows`` and ``columns``.
        rows, columns
            Numbers of the genes.
        least
            What is below it is returned as ``-inf``, as is NaN: only tails that are asked for are computed.
        """
        of_row, of_column = self.stratum[rows], self.stratum[columns]
        asked = scores >= self._lowest_scores(least)[of_row][:, of_column]
        score, (row, column) = scores[asked].astype(np.float64), np.nonzero(asked)
        place = of_row[row], of_column[column]
        centre, spread = self.centre[place], self.spread[place]
        above = np.divide(score - centre, spread, out=np.zeros_like(centre), where=spread > 0)
        if self.freedom is not None:
            high = above >= _NEAR
            above[high] = _deviates(_moved(score[high], centre[high]), self.freedom[place][high])
        result = np.full(scores.shape, -np.inf, dtype=np.float32)
        result[asked] = np.where(above >= least, above, -np.inf)
        return result

    def _lowest_scores(self, least: float) -> Float32[np.ndarray, "s s"]:
        """Compute scores just below those that lie so far above matched ones."""
        if least == -np.inf:
            return np.full(self.centre.shape, -np.inf, dtype=np.float32)
        if self.freedom is None or least < _NEAR:
            lowest = self.centre + least * self.spread
        else:
            tail = np.minimum(t.isf(norm.sf(least), self.freedom), _FARTHEST)
            lowest = _moved(tail / np.sqrt(self.freedom + tail**2), -self.centre)
        if least <= 0:  # where matched scores are all equal, every score counts as 0 deviations above them
            lowest = np.where(self.spread > 0, lowest, -np.inf)
        return (lowest - _ROUNDING * (1 + np.abs(lowest))).astype(np.float32)


def matched_null(relations: Relations, seed: int = 0) -> MatchedNull:
    """Estimate the null from pairs drawn at random between genes of like expression and dropout.

    Genes are put into up to ten bins of mean expression, and each bin is cut into halves by the share of cells that
    express the gene. Between each two of these strata 2,000 pairs are drawn, where scores
    are directed for each order of the two. Most genes have nothing to do with each
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
    rng, directed = np.random.default_rng(seed), relations.scores.directed
    members = [np.flatnonzero(stratum == s) for s in range(stratum.max() + 1)]
    places = [(a, b) for a in range(len(members)) for b in range(0 if directed else a, len(members))]
    draws = [_draw(rng, members[a], members[b]) for a, b in places]
    scores = relations.scores.pairs(*(np.concatenate([draw[end] for draw in draws]) for end in (0, 1)))
    centre, spread, freedom = np.zeros((3, len(members), len(members)))
    for (a, b), found in zip(places, scores.reshape(len(places), _N_PAIRS)):
        low, middle, high = np.quantile(found.astype(np.float64), (0.25, 0.5, 0.75))
        for place in ((a, b),) if directed else ((a, b), (b, a)):
            centre[place], spread[place] = middle, (high - low) / _QUARTILES
            if relations.scores.bounded:
                freedom[place] = _freedom((_moved(high, middle) - _moved(low, middle)) / 2)
    return MatchedNull(stratum, centre, spread, freedom if relations.scores.bounded else None)


def _moved(cosine: np.ndarray | float, centre: np.ndarray | float) -> Any:
    """Move cosines so that the centre comes to 0, by Fisher's transform."""
    return np.tanh(np.arctanh(np.clip(cosine, -_MOST, _MOST)) - np.arctanh(np.clip(centre, -_MOST, _MOST)))


def _freedom(quartile: float) -> float:
    """Return the degrees of freedom of cosines of random vectors of which a quarter is above ``quartile``."""
    tabled = t.ppf(0.75, _FREEDOMS)
    # np.interp wants ascending values: more dimensions make smaller cosines.
    return float(np.interp(-quartile, -tabled / np.sqrt(_FREEDOMS + tabled**2), _FREEDOMS))


def _deviates(cosine: Float64[np.ndarray, "m"], freedom: Float64[np.ndarray, "m"]) -> Float64[np.ndarray, "m"]:
    """Return the normal deviates that have the same tails as cosines."""
    return norm.isf(t.sf(cosine * np.sqrt(freedom / (1 - cosine**2)), freedom))


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
