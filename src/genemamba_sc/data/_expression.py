"""What the numbers of an expression matrix are (counts, normalised, logged), and the way back to the linear scale."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from genemamba_sc.data._cells import CellReader

# Cells looked at: runs of adjacent cells (cheap to read from a file) spread over the whole file (files are often
# sorted by batch).
_RUNS, _RUN_LENGTH = 32, 32

# log2(1 + x) of a million is 20: no logged expression reaches this.
_LARGEST_LOG = 22.0
# Share of values that must be whole multiples of their cell's smallest value; measured: 1.00 on every data set made
# from counts, at most 0.06 on any other.
_MULTIPLES = 0.6
# 5th to 95th percentile of the cells' sums, relative to their median, up to which sums count as equal.
_EQUAL_SUMS = 0.05
# Sums beyond this are the work of one huge value, not of a target sum (a million in TPM and CPM).
_LARGEST_SUM = 1e8

_BASES: tuple[float, ...] = (float(np.e), 2.0, 10.0)
_WAY_OUT = (
    "Pass the layer that holds the counts, e.g. layer='counts', or go back to them, e.g. "
    "adata = adata.raw.to_adata(), if adata.raw holds them."
)


@dataclass(frozen=True)
class Expression:
    """The scale of an expression matrix.

    Attributes
    ----------
    kind
        ``"counts"`` (whole numbers), ``"normalised"`` (linear, not whole: scaled to equal sums, corrected for ambient
        RNA, or estimated) or ``"log1p"``.
    log_base
        Base of the logarithm for ``"log1p"``, else ``None``.
    reason
        One sentence for the user: what was seen, and what follows from it.
    """

    kind: Literal["counts", "normalised", "log1p"]
    log_base: float | None
    reason: str


def detect_expression(
    reader: CellReader, *, uns: Mapping[str, Any] | None = None, where: str = "adata.X"
) -> Expression:
    """Find out on which scale a matrix is, or refuse it.

    Rank tokens divide by a gene's median *on the linear scale*, so a wrong answer would silently reorder the genes of
    every cell. Up to 1,024 cells spread over the file are looked at; the choice is deterministic.

    The strongest evidence survives normalisation, any target sum, logarithms and the removal of genes: within a cell,
    values that come from counts are whole multiples of one unit (the cell's scaled count of one). It is looked for in
    the values themselves, and in the values freed of log1p with base e, 2 and 10. Next come equal sums per cell (also
    true of TPM), then ``uns["log1p"]``, then the size of the values. Corrected or estimated counts (SoupX, kallisto)
    are large, uneven and not whole: ``"normalised"``, that is, taken as linear.

    Values scaled *per gene* cannot be put back on the linear scale. They are refused when they show it: negative
    values (z-scores), the same standard deviation in every gene (``scale(zero_center=False)``), z-scores cut at zero,
    no value above 1 (scaled by each gene's maximum). Non-negative values on which nothing above is seen are taken as
    linear when they exceed 22 (no logarithm of expression does) or undoing a log would give absurd sums, else as
    natural log1p; the reason says that this is an assumption.

    Parameters
    ----------
    reader
        The cells.
    uns
        ``adata.uns``: ``uns["log1p"]["base"]`` settles what the values alone leave open. It describes ``X``; if the
        values contradict it (a layer of counts in an object whose ``X`` is logged), the values win.
    where
        What to call the matrix in messages.

    Returns
    -------
    Expression
        Scale, log base and the reason.

    Raises
    ------
    ValueError
        If there are no cells or no genes, no value differs from zero, a value is negative, NaN or infinite, or the
        values have been scaled per gene, square-rooted or logged twice.
    """
    values = _sample(reader, where)
    log_base = _recorded_base(uns)
    found = _from_counts(values) or _from_multiples(values, where)
    if found is None:
        _refuse_gene_scaled(values, where)
        found = _from_sums(values) or _from_size(values, log_base, where)
    return found


def to_linear(cells: sparse.csr_matrix, expression: Expression) -> sparse.csr_matrix:
    """Put cells on the linear scale.

    Parameters
    ----------
    cells
        ``(b, n_vars)`` as they are stored.
    expression
        What :func:`detect_expression` found.

    Returns
    -------
    scipy.sparse.csr_matrix
        ``(b, n_vars)`` float32: ``base ** x - 1`` for ``"log1p"``; otherwise ``cells`` itself, unchanged.
    """
    if expression.kind != "log1p":
        return cells
    base = expression.log_base or float(np.e)
    # float64 inside: expm1 of a float32 log loses up to two digits more.
    data = np.expm1(cells.data.astype(np.float64) * np.log(base)).astype(np.float32)
    return sparse.csr_matrix((data, cells.indices, cells.indptr), shape=cells.shape, copy=False)


def _sample(reader: CellReader, where: str) -> sparse.csr_matrix:
    """Cells spread over the file, in float64, without empty ones; refuses what no scale can explain."""
    if reader.n_obs == 0 or reader.n_vars == 0:
        raise ValueError(
            f"{where} must hold at least one cell and one gene; got {reader.n_obs} cells x {reader.n_vars} genes."
        )
    if reader.n_obs <= _RUNS * _RUN_LENGTH:
        rows = np.arange(reader.n_obs)
    else:
        starts = np.linspace(0, reader.n_obs - _RUN_LENGTH, _RUNS).astype(np.int64)
        rows = np.unique(starts[:, None] + np.arange(_RUN_LENGTH))
    cells = reader.read(rows)
    if not np.isfinite(cells.data).all():
        bad = cells.data[~np.isfinite(cells.data)][0]
        raise ValueError(f"Expression must be finite; {where} holds {bad}. Remove or fill such values. {_WAY_OUT}")
    if cells.nnz and cells.data.min() < 0:
        raise ValueError(
            f"Expression must not be negative; the smallest value of {where} is {cells.data.min():.4g}, so it is "
            f"scaled, centred or corrected data, from which a gene's level cannot be recovered. {_WAY_OUT}"
        )
    if cells.nnz == 0:
        raise ValueError(
            f"{where} must hold expression; all {rows.size} cells looked at (of {reader.n_obs}) are zero. {_WAY_OUT}"
        )
    cells = cells[np.diff(cells.indptr) > 0]
    return sparse.csr_matrix((cells.data.astype(np.float64), cells.indices, cells.indptr), shape=cells.shape)


def _recorded_base(uns: Mapping[str, Any] | None) -> float | None:
    """Read the base that scanpy's log1p noted in ``uns``; e where it noted none (files drop a base of None)."""
    record = (uns or {}).get("log1p")
    if record is None:
        return None
    base = record.get("base") if isinstance(record, Mapping) else None
    return float(np.e) if base is None else float(base)


def _whole(values: np.ndarray) -> np.ndarray:
    return np.abs(values - np.rint(values)) <= 1e-5 * np.maximum(values, 1.0)


def _from_counts(values: sparse.csr_matrix) -> Expression | None:
    if not _whole(values.data).all():
        return None
    largest = values.data.max()
    seen = f"all values are whole numbers up to {largest:.0f} in {values.shape[0]} cells"
    if largest <= 1:
        return Expression(
            "counts", None, f"{seen}: present or absent only, so the order of genes follows from their medians alone"
        )
    return Expression("counts", None, f"{seen}: counts")


def _unlog(base: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: np.expm1(values * np.log(base))


def _multiples(values: sparse.csr_matrix, undo: Callable[[np.ndarray], np.ndarray]) -> float:
    """Share of values that are whole multiples of the smallest value of their cell.

    Only multiples above 1 (others say nothing) and below 200 (beyond, float32 blurs them) are judged; 1 % would be
    whole by chance.
    """
    linear = undo(values.data)
    unit = np.minimum.reduceat(linear, values.indptr[:-1])
    ratio = linear / np.repeat(unit, np.diff(values.indptr))
    ratio = ratio[(ratio > 1.5) & (ratio < 200)]
    return float(np.mean(np.abs(ratio - np.rint(ratio)) < 0.005)) if ratio.size >= 5 else 0.0


def _from_multiples(values: sparse.csr_matrix, where: str) -> Expression | None:
    logged = values.data.max() <= _LARGEST_LOG
    shares = {base: _multiples(values, _unlog(base)) for base in _BASES} if logged else {}
    base = max(shares, key=lambda base: shares[base], default=None)
    share = _multiples(values, np.asarray)
    if base is not None and shares[base] >= max(_MULTIPLES, share):
        sums = _sums(values, _unlog(base))
        seen = f"{shares[base]:.0%} of the values are whole multiples of one unit per cell after undoing"
        return Expression(
            "log1p", base, f"{seen} log1p with base {_name(base)} (cells then sum to about {np.median(sums):,.0f})"
        )
    if share >= _MULTIPLES:
        seen = f"{share:.0%} of the values are whole multiples of one unit per cell"
        return Expression("normalised", None, f"{seen}: counts scaled per cell, not logged")
    # Kept for last: squares of multiples are multiples too.
    if _multiples(values, np.square) >= _MULTIPLES:
        raise ValueError(f"Expression must be linear or log1p; the values of {where} are square roots. {_WAY_OUT}")
    if values.data.max() <= np.log1p(_LARGEST_LOG) and _multiples(values, lambda x: np.expm1(np.expm1(x))) >= 0.6:
        raise ValueError(f"Expression must be logged once at most; {where} was logged twice. {_WAY_OUT}")
    return None


def _sums(values: sparse.csr_matrix, undo: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.add.reduceat(undo(values.data), values.indptr[:-1])


def _from_sums(values: sparse.csr_matrix) -> Expression | None:
    """TPM and the like: no common unit, but every cell has the same sum."""
    if values.shape[0] < 3:
        return None
    candidates: list[float | None] = [None, *(_BASES if values.data.max() <= _LARGEST_LOG else ())]
    for base in candidates:
        sums = _sums(values, np.asarray if base is None else _unlog(base))
        low, middle, high = np.percentile(sums, [5, 50, 95])
        if high - low > _EQUAL_SUMS * middle or high > _LARGEST_SUM:
            continue
        if base is None:
            return Expression("normalised", None, f"the values of each cell sum to about {middle:,.4g}: not logged")
        seen = f"each cell sums to about {middle:,.0f} after undoing log1p with base {_name(base)}"
        return Expression("log1p", base, seen)
    return None


def _refuse_gene_scaled(values: sparse.csr_matrix, where: str) -> None:
    """Refuse non-negative values that carry the mark of scaling per gene."""
    n_cells = values.shape[0]
    columns = values.tocsc()
    often = np.diff(columns.indptr) >= 0.2 * n_cells  # genes seen often enough for their spread to be known
    if n_cells < 100 or often.sum() < 20:
        return
    square = np.asarray(columns.power(2).mean(axis=0)).ravel()[often]
    spread = np.sqrt(square - np.asarray(columns.mean(axis=0)).ravel()[often] ** 2)
    q1, q2, q3 = np.percentile(spread, [25, 50, 75])
    if (q3 - q1) / q2 < 0.1:
        seen = f"have nearly the same standard deviation in every gene ({q1:.3g} to {q3:.3g})"
    elif np.percentile(square, 5) > 0.2 and np.percentile(square, 95) < 1.0 < values.data.max():
        # Cutting z-scores at zero leaves less than their variance, 1, in every gene (measured: 0.2 to 0.85); logged
        # expression has genes far above.
        seen = "look like z-scores cut at zero (no gene has a mean square above 1)"
    else:
        return
    raise ValueError(f"Expression must not be scaled per gene; the values of {where} {seen}. {_WAY_OUT}")


def _from_size(values: sparse.csr_matrix, log_base: float | None, where: str) -> Expression:
    """Decide what neither a unit nor a sum tells."""
    largest, whole = values.data.max(), float(np.mean(_whole(values.data)))
    if largest > _LARGEST_LOG or whole > 0.3:
        seen = f"values up to {largest:,.4g}, {whole:.0%} of them whole"
        return Expression("normalised", None, f"{seen}: taken as corrected or estimated counts, not logged")
    if log_base is not None:
        return Expression("log1p", log_base, f"values up to {largest:.3g}, and uns['log1p'] records a logarithm")
    if largest <= 1:
        raise ValueError(
            f"Expression must be counts, normalised or log1p; the values of {where} lie between 0 and {largest:.4g} "
            f"without a common sum or unit per cell, as after scaling each gene by its maximum. {_WAY_OUT}"
        )
    sums = _sums(values, np.expm1)
    if sums.std() <= sums.mean():
        seen = f"no value of {where} is above {largest:.3g}, few are whole, and no log base is recorded"
        return Expression("log1p", float(np.e), f"{seen}: natural log1p assumed")
    seen = f"values up to {largest:.3g}, but undoing a log would give cells very unequal sums"
    return Expression("normalised", None, f"{seen}: taken as linear")


def _name(base: float) -> str:
    return "e" if base == float(np.e) else f"{base:g}"
