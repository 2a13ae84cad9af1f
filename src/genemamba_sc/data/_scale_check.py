"""A check of every block that is read: its values must fit the scale that a sample of the cells showed."""

import numpy as np
from scipy import sparse

from genemamba_sc.data._evidence import LARGEST_LOG, is_whole, name_of, verdicts
from genemamba_sc.data._ranking import compiled


def check_scale(cells: sparse.csr_matrix, kind: str) -> None:
    """Refuse a block with cells on another scale than the matrix: the sample did not meet them.

    Parameters
    ----------
    cells
        ``(b, n_vars)`` as they are stored, in canonical form or not.
    kind
        ``"counts"`` or ``"log1p"``; linear values of other kinds are not looked at.

    Raises
    ------
    ValueError
        If counts stand beside logarithms, or logarithms beside values that none can reach.
    """
    if kind == "counts" and has_fraction(cells.data):
        _refuse_logs(cells)
    elif kind == "log1p" and cells.nnz and cells.data.max() > LARGEST_LOG:
        entry = int(cells.data.argmax())
        row = int(np.searchsorted(cells.indptr, entry, side="right")) - 1
        raise ValueError(
            f"All cells must be on one scale. Got logarithms in most, and {cells.data[entry]:g}, which is none, in row "
            f"{row} of this block of {cells.shape[0]} cells. {_WAY_OUT}"
        )


_WAY_OUT = "Bring all cells to one scale, e.g. keep counts in a layer of all parts before they are joined."


def _refuse_logs(cells: sparse.csr_matrix) -> None:
    """Refuse logarithms among counts; counts that were corrected are linear as well, and pass."""
    full = np.flatnonzero(np.diff(cells.indptr) > 0)
    odd = full[~np.minimum.reduceat(is_whole(cells.data), cells.indptr[full])]
    found = verdicts(sparse.csr_matrix(cells[odd], dtype=np.float64))
    if (found > 0).any():
        first = int(np.flatnonzero(found > 0)[0])
        base = (None, float(np.e), 2.0, 10.0)[int(found[first])]
        raise ValueError(
            f"All cells must be on one scale. Got counts in most, and {name_of(base)} in {int((found > 0).sum())} of "
            f"this block of {cells.shape[0]} cells, such as row {odd[first]}. {_WAY_OUT}"
        )


@compiled
def has_fraction(data: np.ndarray) -> bool:
    """Tell whether a value is not whole; in parts, so that the loop can use vectors and still end early."""
    for start in range(0, data.size, 4096):
        part = data[start : start + 4096]
        odd = 0
        for i in range(part.size):
            odd += np.floor(part[i]) != part[i]
        if odd:
            return True
    return False
