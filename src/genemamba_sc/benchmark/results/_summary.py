"""Summarise rows: means over seeds, and GeneMamba beside the best baseline and beside its own parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from genemamba_sc.benchmark.methods._methods import JUDGED, METHODS, method_of
from genemamba_sc.benchmark.results._statistics import Mean, mean_over_seeds
from genemamba_sc.benchmark.runs._rows import BenchmarkRow

# By which methods are compared; the others are listed.
COMPARED = {"annotation": ("accuracy", "macro_f1"), "integration": ("avg_bio", "avg_batch")}
# Which can be below 0: the adjusted Rand index, and the mean that holds it.
SIGNED = ("ari", "avg_bio")
# Where scib-metrics is not installed.
WITHOUT_SCIB = ("knn_accuracy",)
# Parts of GeneMamba that it is compared with beside the best baseline.
PARTS = ("bag", "linear_head")


@dataclass(frozen=True)
class Summary:
    """Hold the mean of one score of one method.

    Parameters
    ----------
    task, split, method, metric
        What was scored.
    score
        The mean over seeds (each the mean of its held-out batches) and its interval.
    n_parts
        Number of test parts of each seed.
    seconds
        Mean seconds of a fit.
    """

    task: str
    split: str
    method: str
    metric: str
    score: Mean
    n_parts: int
    seconds: float


@dataclass(frozen=True)
class Difference:
    """Hold the paired difference of GeneMamba and another method.

    Parameters
    ----------
    task, split, metric
        What was scored.
    other
        Name of the other method.
    role
        ``"best baseline"``: the baseline with the best mean of this score. ``"part"``: a part of GeneMamba.
    ours, theirs
        Means over the same seeds.
    difference
        Mean of GeneMamba minus the other, seed by seed, and its interval.
    n_ahead, n_behind, n_parts
        In how many of the held-out batches GeneMamba is ahead and behind (means over seeds), and how many these are.
    n_baselines
        Number of baselines among which the best was found.
    """

    task: str
    split: str
    metric: str
    other: str
    role: Literal["best baseline", "part"]
    ours: float
    theirs: float
    difference: Mean
    n_ahead: int
    n_behind: int
    n_parts: int
    n_baselines: int

    @property
    def winner(self) -> str:
        """Name of the method that is ahead; "" where the interval holds 0 or there is none."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or low <= 0 <= high:
            return ""
        return JUDGED if low > 0 else self.other


class _Table:
    """Scores of one task, split and metric, by method: one row a seed, one column a held-out part."""

    def __init__(self, rows: Sequence[BenchmarkRow], metric: str) -> None:
        self.seeds = sorted({row.seed for row in rows})
        self.parts = sorted({row.held_out for row in rows})
        self.share = max(row.test_share for row in rows)
        self.values: dict[str, np.ndarray] = {}
        for row in rows:
            place = self.values.setdefault(row.method, np.full((len(self.seeds), len(self.parts)), np.nan))
            place[self.seeds.index(row.seed), self.parts.index(row.held_out)] = row.scores.get(metric, np.nan)

    def whole(self, method: str) -> np.ndarray:
        """Return the seeds that a method has finished."""
        return ~np.isnan(self.values.get(method, np.full((len(self.seeds), 1), np.nan))).any(axis=1)

    def mean(self, method: str, seeds: np.ndarray) -> np.ndarray:
        """Return the mean over the parts, one value a seed."""
        return self.values[method][seeds].mean(axis=1)


def groups(rows: Sequence[BenchmarkRow]) -> dict[tuple[str, str], list[BenchmarkRow]]:
    """Sort rows by task and split, in their order."""
    found: dict[tuple[str, str], list[BenchmarkRow]] = {}
    for row in rows:
        found.setdefault((row.task, row.split), []).append(row)
    return found


def metrics_of(task: str, rows: Sequence[BenchmarkRow]) -> tuple[str, ...]:
    """Return the scores by which methods of a task are compared, as far as the rows have them."""
    present = {name for row in rows for name in row.scores}
    return tuple(name for name in COMPARED[task] if name in present) or WITHOUT_SCIB


def summarise(rows: Sequence[BenchmarkRow]) -> tuple[Summary, ...]:
    """Compute the means of every score of every method, over the seeds that have all parts of a split."""
    found = []
    for (task, split), group in groups(rows).items():
        for metric in dict.fromkeys(name for row in group for name in row.scores):
            table = _Table(group, metric)
            for method in _in_order(table.values, task):
                seeds = table.whole(method)
                if seeds.any():
                    score = mean_over_seeds(table.mean(method, seeds), table.share, -1.0 if metric in SIGNED else 0.0)
                    seconds = float(np.mean([row.seconds for row in group if row.method == method]))
                    found.append(Summary(task, split, method, metric, score, len(table.parts), seconds))
    return tuple(found)


def compare(rows: Sequence[BenchmarkRow]) -> tuple[Difference, ...]:
    """Compare GeneMamba with the best baseline, which has all its seeds, and with its own parts."""
    found = []
    for (task, split), group in groups(rows).items():
        for metric in metrics_of(task, group):
            table = _Table(group, metric)
            seeds = table.whole(JUDGED)
            if not seeds.any():
                continue
            rivals = [name for name in table.values if not (seeds & ~table.whole(name)).any() and name != JUDGED]
            baselines = [name for name in rivals if not method_of(task, name).is_ours]
            if baselines:
                best = max(baselines, key=lambda name: float(table.mean(name, seeds).mean()))
                found.append(_difference(table, (task, split, metric), best, seeds, len(baselines)))
            parts = [name for name in PARTS if name in rivals]
            found += [_difference(table, (task, split, metric), name, seeds, 0) for name in parts]
    return tuple(found)


def _difference(
    table: _Table, what: tuple[str, str, str], other: str, seeds: np.ndarray, n_baselines: int
) -> Difference:
    ours, theirs = table.mean(JUDGED, seeds), table.mean(other, seeds)
    by_part = (table.values[JUDGED][seeds] - table.values[other][seeds]).mean(axis=0)
    return Difference(
        *what,
        other=other,
        role="best baseline" if n_baselines else "part",
        ours=float(ours.mean()),
        theirs=float(theirs.mean()),
        difference=mean_over_seeds(ours - theirs, table.share, least=-1.0),
        n_ahead=int((by_part > 0).sum()),
        n_behind=int((by_part < 0).sum()),
        n_parts=len(table.parts),
        n_baselines=n_baselines,
    )


def _in_order(names: dict[str, np.ndarray], task: str) -> list[str]:
    """Return the names in the order of the list of methods."""
    return [method.name for method in METHODS if method.task == task and method.name in names]
