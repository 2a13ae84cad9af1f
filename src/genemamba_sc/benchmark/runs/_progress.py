"""Tell how far a benchmark is, and how long it may still take."""

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from genemamba_sc.benchmark.runs._heartbeat import duration, still_running
from genemamba_sc.benchmark.runs._jobs import Job
from genemamba_sc.benchmark.runs._rows import BenchmarkRow


@dataclass(frozen=True)
class Progress:
    """Tell how far a benchmark is.

    Parameters
    ----------
    done, total
        Number of measurements that are done, and of all.
    title
        The measurement that was just finished, or begins.
    result
        What came of it; "" where it begins.
    seconds_left
        Estimate of the seconds that the rest takes; ``None`` before anything was measured.
    """

    done: int
    total: int
    title: str
    result: str
    seconds_left: float | None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", about {duration(self.seconds_left)} left"
        return f"[{self.done}/{self.total}{left}] {self.title}{': ' if self.result else ''}{self.result}"


def say(progress: Progress) -> None:
    """Write a line to the standard error.

    Parameters
    ----------
    progress
        How far the benchmark is.
    """
    sys.stderr.write(f"{progress}\n")
    sys.stderr.flush()


def alive(progress: Progress, on_progress: Callable[[Progress], None]) -> AbstractContextManager[None]:
    """Say every few seconds that a measurement still runs, if :func:`say` is what says how far the benchmark is.

    A function of the user's is not called: it would be, from another thread than it expects.

    Parameters
    ----------
    progress
        What was said when the measurement began.
    on_progress
        What it was said with.
    """
    return still_running(str(replace(progress, seconds_left=None))) if on_progress is say else nullcontext()


class Estimate:
    """Estimate the seconds of what is left: by the mean of the same method, or of all where it has not run."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, row: BenchmarkRow, passed: float = 0.0) -> None:
        """Learn from a row, and from the seconds that passed until it was scored."""
        self._taken[row.task, row.method].append(max(row.seconds, passed))

    def of(self, jobs: Sequence[Job]) -> float | None:
        """Estimate the seconds of jobs."""
        if not self._taken:
            return None
        every = [value for values in self._taken.values() for value in values]
        mean = {name: sum(values) / len(values) for name, values in self._taken.items()}
        overall = sum(every) / len(every)
        return float(sum(mean.get((job.method.task, job.method.name), overall) for job in jobs))
