"""Give each cell type one colour, whichever column of ``obs`` it stands in."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import scanpy as sc
from anndata import AnnData
from matplotlib.colors import to_hex

from genemamba_sc._whole_floats import as_text
from genemamba_sc.pl._require_anndata import require_anndata

_GREY = "#808080"


def share_colours(adata: AnnData, keys: str | Sequence[str]) -> dict[str, str]:
    """Give the same type the same colour in several columns, such as known and predicted types.

    The columns become categorical text in the order of the first one, and ``adata.uns[f"{key}_colors"]`` of each is
    set, where scanpy looks for it. Whole numbers that are floats become 1 and not 1.0, as pandas makes them where cells
    have no value. Colours that the first column already has are kept; other types take
    colours of scanpy's palettes that none of these has. Where there are more than 102 types, these others are grey.

    Parameters
    ----------
    adata
        The cells, which are changed in place.
    keys
        One or more columns of ``obs``; the first one decides. Missing values stay missing.

    Returns
    -------
    The colour of each type, as ``"#rrggbb"``.

    Raises
    ------
    TypeError
        If the cells are no AnnData.
    ValueError
        If no column is named, one is not in ``obs``, or ``adata.uns`` holds what is no colour.
    """
    require_anndata(adata)
    keys = [keys] if isinstance(keys, str) else list(keys)
    _check_columns(adata, keys)
    names = _types_in_order([adata.obs[key] for key in keys])
    colours = _with_new_types(_colours_in_place(adata, keys[0]), names)
    for key in keys:
        adata.obs[key] = pd.Categorical(_texts(adata.obs[key]), categories=names)
        adata.uns[f"{key}_colors"] = list(colours.values())
    return colours


def colours_of(adata: AnnData, key: str) -> dict[str, str]:
    """Return the colour of each value of a column of ``obs``: that in ``adata.uns``, or what scanpy would give it.

    Nothing is written.

    Parameters
    ----------
    adata
        The cells.
    key
        Column of ``obs``.
    """
    names = _types_in_order([adata.obs[key]])
    return _colours_in_place(adata, key) or _with_new_types({}, names)


def _check_columns(adata: AnnData, keys: Sequence[str]) -> None:
    absent = [key for key in keys if key not in adata.obs]
    if absent or not keys:
        raise ValueError(
            f"Columns of adata.obs are needed. Got {list(keys)}; obs has {list(adata.obs.columns)}. Name some of these."
        )


def _texts(column: pd.Series) -> pd.Series:
    return column.astype(object).map(as_text, na_action="ignore")


def _types_in_order(columns: Sequence[pd.Series]) -> list[str]:
    """List the types of the first column in its own order, then those that only other columns have."""
    found: dict[str, None] = {}
    for column in columns:
        categorical = column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")
        found |= dict.fromkeys(map(as_text, categorical.cat.categories))
    return list(found)


def _colours_in_place(adata: AnnData, key: str) -> dict[str, str]:
    names, colours = _types_in_order([adata.obs[key]]), adata.uns.get(f"{key}_colors", ())
    return dict(zip(names, _as_hex(key, colours))) if len(names) <= len(colours) else {}


def _as_hex(key: str, colours: Iterable[Any]) -> list[str]:
    found = []
    for colour in colours:
        try:
            found.append(to_hex(colour))
        except ValueError as error:
            raise ValueError(
                f"adata.uns['{key}_colors'] must hold colours that matplotlib knows. Got {colour!r}. Put another one "
                f"in its place, such as '#1f77b4', or remove them all: del adata.uns['{key}_colors']."
            ) from error
    return found


def _with_new_types(known: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """Keep the known colours; give each other name the first one of the palette that no known name has."""
    free = (colour for colour in _palette(len(names)) if colour not in known.values())
    return {name: known[name] if name in known else next(free, _GREY) for name in names}


def _palette(n: int) -> list[str]:
    """Choose colours that can be told apart, as scanpy does; beyond 102 types there are none, and all are grey."""
    for palette in (sc.pl.palettes.default_20, sc.pl.palettes.default_28, sc.pl.palettes.default_102):
        if n <= len(palette):
            return [to_hex(colour) for colour in palette]
    return []
