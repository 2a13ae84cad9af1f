"""Read the types of cells from a column of ``obs``, for pictures with one row for each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Int64

from genemamba_sc._whole_floats import as_text


@dataclass(frozen=True, eq=False)
class TypesOfCells:
    """Hold the types that cells have.

    Parameters
    ----------
    names
        Types with at least one cell, as text, in the order of the column; 1.0 is written as 1.
    rows
        Numbers of the cells that have a type, shape (n,).
    codes
        Number of the type of each of these cells, shape (n,).
    """

    names: list[str]
    rows: Int64[np.ndarray, "n"]
    codes: Int64[np.ndarray, "n"]

    @property
    def counts(self) -> Int64[np.ndarray, "c"]:
        """Number of cells of each type."""
        return np.bincount(self.codes, minlength=len(self.names))


def types_of_cells(adata: AnnData, key: str) -> TypesOfCells:
    """Read a column; cells without a value are left out.

    Parameters
    ----------
    adata
        The cells.
    key
        Column of ``obs``.

    Raises
    ------
    ValueError
        If there is no such column, or more than one, or no cell has a type.
    """
    columns = list(adata.obs.columns)
    if columns.count(key) != 1:
        raise ValueError(
            f"groupby must name one column of adata.obs. Got {key!r}; obs has {columns}. Name one, or call "
            "model.annotate(adata), which writes 'genemamba_celltype'."
        )
    column = adata.obs[key]
    categorical = pd.Categorical(column)
    rows = np.flatnonzero(categorical.codes >= 0)
    if not len(rows):
        raise ValueError(f"Cells need a type. Got {adata.n_obs} cells, none with a value in adata.obs[{key!r}].")
    present, codes = np.unique(categorical.codes[rows], return_inverse=True)
    names = [as_text(categorical.categories[code]) for code in present]
    return TypesOfCells(names, rows.astype(np.int64), codes.astype(np.int64))
