"""Draw how well the orders of genes were rebuilt by each method."""

from typing import Protocol, runtime_checkable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes


@runtime_checkable
class Rebuilt(Protocol):
    """What is drawn: the table of a :class:`genemamba_sc.tl.RankReconstruction`, which this room does not know."""

    @property
    def protocol(self) -> str: ...

    @property
    def cells(self) -> pd.Index: ...

    def to_frame(self) -> pd.DataFrame: ...


def reconstruction(result: Rebuilt, *, ax: Axes | None = None) -> Axes:
    """Draw Spearman's correlation of known and rebuilt ranks as a bar for each method.

    Parameters
    ----------
    result
        What :func:`genemamba_sc.tl.reconstruct_ranks` returned. The bars of its masked protocol are means over cells,
        with the standard error of the mean as a line; ``copy`` sees the answer and is hatched.
    ax
        Axes to draw in; ``None`` makes a figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If the result is none.
    """
    if not isinstance(result, Rebuilt):
        raise TypeError(
            f"A RankReconstruction is drawn. Got {type(result).__name__}. Pass what gm.tl.reconstruct_ranks returned."
        )
    table = result.to_frame()
    if ax is None:
        ax = plt.subplots(figsize=(5.5, 1.2 + 0.3 * len(table)), layout="constrained")[1]
    places = np.arange(len(table))
    bars = ax.barh(places, table["spearman"], xerr=table.get("spearman_sem"), color="C0", height=0.7)
    for bar, name in zip(bars, table.index):
        if name == "copy":
            bar.set(color="0.85", edgecolor="0.5", hatch="//")
    ax.axvline(0, color="0.8", linewidth=1, zorder=0)
    ax.set_yticks(places, table.index.astype(str))
    ax.set(xlabel=f"Spearman's correlation of ranks ({len(result.cells)} cells, {result.protocol})")
    ax.set_ylim(len(places) - 0.4, -0.6)
    return ax
