"""Detect what an expression matrix holds (counts, normalised, logged), and bring it back to the linear scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy import sparse

from genemamba_sc._warn import warn
from genemamba_sc.data.cells import _scale_rules as rules
from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._evidence import (
    LARGEST_LOG,
    PARTLY_WHOLE,
    Sample,
    draw_sample,
    is_whole,
    name_of,
    share_of_whole,
)
from genemamba_sc.data.cells._scale_check import fractional_rows, refuse_other_scale, refuse_too_large, rows_within_logs

Scale = Literal["counts", "normalised", "log1p", "log2", "log10"]
"""What a user can say of a matrix: whole counts; linear, but not whole (CP10k, CPM, TPM, corrected counts); or
log(1 + x) of linear values with base e, 2 or 10."""

_BASE_OF = {"log1p": float(np.e), "log2": 2.0, "log10": 10.0}
# If the values of a cell are whole multiples of its smallest value, they are turned back into the counts they were.
_WHOLE_SHARE = 0.95

WAY_OUT = (
    "Pass the layer that holds the counts, e.g. layer='counts', or go back to them, e.g. "
    "adata = adata.raw.to_adata(), if adata.raw holds them."
)


@dataclass(frozen=True)
class Expression:
    """Describe the scale of an expression matrix.

    Attributes
    ----------
    kind
        ``"counts"`` (whole numbers), ``"normalised"`` (linear, not whole: scaled to equal sums, corrected for ambient
        RNA, or estimated) or ``"log1p"``.
    log_base
        Base of the logarithm for ``"log1p"``, else ``None``.
    reason
        One sentence for the user: what was seen, and what follows from it.
    assumed
        Whether the values do not tell the scale, so that this is only the most likely one.
    stated
        Whether the user stated the scale.
    """

    kind: Literal["counts", "normalised", "log1p"]
    log_base: float | None
    reason: str
    assumed: bool = False
    stated: bool = False


def detect_expression(
    reader: CellReader, *, uns: Mapping[str, Any] | None = None, where: str = "adata.X", scale: str | None = None
) -> Expression:
    """Find out on which scale a matrix is, or refuse it.

    Rank tokens divide by a gene's median *on the linear scale*, so a wrong answer would silently reorder the genes of
    every cell. The function looks at up to 1,024 cells spread over the file; the choice is deterministic.

    The strongest evidence survives normalisation, any target sum, logarithms and the removal of genes: within a cell,
    values that come from counts are whole multiples of one unit (the cell's scaled count of one). It is looked for in
    the values themselves, and in the values freed of log1p with base e, 2 and 10, cell by cell; cells that speak for
    different scales are refused. Next come sums: of the usual 10,000 or a million in a cell, or equal in all cells (as
    in TPM); then ``uns["log1p"]``, then the size of the values. Corrected or estimated counts (SoupX, kallisto) are
    uneven, and partly whole or large: they are ``"normalised"``, that is, taken as linear.

    Values scaled *per gene* cannot be put back on the linear scale. They are refused when they show it: negative values
    (z-scores), the same standard deviation in every gene (``scale(zero_center=False)``), z-scores cut at zero, no value
    above 1 (scaled by each gene's maximum). If nothing of the above is seen, the most likely scale is assumed, with a
    warning: among logarithms, the base under which the cells' sums differ least.

    Parameters
    ----------
    reader
        The cells.
    uns
        ``adata.uns``: ``uns["log1p"]["base"]`` settles what the values alone leave open. It describes ``X``; if the
        values contradict it (a layer of counts in an object whose ``X`` is logged), the values win.
    where
        Name of the matrix in messages.
    scale
        The scale, for users who know it; it is believed unless a value contradicts it. ``None`` detects the scale.

    Returns
    -------
    Expression
        Scale, log base and the reason.

    Raises
    ------
    ValueError
        If there are no cells or no genes, no value differs from zero, a value is negative, NaN or infinite, cells are
        on different scales, ``scale`` is contradicted, or the values have been scaled per gene, square-rooted or logged
        twice.

    Warns
    -----
    UserWarning
        If the scale is assumed.
    """
    sample = draw_sample(reader, where, WAY_OUT)
    if scale is not None:
        return _stated(sample, scale, where)
    rules.refuse_mixture(sample, where)
    found = _from_counts(sample) or _of_reading(rules.from_multiples(sample, where, WAY_OUT))
    if found is None:
        rules.refuse_gene_scaled(sample.values, where, WAY_OUT)
        found = _from_partly_whole(sample) or _of_reading(rules.from_sums(sample))
        found = found or _from_size(sample, _recorded_base(uns), where)
    if found.assumed:
        warn(
            f"The scale of {where} cannot be told from its values: {found.reason}. If that is wrong, say what they "
            f"are with scale=, one of {get_args(Scale)} (on the command line --scale), or pass the counts."
        )
    return found


def to_linear(cells: sparse.csr_matrix, expression: Expression) -> sparse.csr_matrix:
    """Put cells on the linear scale, each up to a factor of its own.

    Parameters
    ----------
    cells
        ``(b, n_vars)`` as they are stored, entries of a gene in one place.
    expression
        What :func:`detect_expression` found.

    Returns
    -------
    scipy.sparse.csr_matrix
        Linear cells, ``(b, n_vars)``. Counts are ``cells`` itself, unchanged. Other scales give float64. A cell whose
        linear values are whole multiples of its smallest one comes back as these multiples, the counts it was made
        from, so that equal counts stay equal, whatever was done to the cell since. Other cells come back as
        ``base ** x - 1``, or as they are.

    Raises
    ------
    ValueError
        If values of a cell speak for another scale than that of the matrix, unless that was stated.

    Notes
    -----
    The factor has no effect on rank tokens, which divide by the total of the cell.
    """
    if expression.kind == "counts":
        refuse_other_scale(cells, fractional_rows(cells), None)
        return cells
    data, suspects = cells.data.astype(np.float64), rows_within_logs(cells)
    if expression.kind == "log1p":
        refuse_too_large(cells)
        # float64 inside: expm1 of a float32 log loses up to two digits more.
        data = np.expm1(data * np.log(expression.log_base or float(np.e)))
    linear, are_counts = _as_counts(data, cells.indptr)
    if not expression.stated:
        refuse_other_scale(cells, suspects & ~are_counts, expression.log_base)
    return sparse.csr_matrix((linear, cells.indices, cells.indptr), shape=cells.shape, copy=False)


def _as_counts(data: np.ndarray, indptr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace the values of each cell by whole multiples of its smallest value, where they are such; tell where."""
    full = np.flatnonzero(np.diff(indptr) > 0)
    are_counts = np.zeros(len(indptr) - 1, dtype=bool)
    if not len(full):
        return data, are_counts
    starts, sizes = indptr[full], np.diff(indptr)[full]
    positive = np.where(data > 0, data, np.inf)
    unit = np.repeat(np.minimum.reduceat(positive, starts), sizes)
    ratio = data / unit
    multiple = np.rint(ratio)
    # A float32 logarithm of 10,000 leaves some five digits.
    near = np.abs(ratio - multiple) <= 0.02 + 1e-5 * np.where(np.isfinite(ratio), ratio, 0.0)
    several = ratio > 1.5
    n_several, n_near = (np.add.reduceat(mask.astype(np.int64), starts) for mask in (several, several & near))
    are_counts[full] = n_near >= _WHOLE_SHARE * n_several
    whole = np.repeat(are_counts[full], sizes) & np.isfinite(ratio)
    return np.where(whole & near, multiple, np.where(whole, ratio, data)), are_counts


def _stated(sample: Sample, scale: str, where: str) -> Expression:
    if scale not in get_args(Scale):
        raise ValueError(f"scale must be one of {get_args(Scale)}, or None to find out. Got {scale!r}.")
    reason = f"stated as {scale!r}"
    if scale == "counts":
        odd = sample.values.data[~is_whole(sample.values.data)]
        if odd.size:
            raise ValueError(
                f"Counts are whole numbers; {where} was stated as scale='counts' and holds {odd[0]:.4g}. "
                "Pass scale='normalised' for linear values that are not whole."
            )
        return Expression("counts", None, reason, stated=True)
    if scale == "normalised":
        return Expression("normalised", None, reason, stated=True)
    if sample.largest > LARGEST_LOG:
        raise ValueError(
            f"A logarithm of expression is at most {LARGEST_LOG:g}; {where} was stated as scale={scale!r} and holds "
            f"{sample.largest:.4g}. Pass scale='normalised' for linear values, 'counts' for counts."
        )
    return Expression("log1p", _BASE_OF[scale], reason, stated=True)


def _recorded_base(uns: Mapping[str, Any] | None) -> float | None:
    """Read the base that scanpy's log1p noted in ``uns``; e where it noted none (files drop a base of None)."""
    record = (uns or {}).get("log1p")
    if record is None:
        return None
    base = record.get("base") if isinstance(record, Mapping) else None
    if base is None:
        return float(np.e)
    try:
        number = float(np.ravel(np.asarray(base))[0])
    except (TypeError, ValueError, IndexError):
        return float(np.e) if str(base).strip().lower() == "e" else None
    return number if number > 1 and np.isfinite(number) else None


def _from_counts(sample: Sample) -> Expression | None:
    if not is_whole(sample.values.data).all():
        return None
    seen = f"all values are whole numbers up to {sample.largest:.0f} in {sample.values.shape[0]} cells"
    if sample.largest <= 1:
        return Expression(
            "counts", None, f"{seen}: present or absent only, so the order of genes follows from their medians alone"
        )
    return Expression("counts", None, f"{seen}: counts")


def _from_partly_whole(sample: Sample) -> Expression | None:
    whole = share_of_whole(sample.values.data)
    if whole <= PARTLY_WHOLE:
        return None
    seen = f"values up to {sample.largest:,.4g}, {whole:.0%} of them whole"
    return Expression("normalised", None, f"{seen}: taken as corrected or estimated counts, not logged")


def _of_reading(found: "rules.Found | None") -> Expression | None:
    if found is None:
        return None
    return Expression("normalised" if found.reading is None else "log1p", found.reading, found.reason)


def _from_size(sample: Sample, recorded: float | None, where: str) -> Expression:
    """Decide where neither a unit nor a sum tells the scale."""
    largest = sample.largest
    if largest > LARGEST_LOG:
        seen = f"values up to {largest:,.4g}, which no logarithm reaches"
        return Expression("normalised", None, f"{seen}: taken as linear")
    if recorded is not None:
        return Expression("log1p", recorded, f"values up to {largest:.3g}, and uns['log1p'] records a logarithm")
    if largest <= 1:
        raise ValueError(
            f"Expression must be counts, normalised or log1p; the values of {where} lie between 0 and {largest:.4g} "
            f"without a common sum or unit per cell, as after scaling each gene by its maximum. {WAY_OUT}"
        )
    base = rules.most_even_base(sample.values)
    if base is None:
        seen = f"values up to {largest:.3g}, but undoing a log would give cells very unequal sums"
        return Expression("normalised", None, f"{seen}, so they are assumed to be linear", assumed=True)
    seen = f"no value is above {largest:.3g}, few are whole, and no log base is recorded"
    return Expression("log1p", base, f"{seen}, so they are assumed to be {name_of(base)}", assumed=True)
