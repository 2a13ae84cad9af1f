"""Write text of pandas' own types with an anndata that reads it, and refuses to write it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import anndata
import pandas as pd
from anndata import AnnData

_SETTING = "allow_write_nullable_strings"


@contextmanager
def plain_text(adata: AnnData) -> Iterator[None]:
    """Hold the text of tables as Python's strings while a block writes them; afterwards they are as they were.

    A file that was written with pandas 3 has its names as ``StringDtype``. Before version 0.13 anndata reads them, and
    by default does not write them. As plain strings, they can also be read by an anndata before 0.11.

    Parameters
    ----------
    adata
        The cells that the block writes.
    """
    if getattr(anndata.settings, _SETTING, None) is not False:
        yield
        return
    with ExitStack() as stack:
        for table in _tables(adata):
            stack.enter_context(_as_objects(table))
        # There may be more such text in uns.
        stack.enter_context(anndata.settings.override(**{_SETTING: True}))
        yield


def _tables(adata: AnnData) -> list[pd.DataFrame]:
    raw = [] if adata.raw is None else [adata.raw.var, *adata.raw.varm.values()]
    found = [*adata.obsm.values(), *adata.varm.values(), adata.obs, adata.var, *raw]
    return [table for table in found if isinstance(table, pd.DataFrame)]


@contextmanager
def _as_objects(table: pd.DataFrame) -> Iterator[None]:
    """Change the type of index and columns in place, and change it back."""
    index = table.index
    columns = {name: table[name] for name in table.columns if isinstance(table.dtypes.get(name), pd.StringDtype)}
    try:
        for name, column in columns.items():
            # Text with gaps can only be written as categories.
            table[name] = column.astype(object) if column.notna().all() else pd.Categorical(column.astype(object))
        if isinstance(index.dtype, pd.StringDtype):
            table.index = index.astype(object)
        yield
    finally:
        table.index = index
        for name, column in columns.items():
            table[name] = column
