"""Check arguments before any work is done; the message says the rule, the value and the way out."""

import math
import numbers
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Int64

# How the gene table starts.
GeneInit = Literal["spectral", "denoised", "random"]
CellIndices = Sequence[int] | np.ndarray | pd.Series | pd.Index


def whole_number(name: str, value: object, least: int) -> int:
    """Check a whole number of at least ``least``; numpy's whole numbers are accepted too.

    Parameters
    ----------
    name
        Name of the argument.
    value
        Value that was passed.
    least
        The smallest value that is allowed.

    Raises
    ------
    TypeError
        If the value is no whole number.
    ValueError
        If the value is too small.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number. Got {value!r}. Pass an integer of at least {least}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}. Got {value!r}. Pass such an integer.")
    return int(value)


def finite_number(name: str, value: object, way_out: str) -> float:
    """Check a number that is neither infinite nor NaN; numpy's numbers are accepted too.

    Parameters
    ----------
    name
        Name of the argument.
    value
        Value that was passed.
    way_out
        What to pass instead, for the message.

    Raises
    ------
    TypeError
        If the value is no number.
    ValueError
        If the value is not finite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number. Got {value!r}. {way_out}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite. Got {value!r}. {way_out}")
    return float(value)


def yes_or_no(name: str, value: object) -> None:
    """Refuse what is neither yes nor no: a text such as ``"no"`` would count as yes.

    Parameters
    ----------
    name
        Name of the argument.
    value
        Value that was passed.

    Raises
    ------
    TypeError
        If it is no bool.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False. Got {value!r}. Pass one of these.")


def share(name: str, value: object) -> float:
    """Check a number in (0, 1].

    Parameters
    ----------
    name
        Name of the argument.
    value
        Value that was passed.

    Raises
    ------
    TypeError
        If the value is no number.
    ValueError
        If the value is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number. Got {value!r}. Pass a share of the cells, such as 0.9.")
    number = float(value)
    if not 0 < number <= 1:
        raise ValueError(f"{name} must lie in (0, 1]. Got {value!r}. Pass a share of the cells, such as 0.9.")
    return number


def row_numbers(indices: CellIndices | None, n_obs: int) -> Int64[np.ndarray, "n"]:
    """Turn what identifies cells into their row numbers, in the order asked.

    Parameters
    ----------
    indices
        Row numbers, or a mask with one value per cell; ``None`` means all cells.
    n_obs
        Number of cells.

    Raises
    ------
    TypeError
        If they are neither whole numbers nor a mask.
    ValueError
        If a mask has another length than the cells.
    IndexError
        If a row number is outside ``[0, n_obs)``.
    """
    if indices is None:
        return np.arange(n_obs)
    rows = np.asarray(indices)
    if rows.size == 0 and rows.ndim == 1 and rows.dtype != bool:
        return np.empty(0, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "biu":
        raise TypeError(
            "indices must be a list of whole row numbers, or a boolean mask with one value per cell. "
            f"Got {rows.ndim} dimension(s) of dtype {rows.dtype}. "
            "Turn names of cells into row numbers with adata.obs_names.get_indexer(names)."
        )
    if rows.dtype == bool:
        if len(rows) != n_obs:
            raise ValueError(
                f"A boolean mask in indices needs one value per cell, {n_obs}. Got {len(rows)}. "
                "Make the mask from the obs of the same AnnData."
            )
        return np.flatnonzero(rows)
    outside = rows[(rows < 0) | (rows >= n_obs)]
    if outside.size:
        raise IndexError(
            f"indices must lie in [0, {n_obs}), the number of cells. Got {outside[0]}. "
            "Count from the first cell; negative numbers do not count from the end."
        )
    return rows.astype(np.int64)
