"""Find cells of a query that are among the cells to train on: no score of them says anything about new cells."""

import hashlib
from collections.abc import Iterator

import numpy as np
from anndata import AnnData
from scipy import sparse

# Cells of fewer values may agree by chance; they count as one cell where their names agree, too.
TELLING = 10


def refuse_shared_cells(cells: AnnData, is_query: np.ndarray, names: np.ndarray) -> None:
    """Refuse a query with cells of the reference.

    Cells are the same where their values are, up to a factor: each is divided by its largest. Empty cells are none's.

    Parameters
    ----------
    cells
        Reference and query over the genes of both.
    is_query
        Which cells are the query.
    names
        Names of the cells as they were passed.

    Raises
    ------
    ValueError
        If there are such cells.
    """
    prints = list(_prints(sparse.csr_matrix(cells.X), names))
    reference = {key for row in np.flatnonzero(~is_query) for key in prints[row]}
    n_shared = sum(not reference.isdisjoint(prints[row]) for row in np.flatnonzero(is_query))
    if n_shared:
        raise ValueError(
            f"Query cells must not be among the cells of adata. {n_shared} of {int(is_query.sum())} are. Pass adata "
            "without them, or write splits='query:COLUMN=VALUE'."
        )


def _prints(values: sparse.csr_matrix, names: np.ndarray) -> Iterator[list[bytes]]:
    """Give each cell digests by which it is known again: with its name, and without where it has values enough."""
    for row, name in enumerate(names):
        place = slice(values.indptr[row], values.indptr[row + 1])
        data, genes = values.data[place], values.indices[place]
        genes, data = genes[data != 0], data[data != 0]
        if not len(data):
            yield []
            continue
        order = np.argsort(genes)
        shares = np.rint(data[order].astype(np.float64) / data.max() * 1e5)  # a float32 holds no more
        digest = hashlib.sha256(genes[order].astype("<i8").tobytes() + shares.astype("<i8").tobytes()).digest()
        yield [digest + str(name).encode(), *([digest] if len(data) >= TELLING else [])]
