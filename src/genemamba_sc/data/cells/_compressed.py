"""Whether the arrays of a sparse matrix describe one: the libraries that compute with them do not look."""

from typing import Any

import numpy as np

_WAY_OUT = "The matrix is damaged: copy the file again, or write it anew."


def check_compressed(matrix: Any, *, columns: bool = True) -> None:
    """Refuse a sparse matrix whose arrays point outside of each other, before memory is read there.

    Parameters
    ----------
    matrix
        CSR or CSC, with ``indptr``, ``indices`` and ``data``.
    columns
        Whether to look at all of ``indices``, too.

    Raises
    ------
    ValueError
        If its rows (columns of CSC) do not follow each other within the entries, or an entry is outside the matrix.
    """
    major, minor = matrix.shape if matrix.format == "csr" else matrix.shape[::-1]
    check_starts(matrix.indptr, major, min(len(matrix.indices), len(matrix.data)))
    if columns:
        check_entries(matrix.indices, minor)


def check_starts(starts: np.ndarray, n_rows: int, n_entries: int) -> None:
    """Refuse rows that do not follow each other within the entries.

    Parameters
    ----------
    starts
        Where each row begins, and where the last one ends.
    n_rows, n_entries
        How many there are.

    Raises
    ------
    ValueError
        If they do not.
    """
    fits = starts.ndim == 1 and len(starts) == n_rows + 1 and starts.dtype.kind in "iu"
    if not fits or starts[0] != 0 or int(starts[-1]) > n_entries or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f"The {n_rows:,} rows (of CSC: columns) of a sparse matrix must follow each other within its {n_entries:,} "
            f"entries. Got starts (indptr) that do not. {_WAY_OUT}"
        )


def check_entries(indices: np.ndarray, n_columns: int) -> None:
    """Refuse entries outside of a matrix.

    Parameters
    ----------
    indices
        Their columns (of CSC: rows).
    n_columns
        How many there are.

    Raises
    ------
    ValueError
        If an entry is outside.
    """
    least, most = (int(indices.min()), int(indices.max())) if len(indices) else (0, -1)
    if indices.dtype.kind not in "iu" or least < 0 or most >= n_columns:
        raise ValueError(
            f"The entries of a sparse matrix must lie in its {n_columns:,} columns (of CSC: rows). Got numbers "
            f"(indices) from {least} to {most}. {_WAY_OUT}"
        )
