"""Compute means over seeds with their intervals, and paired differences."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """Hold a mean over seeds, and where it lies with 95 % confidence.

    Parameters
    ----------
    mean
        The mean.
    low, high
        Ends of the interval; ``None`` for one seed, or where all seeds gave the same.
    n_seeds
        Number of seeds.
    """

    mean: float
    low: float | None
    high: float | None
    n_seeds: int


def mean_over_seeds(values: np.ndarray, test_share: float = 0.0, least: float = 0.0) -> Mean:
    """Compute the mean and its 95 % interval by Student's t with n − 1 degrees of freedom.

    Test parts that are drawn from the same cells overlap, so their scores are not independent: the variance of the mean
    is s² (1/n + p / (1 − p)) in place of s² / n, where p is the share of the test part (Nadeau and Bengio 2003,
    doi 10.1023/A:1024068626366). Where the parts are the same for every seed, the interval is that of the methods' own
    randomness, on these cells.

    Parameters
    ----------
    values
        A score or a difference for each seed.
    test_share
        Share of the cells in a drawn test part; 0 where parts are fixed.
    least
        The least that a value can be (−1 of a difference, or of an adjusted Rand index); the most is 1. Intervals are
        cut there, but hold the mean.

    Returns
    -------
    The mean; without an interval for one seed, or where all seeds gave the same: that would have no width, and claim
    a certainty that nobody has.
    """
    n = len(values)
    mean = float(np.mean(values))
    deviation = float(np.std(values, ddof=1)) if n > 1 else 0.0
    if deviation < 1e-12:
        return Mean(mean, None, None, n)
    error = deviation * np.sqrt(1 / n + test_share / (1 - test_share))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * error)
    return Mean(mean, max(min(least, mean), mean - half), min(max(1.0, mean), mean + half), n)
