"""Read the column of ``var`` in which the genes of a table are named, as text."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

VAR_NAMES: Final = "var_names"

# This many names can be 0, 1, 2, ... by accident.
_LEAST_NUMBERED = 3
# Texts that a missing value becomes once somebody has turned it into text.
_MISSING: Final = frozenset({"", "nan", "NaN", "None", "NA", "<NA>"})


def names_of(var: pd.DataFrame, key: str | None = None, *, argument: str = "gene_id_key") -> list[str]:
    """Read the names of the genes as text, one per row of ``var``; ``""`` where a name is missing.

    Parameters
    ----------
    var
        The table of genes, ``n_vars`` rows.
    key
        Column to read; None reads the index.
    argument
        Name of the caller's argument for ``key``, for the message.

    Raises
    ------
    ValueError
        If ``var`` has no such column, or several.
    """
    if key is None:
        return [_as_name(name) for name in var.index]
    if key not in var.columns:
        have = ", ".join(repr(str(column)) for column in var.columns) or "none"
        raise ValueError(
            f"{argument} must name a column of adata.var; got {key!r}, the columns are: {have}. "
            f"Pass one of these, or {argument}=None to read adata.var_names."
        )
    return [_as_name(name) for name in only_column(var, key)]


def only_column(var: pd.DataFrame, key: str) -> pd.Series:
    """Return the column ``key`` of ``var``, which must be one.

    Raises
    ------
    ValueError
        If there are several of that name, as ``pd.concat(axis=1)`` leaves them: pandas then gives a table.
    """
    column = var[key]
    if isinstance(column, pd.Series):
        return column
    raise ValueError(
        f"{key!r} must name one column of adata.var; it has {column.shape[1]} of that name. Keep the first of each: "
        "adata.var = adata.var.loc[:, ~adata.var.columns.duplicated()]."
    )


def identities_of(var: pd.DataFrame, key: str | None = None) -> list[str]:
    """Read names that identify genes; refuse mere row numbers, which every file has.

    Parameters
    ----------
    var
        The table of genes, ``n_vars`` rows.
    key
        Column to read; None reads the index.

    Raises
    ------
    ValueError
        If ``var`` has no such column, or the names are 0, 1, 2, ... or 1, 2, 3, ...: two files that number their genes
        would be matched by position, whatever their genes are.
    """
    names = names_of(var, key)
    if len(names) < _LEAST_NUMBERED or not _are_row_numbers(names):
        return names
    source = VAR_NAMES if key is None else f"var[{key!r}]"
    once = var.loc[:, ~var.columns.duplicated()]
    others = [repr(column) for column in once.columns if column != key and _may_name(once[column])]
    way_out = (
        f"Pass gene_id_key= with the column that names them; of adata.var these hold text: {', '.join(others[:5])}."
        if others
        else "Put Ensembl ids or symbols into adata.var_names; adata.var has no column of text that could serve."
    )
    raise ValueError(
        f"Genes are known by their names; those in {source} are only the numbers of the rows ({names[0]} to "
        f"{names[-1]}), so the same gene of another file could not be found. {way_out}"
    )


def _are_row_numbers(names: Sequence[str]) -> bool:
    first = names[0]
    return first in ("0", "1") and all(name == str(i) for i, name in enumerate(names, start=int(first)))


def _may_name(column: pd.Series) -> bool:
    """Tell whether a column may name genes: text, nearly all different, and not row numbers again."""
    values = column.astype(str)
    return values.nunique() > 0.9 * len(values) and not values.str.fullmatch(r"[\d.eE+-]*|nan|None").any()


def _as_name(value: object) -> str:
    """Turn one cell of a table into a gene name."""
    if isinstance(value, bytes):
        value = value.decode()
    # NaN is the only value that differs from itself; None and pandas' NA turn into a word of _MISSING.
    if isinstance(value, float) and value != value:
        return ""
    text = str(value).strip()
    return "" if text in _MISSING else text
