"""Draw known against predicted types, as shares of the known ones."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.metrics import confusion_matrix as counts_of

from genemamba_sc._whole_floats import as_text, sorted_names

# Smaller shares would be printed as 0.
_LEAST_SHOWN = 0.005


def confusion_matrix(truth: ArrayLike, predicted: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw which share of the cells of each known type was predicted as which type.

    Rows are known types and add up to 100 %; zeros are not printed. The number of cells stands beside each row.

    Parameters
    ----------
    truth, predicted
        Types of the same cells in the same order, shape ``(n_cells,)`` each. The order of the types is that of the
        categories of ``truth`` where it is categorical, else sorted, numbers by size; types that are only predicted
        come last. Types that are numbers are the same as whole numbers and as floats: 1 and 1.0.
    ax
        Axes to draw in; ``None`` makes a figure of fitting size.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If these are no lists, there are no cells, the lengths differ, a cell has no type, or two Series name the same
        cells in another order.
    """
    _refuse_another_order(truth, predicted)
    known, said = _column("truth", truth), _column("predicted", predicted)
    _check_types(known, said)
    names = _order(truth, known, said)
    counts = counts_of(known.map(as_text), said.map(as_text), labels=names)
    if ax is None:
        size = 3 + 0.45 * len(names)
        ax = plt.subplots(figsize=(size + 0.5, size), layout="constrained")[1]
    _draw(counts, names, ax)
    return ax


def _column(name: str, values: ArrayLike) -> pd.Series:
    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise ValueError(
            f"{name} must have one type for each cell. Got a {type(values).__name__} of {array.ndim} dimensions. Pass "
            "one column, such as adata.obs['cell_type']."
        )
    return pd.Series(array)


def _refuse_another_order(truth: ArrayLike, predicted: ArrayLike) -> None:
    """Refuse two Series that name the same cells in another order: types are compared row by row."""
    if not (isinstance(truth, pd.Series) and isinstance(predicted, pd.Series)) or len(truth) != len(predicted):
        return
    if not truth.index.equals(predicted.index) and set(truth.index) == set(predicted.index):
        raise ValueError(
            "Known and predicted types must stand in the same order of cells. Got two Series with the same index in "
            "another order. Pass predicted.loc[truth.index], or arrays where the rows belong together as they are."
        )


def _check_types(known: pd.Series, said: pd.Series) -> None:
    if len(known) != len(said) or not len(known):
        raise ValueError(
            f"Known and predicted types of the same cells are needed. Got {len(known)} and {len(said)}. "
            "Take both from the same rows of adata.obs."
        )
    n_missing = int((known.isna() | said.isna()).sum())
    if n_missing:
        raise ValueError(
            f"Every cell needs a known and a predicted type. {n_missing} of {len(known)} lack one. "
            "Leave these cells out, e.g. adata.obs.dropna(subset=[...])."
        )


def _order(truth: ArrayLike, known: pd.Series, said: pd.Series) -> list[str]:
    """List the types that occur, in the order of the categories of the truth where it has one."""
    dtype = getattr(truth, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        present = set(known.map(as_text)) | set(said.map(as_text))
        first = [name for name in map(as_text, dtype.categories) if name in present]
    else:
        first = sorted_names(known)
    return list(dict.fromkeys([*first, *sorted_names(said)]))


def _draw(counts: np.ndarray, names: list[str], ax: Axes) -> None:
    n_cells = counts.sum(axis=1)
    shares = counts / np.maximum(n_cells, 1)[:, None]
    display = ConfusionMatrixDisplay(shares, display_labels=names)
    display.plot(ax=ax, cmap="Blues", colorbar=False, values_format=".0%", im_kw={"vmin": 0, "vmax": 1})
    for share, text in zip(shares.ravel(), display.text_.ravel()):
        text.set(fontsize=8)
        if share < _LEAST_SHOWN:
            text.set_text("")
    ax.set_yticks(range(len(names)), [f"{name} ({n})" for name, n in zip(names, n_cells)])
    ax.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    ax.set(xlabel="predicted type", ylabel="known type (cells)")
