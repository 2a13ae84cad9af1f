"""Make sets of cell types that hold the right one with a stated probability: split-conformal prediction.

Vovk, Gammerman & Shafer 2005 (doi:10.1007/b106715); for classes, Sadinle, Lei & Wasserman 2019
(doi:10.1080/01621459.2017.1395341). A type is in the set of a cell if the calibration cells of known type did not speak
against their own type less often than this cell speaks against it. The guarantee needs cells that could be exchanged
with the calibration cells, and nothing else; it says nothing about one cell, and nothing about cells that differ.
"""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64, Integer
from scipy.special import logsumexp

# Between the names of a set in one text. A name that has it makes the text ambiguous, not the table of members.
SEPARATOR = " | "


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Hold a set of cell types for each cell.

    Parameters
    ----------
    members
        Whether a type is in the set of a cell, cells × types, booleans.
    coverage
        Share of the sets that hold the right type, in cells that are exchangeable with the calibration cells.
    per_type
        Whether that holds for the cells of every type, and not for all cells together.
    calibrated_on
        Which cells the sets are calibrated on, in words.
    allow_empty
        Whether a set may be empty; otherwise the predicted type is in every set, and more than the share hold the right
        one.
    """

    members: pd.DataFrame
    coverage: float
    per_type: bool
    calibrated_on: str
    allow_empty: bool = True

    @property
    def sizes(self) -> pd.Series:
        """Number of types in the set of each cell; 0 where every type is less likely than the coverage allows."""
        return self.members.sum(axis=1).rename("size")

    def to_frame(self) -> pd.DataFrame:
        """Give one row per cell: ``set``, the names joined by ``" | "``, and ``size``."""
        return pd.DataFrame({"set": self.as_text(), "size": self.sizes})

    def as_text(self) -> pd.Series:
        """Join the names of each set by ``" | "``, in the order of the types; an empty set is an empty text."""
        names = [str(name) for name in self.members.columns]
        rows, of_row = np.unique(self.members.to_numpy(), axis=0, return_inverse=True)
        texts = [SEPARATOR.join(name for name, is_in in zip(names, row) if is_in) for row in rows]
        joined = np.array(texts, dtype=object)[of_row.ravel()] if len(texts) else np.empty(0, dtype=object)
        return pd.Series(joined, index=self.members.index, name="set")


def odds_against(logits: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, "n c"]:
    """Compute how much the scores speak against each type: the logarithm of its odds, with the sign changed.

    It falls with the probability of the type, so that sets are those of the probability; other than that it does not
    round to 0 where a type is nearly certain, and so cells have few ties.

    Parameters
    ----------
    logits
        Scores of the types, shape (n, c), with ``c`` at least 2.
    """
    scores = logits.astype(np.float64)
    result = np.empty_like(scores)
    for kind in range(scores.shape[1]):
        result[:, kind] = logsumexp(np.delete(scores, kind, axis=1), axis=1) - scores[:, kind]
    return result


def check_coverage(coverage: object) -> float:
    """Check a share in (0, 1).

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is out of range.
    """
    if isinstance(coverage, bool) or not isinstance(coverage, numbers.Real):
        raise TypeError(f"coverage must be a number. Got {coverage!r}. Pass a share of the cells, such as 0.9.")
    if not 0 < float(coverage) < 1:
        raise ValueError(
            f"coverage must lie in (0, 1), both ends left out. Got {coverage!r}. Pass a share of the cells, such as "
            "0.9; sets that always hold the right type hold every type."
        )
    return float(coverage)


def fewest_cells(coverage: float) -> int:
    """Return how many calibration cells a coverage needs: ``ceil(1 / (1 - coverage)) - 1``."""
    return math.ceil(_whole(1 / (1 - coverage))) - 1


def exact_quantile(against: Float[np.ndarray, "n"], coverage: float) -> float:
    """Return the ``ceil((n + 1) · coverage)``-th smallest of ``n`` values.

    The value of one more exchangeable cell is at most this with a probability of at least ``coverage``, and, without
    ties, below ``coverage + 1 / (n + 1)``.

    Parameters
    ----------
    against
        Values of the calibration cells, shape (n,), in any order.
    coverage
        Share in (0, 1).

    Raises
    ------
    ValueError
        If there are too few cells: the set would hold every type.
    """
    rank = math.ceil(_whole((len(against) + 1) * coverage))
    if rank > len(against):
        raise ValueError(f"{fewest_cells(coverage)} cells are needed. Got {len(against)}. Pass more.")
    return float(np.partition(against, rank - 1)[rank - 1])


def thresholds(
    against: Float[np.ndarray, "n"],
    labels: Integer[np.ndarray, "n"],
    types: Sequence[object],
    coverage: float,
    *,
    per_type: bool,
) -> Float64[np.ndarray, "c"]:
    """Return how much may speak against each type for it to be in a set.

    Parameters
    ----------
    against
        How much speaks against the known type of each calibration cell, shape (n,).
    labels
        Codes of these types, shape (n,).
    types
        Names of all types.
    coverage
        Share in (0, 1).
    per_type
        Whether each type has a threshold of its own, from its own cells (Mondrian); all have the same otherwise.

    Raises
    ------
    ValueError
        If there are too few cells, of a type or in all.
    """
    coverage = check_coverage(coverage)
    require_cells(labels, types, coverage, per_type=per_type)
    if not per_type:
        return np.full(len(types), exact_quantile(against, coverage))
    return np.array([exact_quantile(against[labels == kind], coverage) for kind in range(len(types))])


def require_cells(
    labels: Integer[np.ndarray, "n"], types: Sequence[object], coverage: float, *, per_type: bool
) -> None:
    """Refuse a coverage that calibration cells are too few for; parameters as in :func:`thresholds`.

    Raises
    ------
    ValueError
        If there are too few cells, of a type or in all.
    """
    least, counts = fewest_cells(coverage), np.bincount(labels, minlength=len(types))
    most = "" if len(labels) == 0 else f" up to coverage={_largest_coverage(len(labels))}"
    if len(labels) < least:
        raise ValueError(
            f"Sets of coverage {coverage:g} need at least {least} calibration cells. Got {len(labels)}. "
            f"Ask for less{most}, or calibrate on more cells with model.calibrate(adata, labels_key)."
        )
    few = [f"{name} ({count})" for name, count in zip(types, counts) if count < least]
    if per_type and few:
        raise ValueError(
            f"Sets of coverage {coverage:g} for each type need at least {least} calibration cells of each. These have "
            f"fewer: {', '.join(few)}. Pass per_type=False, ask for less coverage, or calibrate on more cells with "
            "model.calibrate(adata, labels_key)."
        )


def members(
    logits: Float[np.ndarray, "n c"], limits: Float[np.ndarray, "c"], *, allow_empty: bool
) -> Bool[np.ndarray, "n c"]:
    """Tell which types are in the set of each cell.

    Parameters
    ----------
    logits
        Scores of the types, shape (n, c).
    limits
        How much may speak against each type, shape (c,); the limit itself is allowed.
    allow_empty
        Whether a set may be empty; otherwise the predicted type is in every set.
    """
    inside = odds_against(logits) <= limits
    if not allow_empty:
        inside[np.arange(len(logits)), logits.argmax(axis=1)] = True
    return inside


def _largest_coverage(n_cells: int) -> float:
    """Round n / (n + 1) down to four digits, so that what a message names is possible."""
    return math.floor(10_000 * n_cells / (n_cells + 1)) / 10_000


def _whole(value: float) -> float:
    """Undo the rounding of products such as 100 · 0.29, which must not lift a rank by one."""
    return float(round(value)) if math.isclose(value, round(value), rel_tol=1e-9, abs_tol=1e-9) else value
