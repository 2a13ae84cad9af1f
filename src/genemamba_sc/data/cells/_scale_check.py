"""Check every block that is read, because a sample of 1,024 cells can miss a few cells on another scale."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import Bool, Integer
from scipy import sparse

from genemamba_sc.data._compiled import compiled
from genemamba_sc.data.cells._evidence import BASES, LARGEST_LOG, Confidence, is_whole, name_of, verdicts

_WAY_OUT = "Bring all cells to one scale, e.g. keep counts in a layer of all parts before they are joined."
# One cell is enough here to refuse a file, so its values must leave no doubt.
_BEYOND_DOUBT = Confidence(least=16, sure=0.95, unsure=0.5)


class RefusedCell(ValueError):
    """Refuse a cell of a block; which row of the file it is, only the one who read the block knows.

    Parameters
    ----------
    before, after
        What is told before and after the row.
    row
        The row in the block.
    block
        What is told of the block after the row.
    """

    def __init__(self, before: str, row: int, block: str, after: str) -> None:
        super().__init__(f"{before} row {row}{block}{after}")
        self.before, self.row, self.after = before, row, after


@contextmanager
def naming_rows(rows: Integer[np.ndarray, "b"]) -> Iterator[None]:
    """Name a cell that is refused in the block by its row in the whole matrix.

    Parameters
    ----------
    rows
        Row of each cell of the block, shape ``(b,)``.

    Raises
    ------
    ValueError
        If a cell is refused.
    """
    try:
        yield
    except RefusedCell as error:
        raise ValueError(f"{error.before} row {rows[error.row]}{error.after}") from error


def refuse_unrankable(cells: sparse.csr_matrix | sparse.csr_array) -> None:
    """Refuse values that are negative, NaN or infinite.

    Raises
    ------
    ValueError
        If there is one; the message names the first.
    """
    if cells.nnz and not (cells.data.min() >= 0 and cells.data.max() < np.inf):  # NaN is neither
        refuse_entry(int(np.argmin((cells.data >= 0) & (cells.data < np.inf))), cells)


def refuse_entry(entry: int, cells: sparse.csr_matrix | sparse.csr_array) -> None:
    """Refuse the value at a place of ``cells.data``.

    Raises
    ------
    ValueError
        Always; the message names row, column and value.
    """
    row = int(np.searchsorted(cells.indptr, entry, side="right")) - 1
    raise RefusedCell(
        "Expression must be finite and not negative;",
        row,
        f" of this block of {cells.shape[0]} cells",
        f" has {cells.data[entry]} in column {cells.indices[entry]}. Scaled or corrected data cannot be ranked: pass "
        "the layer that holds the counts, e.g. layer='counts'.",
    )


def refuse_too_large(cells: sparse.csr_matrix) -> None:
    """Refuse a value among logarithms that no logarithm reaches.

    Raises
    ------
    ValueError
        If there is such a value; the message names the row.
    """
    if not cells.nnz or cells.data.max() <= LARGEST_LOG:
        return
    entry = int(cells.data.argmax())
    row = int(np.searchsorted(cells.indptr, entry, side="right")) - 1
    raise RefusedCell(
        f"All cells must be on one scale. Got logarithms in most, and {cells.data[entry]:g}, which is none, in",
        row,
        f" of this block of {cells.shape[0]} cells",
        f". {_WAY_OUT}",
    )


def refuse_other_scale(cells: sparse.csr_matrix, suspects: Bool[np.ndarray, "b"], reading: float | None) -> None:
    """Refuse cells whose values speak, beyond doubt, for another scale than that of the matrix.

    Parameters
    ----------
    cells
        ``(b, n_vars)`` as they are stored; entries may be repeated or zero.
    suspects
        Mask of the cells that are examined, shape ``(b,)``.
    reading
        Base of the log1p of the matrix; ``None`` for linear values.

    Raises
    ------
    ValueError
        If there are such cells; the message names one of them.
    """
    rows = np.flatnonzero(suspects & (np.diff(cells.indptr) > 0))
    if not len(rows):
        return
    # This is an ordered copy: a stored zero would be the smallest value of its cell.
    values = sparse.csr_matrix(cells[rows], dtype=np.float64)
    values.sum_duplicates()
    values.eliminate_zeros()
    full = np.diff(values.indptr) > 0
    rows, values = rows[full], values[full]
    if not len(rows):
        return
    found = verdicts(values, _BEYOND_DOUBT)
    other = (found >= 0) & (found != (None, *BASES).index(reading))
    if other.any():
        first = int(np.flatnonzero(other)[0])
        seen = name_of((None, *BASES)[found[first]])
        raise RefusedCell(
            f"All cells must be on one scale. Got {name_of(reading)} in most, and {seen} in {int(other.sum())} of this "
            f"block of {cells.shape[0]} cells, such as",
            int(rows[first]),
            "",
            f". {_WAY_OUT}",
        )


def fractional_rows(cells: sparse.csr_matrix) -> Bool[np.ndarray, "b"]:
    """Tell which cells have a value that is not whole."""
    odd = np.zeros(cells.shape[0], dtype=bool)
    if has_fraction(cells.data):
        full = np.flatnonzero(np.diff(cells.indptr) > 0)
        odd[full] = ~np.minimum.reduceat(is_whole(cells.data), cells.indptr[full])
    return odd


def rows_within_logs(cells: sparse.csr_matrix) -> Bool[np.ndarray, "b"]:
    """Tell which cells have no value that is too large for a logarithm."""
    within = np.zeros(cells.shape[0], dtype=bool)
    full = np.flatnonzero(np.diff(cells.indptr) > 0)
    if len(full):
        within[full] = np.maximum.reduceat(cells.data, cells.indptr[full]) <= LARGEST_LOG
    return within


@compiled
def has_fraction(data: np.ndarray) -> bool:
    """Tell whether a value is not whole; work in parts, so that the loop can use vectors and still end early."""
    for start in range(0, data.size, 4096):
        part = data[start : start + 4096]
        odd = 0
        for i in range(part.size):
            odd += np.floor(part[i]) != part[i]
        if odd:
            return True
    return False
