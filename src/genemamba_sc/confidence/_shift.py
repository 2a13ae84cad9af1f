"""Tell without labels whether a model answers cells as it answered its calibration cells."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import ks_2samp

# Random halves of a study differ by up to 0.15 where one has a hundred cells, and studies by 0.2 or more.
_LEAST_DISTANCE = 0.15
_MOST_LIKELY = 1e-3


@dataclass(frozen=True)
class Shift:
    """Compare how sure a model is of cells with how sure it was of its calibration cells.

    Parameters
    ----------
    distance
        Kolmogorov-Smirnov distance of the log odds of the best types, in [0, 1].
    p_value
        How likely a distance of at least this is among exchangeable cells.
    is_surer
        Whether the model is surer of most of these cells than of most calibration cells.
    """

    distance: float
    p_value: float
    is_surer: bool = False

    @property
    def is_seen(self) -> bool:
        """Whether the cells differ, by more than chance and by enough to matter.

        Cells of which the model is as sure as of the calibration cells are not seen, however they differ.
        """
        return self.distance >= _LEAST_DISTANCE and self.p_value < _MOST_LIKELY


def shift_between(known: Float[np.ndarray, "n"], asked: Float[np.ndarray, "m"]) -> Shift:
    """Compare two samples of one measure.

    Parameters
    ----------
    known
        The measure in the calibration cells, shape (n,), at least one.
    asked
        The measure in other cells, shape (m,); where there are none, nothing differs.
    """
    if not len(asked):
        return Shift(0.0, 1.0)
    found = ks_2samp(known, asked)
    # The measure speaks against the best type: less of it is surer.
    return Shift(float(found.statistic), float(found.pvalue), bool(np.median(asked) < np.median(known)))
