"""Draw how methods did in a benchmark."""

from typing import Protocol, runtime_checkable

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@runtime_checkable
class _Summarised(Protocol):
    """What is drawn: a :class:`genemamba_sc.benchmark.BenchmarkReport`, which this room does not know."""

    def summary(self) -> pd.DataFrame: ...


def benchmark(report: _Summarised) -> Figure:
    """Draw the mean of each method with its interval, one panel for each split and score; GeneMamba is coloured.

    Parameters
    ----------
    report
        What :func:`genemamba_sc.benchmark.report` returned.

    Returns
    -------
    matplotlib.figure.Figure
        A row for each task and split. The best method stands on top of a panel. Scales differ between panels and do not
        start at 0.

    Raises
    ------
    TypeError
        If it is no report.
    ValueError
        If nothing was measured.
    """
    if not isinstance(report, _Summarised):
        raise TypeError(f"A report is drawn. Got {type(report).__name__}. Pass what gm.benchmark.report returned.")
    table = report.summary()
    if table.empty:
        raise ValueError("A report is drawn from its scores. Got none: no method ran. Its not_run says why.")
    panels = [list(group.groupby("metric", sort=False)) for _, group in _compared(table)]
    titles = [f"{task}, {split}" for (task, split), _ in _compared(table)]
    width = max(map(len, panels))
    tallest = [max(len(one) for _, one in row) for row in panels]
    figure, axes = plt.subplots(
        len(panels), width, figsize=(5.5 * width, 1.2 + sum(0.9 + 0.35 * n for n in tallest)), squeeze=False,
        layout="constrained", height_ratios=[n + 2 for n in tallest],
    )  # fmt: skip
    for title, row, line in zip(titles, panels, axes):
        for ax in line[len(row) :]:
            ax.set_axis_off()
        for (_, one), ax in zip(row, line):
            _draw(one, title, ax)
    return figure


def _compared(table: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Return the scores by which methods are compared, of each task and split; others where there are none of these."""
    found = []
    for name, group in table.groupby(["task", "split"], sort=False):
        shown = group[group["is_compared"]]
        found.append((name, group[group["metric"] == "knn_accuracy"] if shown.empty else shown))
    return found


def _draw(one: pd.DataFrame, title: str, ax: Axes) -> None:
    rows = one.sort_values("mean", kind="stable").reset_index(drop=True)
    low, high = rows["low"].astype(float), rows["high"].astype(float)
    for y, ours in enumerate(rows["is_ours"]):
        colour = "C0" if ours else "0.35"
        ax.plot([low[y], high[y]], [y, y], color=colour, linewidth=1.5)
        ax.plot(rows["mean"][y], y, "o", color=colour)
    ax.set_yticks(range(len(rows)), rows["title"])
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.set_xlabel(f"{rows['metric_title'][0]} (mean of {_seeds(rows)}, 95 % interval)")
    ax.set_title(title, fontsize=10)
    ax.grid(axis="x", color="0.9")


def _seeds(rows: pd.DataFrame) -> str:
    counts = sorted(rows["n_seeds"].unique())
    return (
        f"{counts[0]} seed{'s' if counts[0] > 1 else ''}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    )
