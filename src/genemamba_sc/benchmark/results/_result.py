"""Hold the result of a benchmark."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from genemamba_sc._files import replacing_file
from genemamba_sc._json import read_object
from genemamba_sc.benchmark.methods._methods import method_of
from genemamba_sc.benchmark.results._markdown import to_markdown, verdicts
from genemamba_sc.benchmark.results._result_json import report_as_text, report_from_fields
from genemamba_sc.benchmark.results._sentences import NAMES
from genemamba_sc.benchmark.results._summary import COMPARED, Difference, Summary, compare, summarise
from genemamba_sc.benchmark.runs._rows import BenchmarkRow, NotRun


@dataclass(frozen=True)
class BenchmarkReport:
    """Hold how GeneMamba and baselines did on your cells, and print as a page.

    Parameters
    ----------
    labels_key, batch_key
        Columns with the types and the batches.
    seeds
        The seeds.
    n_cells, n_genes, n_types, n_batches, n_unlabelled
        Numbers of cells with a label, genes, types and batches, and of cells without a label.
    values
        What the file holds: counts, normalised (linear, not whole), or log1p (of any base).
    digest
        SHA-256 of values, genes, types and batches.
    rows
        What was measured.
    not_run
        What was not: methods that are not installed, and errors.
    versions
        Versions of what was used.
    """

    labels_key: str
    batch_key: str | None
    seeds: tuple[int, ...]
    n_cells: int
    n_genes: int
    n_types: int
    n_batches: int
    n_unlabelled: int
    values: str
    digest: str
    rows: tuple[BenchmarkRow, ...]
    not_run: tuple[NotRun, ...]
    versions: dict[str, str]

    @property
    def means(self) -> tuple[Summary, ...]:
        """Means over seeds of every score of every method."""
        return summarise(self.rows)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Differences, seed by seed, of GeneMamba with the best baseline and with its own parts."""
        return compare(self.rows)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Who won and who did not, a sentence for each split and score."""
        return tuple(verdicts(self))

    @property
    def ok(self) -> bool:
        """Whether something was measured, and no measurement failed; what is not installed is no failure."""
        return bool(self.rows) and not any(one.split for one in self.not_run)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per measurement and a column per score."""
        names = ("task", "split", "held_out", "seed", "method", "n_train", "n_test", "n_unknown", "seconds")
        rows = [{name: getattr(row, name) for name in names} | row.scores for row in self.rows]
        return pd.DataFrame(rows, columns=None if rows else list(names))

    def summary(self) -> pd.DataFrame:
        """Return a table with a row per task, split, method and score: mean, interval, seeds, seconds."""
        names = ("task", "split", "method", "title", "metric", "metric_title", "is_ours", "is_compared")
        rows = [_line(one) for one in self.means]
        return pd.DataFrame(rows, columns=None if rows else list(names))

    def plot(self) -> Any:
        """Draw the means and their intervals; see :func:`genemamba_sc.pl.benchmark`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from genemamba_sc.pl import benchmark

        return benchmark(self)

    def to_markdown(self) -> str:
        """Write tables, who won, what was not run, and versions, as markdown."""
        return to_markdown(self)

    def __str__(self) -> str:
        return self.to_markdown()

    def to_json(self, path: str | Path) -> None:
        """Write everything to a file, whole or not at all.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with replacing_file(path) as temporary:
            temporary.write_text(report_as_text(asdict(self)), encoding="utf-8")

    @classmethod
    def from_json(cls, path: str | Path) -> "BenchmarkReport":
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        path
            The file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged, or something else.
        """
        return cls(**report_from_fields(read_object(Path(path))))


def _line(one: Summary) -> dict[str, Any]:
    method = method_of(one.task, one.method)
    compared = COMPARED[one.task]
    return {
        "task": one.task,
        "split": one.split,
        "method": one.method,
        "title": method.title,
        "metric": one.metric,
        "metric_title": NAMES.get(one.metric, one.metric),
        "is_ours": method.is_ours,
        "is_compared": one.metric in compared,
        **asdict(one.score),
        "n_parts": one.n_parts,
        "seconds": one.seconds,
    }
