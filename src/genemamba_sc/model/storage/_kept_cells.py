"""Keep with a saved model which cells trained it: a digest of names (or of a few tokens), no cell."""

from typing import Any

import numpy as np
from jaxtyping import Int64

from genemamba_sc._json import Fields, quoted
from genemamba_sc.model.registration._trained_cells import LearnedCells, digest_of, holds_its_cells

_ENTRY, _LEARNED = "trained_on", "learned"


def kept(model: Any) -> dict[str, Any]:
    """Give what is saved about the cells of a model: an entry of the configuration, none for an untrained one.

    Parameters
    ----------
    model
        The model.
    """
    if model._split_names is None:
        return {}
    # Cells that the model still holds may have other names now; they are saved with these.
    names = digest_of(model, model.adata) if model._keeps_cells and holds_its_cells(model) else model._split_names
    entry: dict[str, Any] = {"names": names}
    learned = [part.rows for part in model._learned if part.names == model._split_names]
    if learned:
        entry[_LEARNED] = {"names": names, "rows": learned[0]}
    return {_ENTRY: entry}


def bring_back(model: Any, meta: Fields) -> None:
    """Set on a loaded model what was saved; models of older versions have nothing.

    Parameters
    ----------
    model
        The model.
    meta
        Its configuration.

    Raises
    ------
    ValueError
        If a field is of another kind than it must be. The message names the file.
    """
    if _ENTRY not in meta.values:
        return
    entry = meta.object(_ENTRY)
    model._split_names = entry.text("names")
    if _LEARNED in entry.values:
        learned = entry.object(_LEARNED)
        model._learned = (LearnedCells(learned.text("names"), learned.made("rows", _as_some_rows)),)


def _as_some_rows(value: Any) -> Int64[np.ndarray, "n"]:
    rows = as_rows(value)
    if rows is None:
        raise ValueError("it lists row numbers")
    return rows


def as_rows(value: Any) -> Int64[np.ndarray, "n"] | None:
    """Read row numbers.

    Parameters
    ----------
    value
        What a file holds; ``None`` gives ``None``.

    Raises
    ------
    ValueError
        If these are no row numbers.
    """
    if value is None:
        return None
    indices = np.asarray(value)
    if indices.ndim != 1 or (indices.dtype.kind not in "iu" and len(indices)):
        raise ValueError(f"row numbers are whole, in one list, not {quoted(value)}")
    return indices.astype(np.int64)
