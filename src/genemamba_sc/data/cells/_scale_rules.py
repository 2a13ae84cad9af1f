"""Turn evidence into a scale, and refuse values that have none."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from genemamba_sc.data.cells._evidence import (
    BASES,
    LARGEST_LOG,
    Sample,
    cell_sums,
    name_of,
    possible_bases,
    readings,
    share_of_multiples,
    undo_of,
    unlog,
    verdicts,
)

# Share of values that must be whole multiples of their cell's smallest value; measured: 1.00 on every data set made
# from counts, at most 0.06 on any other.
_MULTIPLES = 0.6
# Largest spread of sums that counts as equal: 5th to 95th percentile of the cells' sums, relative to their median. Few
# cells agree by chance, so they have to agree better.
_EQUAL_SUMS, _EQUAL_SUMS_OF_FEW, _FEW_CELLS = 0.05, 0.005, 20
# Sums to which cells are usually scaled, how near a cell must come, and how many cells.
_CUSTOMARY_SUMS, _NEAR, _MOST = (1e4, 1e6), 0.002, 0.9
# Sums beyond this come from one huge value, not from a target sum (a million in TPM and CPM).
_LARGEST_SUM = 1e8
# A base other than e is assumed only where the sums then differ less by this factor.
_LESS = 0.7
# Cells of a second scale that are no accident: two, and this share of those that are judged.
_SECOND_SCALE = 0.02


@dataclass(frozen=True)
class Found:
    """Hold a reading that the values speak for.

    Parameters
    ----------
    reading
        Base of log1p, or ``None`` for linear values.
    reason
        What was seen in the values.
    """

    reading: float | None
    reason: str


def refuse_mixture(sample: Sample, where: str) -> None:
    """Refuse a matrix whose cells are on different scales.

    Raises
    ------
    ValueError
        If cells that speak for one scale stand beside cells that speak for another.
    """
    found = verdicts(sample.values)
    kinds = [np.flatnonzero(found == i) for i in range(1 + len(BASES))]
    least = max(2.0, _SECOND_SCALE * sum(map(len, kinds)))
    present = [(reading, cells) for reading, cells in zip((None, *BASES), kinds) if len(cells) >= least]
    if len(present) < 2:
        return
    parts = "; ".join(
        f"{name_of(reading)}: {len(cells)} of the cells looked at, such as rows "
        f"{', '.join(str(row) for row in sample.rows[cells[:3]])}"
        for reading, cells in present
    )
    raise ValueError(
        f"All cells must be on one scale; those of {where} are not ({parts}). Bring them to one scale before they are "
        "joined: keep counts in all parts, e.g. as a layer, and pass layer='counts'."
    )


def from_multiples(sample: Sample, where: str, way_out: str) -> Found | None:
    """Find the reading under which values are whole multiples of one unit per cell.

    Raises
    ------
    ValueError
        If they are so for their squares, or after undoing two logarithms.
    """
    values = sample.values
    shares = {base: share_of_multiples(values, unlog(base)) for base in possible_bases(values.data)}
    base = max(shares, key=lambda base: shares[base], default=None)
    linear = share_of_multiples(values, np.asarray)
    if base is not None and shares[base] >= max(_MULTIPLES, linear):
        middle = np.median(cell_sums(values, unlog(base)))
        seen = f"{shares[base]:.0%} of the values are whole multiples of one unit per cell after undoing"
        return Found(base, f"{seen} {name_of(base)} (cells then sum to about {middle:,.0f})")
    if linear >= _MULTIPLES:
        seen = f"{linear:.0%} of the values are whole multiples of one unit per cell"
        return Found(None, f"{seen}: counts scaled per cell, not logged")
    # This comes last: squares of multiples are multiples too.
    if share_of_multiples(values, np.square) >= _MULTIPLES:
        raise ValueError(f"Expression must be linear or log1p; the values of {where} are square roots. {way_out}")
    twice = sample.largest <= np.log1p(LARGEST_LOG)
    if twice and share_of_multiples(values, lambda x: np.expm1(np.expm1(x))) >= _MULTIPLES:
        raise ValueError(f"Expression must be logged once at most; {where} was logged twice. {way_out}")
    return None


def from_sums(sample: Sample) -> Found | None:
    """Find the reading under which cells have a usual sum, or all the same sum (TPM and the like have no unit)."""
    sums = {reading: cell_sums(sample.values, undo_of(reading)) for reading in readings(sample.largest)}
    # The nearest one is taken: a sum of logarithms can come near such a number too, but only by chance.
    away = {
        (reading, target): np.percentile(np.abs(found / target - 1), 100 * _MOST)
        for reading, found in sums.items()
        for target in _CUSTOMARY_SUMS
    }
    reading, target = min(away, key=lambda key: away[key])
    if away[reading, target] <= _NEAR:
        return Found(reading, _seen(reading, target))
    n_cells = sample.values.shape[0]
    if n_cells < 3:
        return None
    limit = _EQUAL_SUMS if n_cells >= _FEW_CELLS else _EQUAL_SUMS_OF_FEW
    spreads = {reading: _spread(found) for reading, found in sums.items()}
    reading = min(spreads, key=lambda reading: spreads[reading])
    if spreads[reading] > limit:
        return None
    return Found(reading, _seen(reading, float(np.median(sums[reading]))))


def _seen(reading: float | None, target: float) -> str:
    if reading is None:
        return f"the values of each cell sum to about {target:,.4g}: not logged"
    return f"each cell sums to about {target:,.0f} after undoing {name_of(reading)}"


def _spread(sums: np.ndarray) -> float:
    """Compute the spread of the cells' sums relative to their median; infinite where sums are absurd."""
    low, middle, high = np.percentile(sums, [5, 50, 95])
    return float("inf") if high > _LARGEST_SUM or not middle > 0 else float((high - low) / middle)


def most_even_base(values: sparse.csr_matrix) -> float | None:
    """Return the base under which the cells' sums differ least; e unless another is far better, or few cells tell.

    Returns
    -------
    The base; ``None`` where undoing a logarithm gives absurdly unequal sums.
    """
    natural = cell_sums(values, unlog(BASES[0]))
    if natural.std() > natural.mean():
        return None
    if len(natural) < _FEW_CELLS:
        return BASES[0]
    spreads = {base: _spread(cell_sums(values, unlog(base))) for base in BASES}
    best = min(spreads, key=lambda base: spreads[base])
    return best if spreads[best] < _LESS * spreads[BASES[0]] else BASES[0]


def refuse_gene_scaled(values: sparse.csr_matrix, where: str, way_out: str) -> None:
    """Refuse non-negative values that bear the mark of scaling per gene.

    Raises
    ------
    ValueError
        If genes have the same standard deviation, or look like z-scores cut at zero.
    """
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
        # expression has genes far above that.
        seen = "look like z-scores cut at zero (no gene has a mean square above 1)"
    else:
        return
    raise ValueError(f"Expression must not be scaled per gene; the values of {where} {seen}. {way_out}")
