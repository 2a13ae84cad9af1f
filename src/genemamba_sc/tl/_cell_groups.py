"""Read the groups of cells that a result is computed for."""

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Int64, Integer

from genemamba_sc._warn import warn
from genemamba_sc._whole_floats import as_text, sorted_names

# Name of the one group where cells are not grouped.
ALL_CELLS = "all"


def cell_groups(
    adata: AnnData, groupby: str | None, rows: Integer[np.ndarray, "n"] | None = None
) -> tuple[list[str], Int64[np.ndarray, "n"]]:
    """Return the names of the groups, and the number of each cell's group.

    Groups stand in the order of the categories of a categorical column, else sorted, numbers by size. Those that no
    cell has are left out.

    Parameters
    ----------
    adata
        The cells.
    groupby
        Column of ``adata.obs``; ``None`` makes one group of all cells, named ``"all"``.
    rows
        Row numbers of the cells that are asked for; ``None`` takes all.

    Raises
    ------
    ValueError
        If there are no cells or no such column, or cells have no group.

    Warns
    -----
    UserWarning
        If a group has one cell only.
    """
    if adata.n_obs == 0:
        raise ValueError("Genes are compared over cells. Got an AnnData without cells. Pass one with cells.")
    if groupby is None:
        return [ALL_CELLS], np.zeros(adata.n_obs if rows is None else len(rows), dtype=np.int64)
    columns = list(adata.obs.columns)
    if columns.count(groupby) != 1:
        raise ValueError(f"groupby must name one column of adata.obs. Got {groupby!r}; obs has {columns}. Name one.")
    column = adata.obs[groupby] if rows is None else adata.obs[groupby].iloc[rows]
    n_missing = int(column.isna().sum())
    if n_missing:
        raise ValueError(
            f"Every cell needs a group. {n_missing} of {len(column)} cells have none in adata.obs[{groupby!r}]. "
            "Fill them with a group of their own, or leave these cells out."
        )
    names = _names_in_order(column)
    codes = pd.Index(names).get_indexer(column.astype(object).map(as_text))
    single = [name for name, n in zip(names, np.bincount(codes)) if n == 1]
    if single:
        warn(
            f"A mean needs several cells. {len(single)} of {len(names)} groups of adata.obs[{groupby!r}] have one cell "
            f"only ({', '.join(single[:5])}): their means are those of that cell."
        )
    return names, codes.astype(np.int64)


def _names_in_order(column: pd.Series) -> list[str]:
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return sorted_names(column.unique())
    return list(dict.fromkeys(map(as_text, column.cat.remove_unused_categories().cat.categories)))
