"""Find what the values of a matrix tell about their scale: whole numbers, multiples of a unit per cell, sums of cells.

Evidence within a cell comes first. It holds for a cell alone as for the same cell among others, so that the scale of a
cell does not depend on its neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy import sparse

from genemamba_sc.data.cells._cells import CellReader

# The sample consists of runs of adjacent cells (cheap to read from a file), spread over the whole file (files are often
# sorted by batch).
_RUNS, _RUN_LENGTH = 32, 32

BASES: tuple[float, ...] = (float(np.e), 2.0, 10.0)
# log2(1 + x) of a million is 20: no logged expression reaches this.
LARGEST_LOG = 22.0
# Values that are neither counts nor their multiples are whole by chance in one of 50,000 cases; this share of whole
# ones remains after a correction that spared some of the counts.
PARTLY_WHOLE = 0.05
# Share of whole values between 1.5 and 3.5 up to which these can be log2 of counts.
_WHOLE_OF_LOW = 0.6

Undo = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Confidence:
    """Say how much evidence a verdict on one cell needs.

    Parameters
    ----------
    least
        Least number of ratios to the cell's smallest value that can be judged.
    sure
        Share of them that must be whole under a reading.
    unsure
        Share that may be whole under any other reading.
    """

    least: int = 8
    sure: float = 0.8
    unsure: float = 0.5


@dataclass(frozen=True, eq=False)
class Sample:
    """Hold cells of a matrix that are looked at.

    Parameters
    ----------
    rows
        Row numbers of the cells, shape ``(n,)``; cells without counts are left out.
    values
        Values of the cells in float64, ``(n, n_vars)``.
    """

    rows: Integer[np.ndarray, "n"]
    values: sparse.csr_matrix

    @property
    def largest(self) -> float:
        """The largest value."""
        return float(self.values.data.max())


def draw_sample(reader: CellReader, where: str, way_out: str) -> Sample:
    """Take up to 1,024 cells spread over the file; refuse values that no scale can explain.

    Parameters
    ----------
    reader
        The cells.
    where
        Name of the matrix in messages.
    way_out
        What the user can do, for the end of messages.

    Raises
    ------
    ValueError
        If there are no cells, genes or values, or a value is negative, NaN or infinite.
    """
    if reader.n_obs == 0 or reader.n_vars == 0:
        raise ValueError(
            f"{where} must hold at least one cell and one gene; got {reader.n_obs} cells x {reader.n_vars} genes."
        )
    rows = _spread_rows(reader.n_obs)
    cells = reader.read(rows)
    if not np.isfinite(cells.data).all():
        bad = cells.data[~np.isfinite(cells.data)][0]
        raise ValueError(f"Expression must be finite; {where} holds {bad}. Remove or fill such values. {way_out}")
    if cells.nnz and cells.data.min() < 0:
        raise ValueError(
            f"Expression must not be negative; the smallest value of {where} is {cells.data.min():.4g}, so it is "
            f"scaled, centred or corrected data, from which a gene's level cannot be recovered. {way_out}"
        )
    if cells.nnz == 0:
        raise ValueError(
            f"{where} must hold expression; all {rows.size} cells looked at (of {reader.n_obs}) are zero. {way_out}"
        )
    full = np.diff(cells.indptr) > 0
    cells = cells[full]
    values = sparse.csr_matrix((cells.data.astype(np.float64), cells.indices, cells.indptr), shape=cells.shape)
    return Sample(rows[full], values)


def _spread_rows(n_obs: int) -> Integer[np.ndarray, "n"]:
    if n_obs <= _RUNS * _RUN_LENGTH:
        return np.arange(n_obs)
    starts = np.linspace(0, n_obs - _RUN_LENGTH, _RUNS).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(_RUN_LENGTH))


def is_whole(values: Float[np.ndarray, "m"]) -> Bool[np.ndarray, "m"]:
    """Tell which values are whole numbers, up to rounding in float32."""
    return np.abs(values - np.rint(values)) <= 1e-5 * np.maximum(values, 1.0)


def share_of_whole(values: Float[np.ndarray, "m"]) -> float:
    """Compute the share of whole numbers among the values below 1,000; beyond, float32 has too few digits to tell."""
    small = values[values < 1000]
    return float(np.mean(is_whole(small))) if small.size else 0.0


def possible_bases(values: Float[np.ndarray, "m"]) -> tuple[float, ...]:
    """Return the bases that values can be logarithms with, judged by how many of them are whole.

    Logarithms of anything but small counts are never whole. With base 2 those of the counts 1, 3 and 7 are whole; those
    of 2, 4, 5 and 6 lie between them and are not.
    """
    if float(values.max()) > LARGEST_LOG:
        return ()
    if share_of_whole(values) <= PARTLY_WHOLE:
        return BASES
    return (2.0,) if share_of_whole(values[(values > 1.5) & (values < 3.5)]) <= _WHOLE_OF_LOW else ()


def unlog(base: float) -> Undo:
    """Return the inverse of ``log1p`` with a base."""
    return lambda values: np.expm1(values * np.log(base))


def ratios_to_unit(
    values: sparse.csr_matrix, undo: Undo
) -> tuple[Float[np.ndarray, "nnz"], Bool[np.ndarray, "nnz"], Bool[np.ndarray, "nnz"]]:
    """Divide each value by the smallest of its cell; tell which ratios can be judged, and which are whole.

    Only ratios above 1 (others say nothing) and below 200 (beyond, float32 blurs them) are judged; 1 % would be whole
    by chance.

    Parameters
    ----------
    values
        Cells, none of them empty.
    undo
        Function that brings the values to the linear scale under test.
    """
    linear = undo(values.data)
    unit = np.minimum.reduceat(linear, values.indptr[:-1])
    ratio = linear / np.repeat(unit, np.diff(values.indptr))
    judged = (ratio > 1.5) & (ratio < 200)
    return ratio, judged, judged & (np.abs(ratio - np.rint(ratio)) < 0.005)


def share_of_multiples(values: sparse.csr_matrix, undo: Undo) -> float:
    """Compute the share of the judged values of all cells that are whole multiples of their cell's smallest."""
    _, judged, whole = ratios_to_unit(values, undo)
    return float(whole.sum() / judged.sum()) if judged.sum() >= 5 else 0.0


def cell_sums(values: sparse.csr_matrix, undo: Undo = np.asarray) -> Float[np.ndarray, "n"]:
    """Add up each cell on the linear scale under test."""
    return np.add.reduceat(undo(values.data), values.indptr[:-1])


def readings(largest: float) -> tuple[float | None, ...]:
    """Return the readings that values up to ``largest`` allow: linear (``None``), or log1p with a base."""
    return (None, *BASES) if largest <= LARGEST_LOG else (None,)


def undo_of(reading: float | None) -> Undo:
    """Return the function that brings a reading to the linear scale."""
    return np.asarray if reading is None else unlog(reading)


def verdicts(values: sparse.csr_matrix, confidence: Confidence = Confidence()) -> Int[np.ndarray, "n"]:
    """Judge each cell alone: the position in ``(None, *BASES)`` of the only reading that fits, or -1.

    A cell speaks for a reading if nearly all its values are whole multiples of its smallest one under it, and under no
    other reading. A cell of whole numbers is linear. (Under base 2 whole numbers would be multiples, too; but the
    logarithms of counts are whole for 1, 3, 7, ... only, so several whole values of 2 and more settle it.)

    Parameters
    ----------
    values
        Cells, none of them empty, no stored zeros.
    confidence
        Evidence that a verdict needs.
    """
    starts = values.indptr[:-1]
    shares = np.zeros((1 + len(BASES), len(starts)))
    whole = np.add.reduceat(is_whole(values.data).astype(np.int64), starts) / np.diff(values.indptr)
    low = (values.data > 1.5) & (values.data < 3.5)
    n_low, n_whole_low = (np.add.reduceat(m.astype(np.int64), starts) for m in (low, low & is_whole(values.data)))
    may_be_base_2 = n_whole_low <= _WHOLE_OF_LOW * n_low
    may_be_log = np.maximum.reduceat(values.data, starts) <= LARGEST_LOG
    for i, reading in enumerate((None, *BASES)):
        shares[i] = _shares_of_whole(values, reading, confidence.least)
        if reading is not None:
            shares[i] *= may_be_log
            shares[i] *= may_be_base_2 if reading == 2.0 else whole <= PARTLY_WHOLE
    best = shares.argmax(axis=0)
    second = np.sort(shares, axis=0)[-2]
    found = np.where((shares.max(axis=0) >= confidence.sure) & (second <= confidence.unsure), best, -1)
    whole_cell = np.minimum.reduceat(is_whole(values.data), starts)
    n_above_one = np.add.reduceat((values.data > 1.5).astype(np.int64), starts)
    found[whole_cell & (n_above_one >= confidence.least)] = 0
    return found


def _shares_of_whole(values: sparse.csr_matrix, reading: float | None, least: int) -> Float[np.ndarray, "n"]:
    """Compute the share of each cell's judged values that are multiples of its smallest; 0 if too few can be judged."""
    starts = values.indptr[:-1]
    bounded = values.copy()
    if reading is not None:  # what no logarithm reaches would overflow
        bounded.data = np.minimum(values.data, LARGEST_LOG)
    _, judged, whole = ratios_to_unit(bounded, undo_of(reading))
    n_judged, n_whole = (np.add.reduceat(mask.astype(np.int64), starts) for mask in (judged, whole))
    return np.where(n_judged >= least, n_whole / np.maximum(n_judged, 1), 0.0)


def name_of(reading: float | None) -> str:
    """Put a reading into words."""
    if reading is None:
        return "linear"
    return f"log1p with base {'e' if reading == float(np.e) else f'{reading:g}'}"
