"""Draw the effects of perturbed genes beside what they have to be compared with."""

import inspect
from typing import Any, Protocol, runtime_checkable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genemamba_sc._checks import whole_number

_ROW = 0.25
_MARKERS = "oDsv^"


@runtime_checkable
class Compared(Protocol):
    """Describe a result with effects and baselines, such as :class:`genemamba_sc.tl.Perturbation`."""

    def compared(self) -> pd.DataFrame:
        """Return a row per gene, the effect in the first column and baselines in the others."""


def _require_known(result: Compared, which: dict[str, Any]) -> None:
    known = list(inspect.signature(result.compared).parameters)
    if unknown := [name for name in which if name not in known]:
        raise TypeError(
            f"Effects of a {type(result).__name__} are chosen by {', '.join(known) or 'nothing'}. Got {unknown[0]!r}. "
            "Leave it out."
        )


def perturbation(result: Compared, *, n_genes: int = 20, ax: Axes | None = None, **which: Any) -> Axes:
    """Draw the largest effects as dots, and grey beside each what other genes or simple predictions give.

    Parameters
    ----------
    result
        What :func:`genemamba_sc.tl.perturb`, :func:`genemamba_sc.tl.perturb_together` or
        :func:`genemamba_sc.tl.rank_effects` returned.
    n_genes
        Number of genes or sets to draw, those with the largest effects; genes without an effect are left out.
    ax
        Axes to draw in; ``None`` makes a figure of fitting size.
    **which
        Which effects are drawn, as in the method ``compared`` of the result: ``cell_type``, ``group`` or ``gene``.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If the result is none of these, or has no such choice.
    ValueError
        If there is no effect to draw.
    """
    n_genes = whole_number("n_genes", n_genes, 1)
    if isinstance(result, type) or not isinstance(result, Compared):
        got = f"the class {result.__name__}" if isinstance(result, type) else type(result).__name__
        raise TypeError(f"A Perturbation is drawn. Got {got}. Pass what gm.tl.perturb returned.")
    _require_known(result, which)
    table = result.compared(**which)
    table = table[table["effect"].notna()]
    if table.empty:
        raise ValueError(
            "A gene is drawn by its effect. No gene of this result has one. Perturb genes that the cells express."
        )
    order = np.argsort(-table["effect"].abs().to_numpy(), kind="stable")[:n_genes]
    table = table.iloc[order]
    if ax is None:
        ax = plt.subplots(figsize=(6.5, 1.5 + _ROW * len(table)), layout="constrained")[1]
    places = np.arange(len(table))
    ax.axvline(0, color="0.8", linewidth=1, zorder=0)
    for number, (name, values) in enumerate(table.items()):
        colour, marker = ("C0" if not number else str(0.35 + 0.15 * number)), _MARKERS[number % len(_MARKERS)]
        ax.scatter(values, places, color=colour, marker=marker, s=40 - 4 * number, label=str(name), zorder=9 - number)
    ax.locator_params(axis="x", nbins=5)
    ax.set_yticks(places, table.index.astype(str), fontsize=9)
    ax.set(xlabel=str(table.index.name), ylim=(len(places) - 0.4, -0.6))
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
