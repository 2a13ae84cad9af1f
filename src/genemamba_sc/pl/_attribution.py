"""Draw how a score falls when the genes it was attributed to are deleted."""

from typing import Protocol, runtime_checkable

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes


@runtime_checkable
class _Tested(Protocol):
    """What is drawn: the curves of a :class:`genemamba_sc.tl.Attribution`, which this room does not know."""

    @property
    def deletion(self) -> pd.DataFrame: ...

    @property
    def n_tested(self) -> int: ...


def attribution(result: _Tested, *, ax: Axes | None = None) -> Axes:
    """Draw the deletion test of an attribution: one falling curve for each order in which genes were deleted.

    Parameters
    ----------
    result
        What :func:`genemamba_sc.tl.attribute` returned.
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
    if not isinstance(result, _Tested):
        raise TypeError(f"An Attribution is drawn. Got {type(result).__name__}. Pass what gm.tl.attribute returned.")
    if ax is None:
        ax = plt.subplots(figsize=(5.5, 4), layout="constrained")[1]
    for name, curve in result.deletion.items():
        own = name == "attribution"
        ax.plot(100 * curve.index, curve, label=str(name), linewidth=2.5 if own else 1.2, marker="o" if own else None)
    ax.set(xlabel="genes deleted (% of each cell's)", ylabel=f"mean score of {result.n_tested} cells")
    ax.legend(title="deleted first by", frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
