"""Keep what a model said about cells that it did not learn from, and read sets, probabilities and shares off it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Float64, Integer
from scipy.special import logsumexp

from genemamba_sc.confidence._known_cells import KnownCells
from genemamba_sc.confidence._label_sets import LabelSets, check_coverage, members, odds_against, thresholds
from genemamba_sc.confidence._shift import Shift, shift_between
from genemamba_sc.confidence._temperature import fit_temperature, probabilities_of


@dataclass(frozen=True, eq=False)
class Calibration:
    """Hold the calibration cells of a model, and where the cells of its types lie.

    Parameters
    ----------
    logits
        Scores of the types in the calibration cells, shape (n, c).
    labels
        Codes of their types, shape (n,).
    distances
        Their distances to the known types, shape (n,).
    known
        Where the cells of the known types lie.
    cells
        Which cells these are, in words.
    """

    logits: Float32[np.ndarray, "n c"]
    labels: Integer[np.ndarray, "n"]
    distances: Float32[np.ndarray, "n"]
    known: KnownCells
    cells: str

    @property
    def temperature(self) -> float:
        """By what scores are divided before their softmax is taken."""
        return fit_temperature(self.logits, self.labels)

    def probabilities(self, logits: Float32[np.ndarray, "n c"]) -> Float32[np.ndarray, "n c"]:
        """Return the calibrated probabilities of the types, shape (n, c)."""
        return probabilities_of(logits, self.temperature)

    def sets(
        self,
        logits: Float32[np.ndarray, "n c"],
        names: pd.Index,
        types: Sequence[Any],
        coverage: float,
        *,
        per_type: bool = False,
        allow_empty: bool = True,
    ) -> LabelSets:
        """Make the label sets of cells.

        Parameters
        ----------
        logits
            Scores of their types, shape (n, c).
        names
            Names of the cells.
        types
            Names of the types.
        coverage
            Share of the sets that are to hold the right type, in (0, 1).
        per_type
            Whether this is to hold for each type.
        allow_empty
            Whether a set may be empty.

        Raises
        ------
        ValueError
            If there are too few calibration cells for this coverage.
        """
        limits = self.limits(types, coverage, per_type=per_type)
        inside = pd.DataFrame(members(logits, limits, allow_empty=allow_empty), index=names, columns=pd.Index(types))
        return LabelSets(inside, float(coverage), per_type, self.cells, allow_empty)

    def limits(self, types: Sequence[Any], coverage: float, *, per_type: bool = False) -> Float64[np.ndarray, "c"]:
        """Return how much may speak against each type for it to be in a set; see :meth:`sets`."""
        against = odds_against(self.logits)[np.arange(len(self.labels)), self.labels]
        return thresholds(against, self.labels, types, check_coverage(coverage), per_type=per_type)

    def unknown(
        self, logits: Float32[np.ndarray, "n c"], coordinates: Float32[np.ndarray, "n k"]
    ) -> Float64[np.ndarray, "n"]:
        """Return the share of the calibration cells that look more like cells of known types, shape (n,), in [0, 1).

        What is compared is the sum of two measures, each in units of its spread over the calibration cells: the
        logarithm of the distance to the nearest type, and the energy, which is high where all scores are low
        (Liu et al. 2020, arXiv:2010.03759). A cell can be far from all types on its own side of every border, or
        between types that it shares its genes with: one measure tells one kind, and the other the other.

        Parameters
        ----------
        logits
            Scores of the types, shape (n, c).
        coordinates
            What the weights of :attr:`known` make of each cell, shape (n, k).
        """
        known = np.zeros(len(self.labels))
        asked = np.zeros(len(logits))
        distances = self.known.distance(coordinates).astype(np.float32)
        for own, other in (
            (_log(self.distances), _log(distances)),
            (energy(self.logits), energy(logits)),
        ):
            low, middle, high = np.quantile(own, (0.16, 0.5, 0.84))
            spread = high - low if high > low else 1.0
            known += (own - middle) / spread
            asked += (other - middle) / spread
        return unknown_share(asked, known)

    def shift(self, logits: Float32[np.ndarray, "n c"]) -> Shift:
        """Compare how sure the model is of cells with how sure it was of the calibration cells; no label is needed.

        Parameters
        ----------
        logits
            Scores of the types, shape (n, c).
        """
        return shift_between(odds_against(self.logits).min(axis=1), odds_against(logits).min(axis=1))

    def arrays(self) -> dict[str, Float32[np.ndarray, "..."]]:
        """Give all numbers by name; :meth:`of_arrays` makes the same calibration of them."""
        own = {"logits": self.logits, "labels": self.labels, "distances": self.distances}
        known = {f"known.{name}": getattr(self.known, name) for name in _KNOWN}
        return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in (own | known).items()}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], cells: str) -> "Calibration":
        """Make a calibration of what :meth:`arrays` gave.

        Parameters
        ----------
        arrays
            The numbers.
        cells
            Which cells these are, in words.

        Raises
        ------
        ValueError
            If arrays are missing, or do not fit together.
        """
        wanted = {**_DIMENSIONS, **{f"known.{name}": ndim for name, ndim in _KNOWN.items()}}
        found = {name: values.ndim for name, values in arrays.items()}
        if found != wanted:
            raise ValueError(f"A calibration has arrays of these dimensions: {wanted}. Got {found}.")
        _check_shapes(arrays)
        values = {name: _whole(name, array) if name in _WHOLE else array for name, array in arrays.items()}
        _check_values(values)
        known = KnownCells(**{name: values[f"known.{name}"] for name in _KNOWN})
        return cls(values["logits"], values["labels"], values["distances"], known, cells)


# Keeps the logarithm of a distance finite: a cell may lie upon the centre of a type.
_LEAST = 1e-6
_DIMENSIONS = {"logits": 2, "labels": 1, "distances": 1}
_KNOWN = {"genes": 1, "weights": 2, "centres": 2, "counts": 1}
_WHOLE = ("labels", "known.genes", "known.counts")


def _check_shapes(arrays: Mapping[str, np.ndarray]) -> None:
    (n, c), (g, k) = arrays["logits"].shape, arrays["known.weights"].shape
    wanted = {"labels": (n,), "distances": (n,), "known.genes": (g,), "known.centres": (c, k), "known.counts": (c,)}
    found = {name: arrays[name].shape for name in wanted}
    wrong = [f"{name} {found[name]} instead of {shape}" for name, shape in wanted.items() if found[name] != shape]
    if n == 0 or c < 2 or wrong:
        raise ValueError(f"The arrays of a calibration must fit together. Got {n} cells, {c} types; {wrong}.")


def _check_values(arrays: Mapping[str, np.ndarray]) -> None:
    n_types = arrays["logits"].shape[1]
    if arrays["labels"].max() >= n_types:
        raise ValueError(f"Labels of calibration cells must be codes of {n_types} types. Got {arrays['labels'].max()}.")
    if (arrays["distances"] < 0).any() or not arrays["known.counts"].any():
        raise ValueError("Distances of a calibration must be 0 or more, to one type at least. Got others.")


def _whole(name: str, values: np.ndarray) -> np.ndarray:
    if not (np.isfinite(values) & (values == np.round(values)) & (values >= 0)).all():
        raise ValueError(f"{name} of a calibration must be whole numbers from 0. Got others.")
    return values.astype(np.int64)


def _log(distances: Float32[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    return np.log(distances.astype(np.float64) + _LEAST)


def energy(logits: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, "n"]:
    """Return the energy of cells, ``-log(sum(exp(score)))``, shape (n,).

    Parameters
    ----------
    logits
        Scores of the types, shape (n, c).
    """
    return -logsumexp(logits.astype(np.float64), axis=1)


def unknown_share(asked: Float[np.ndarray, "n"], known: Float[np.ndarray, "m"]) -> Float64[np.ndarray, "n"]:
    """Return which share of the calibration cells, and of the cell itself, has less of a measure than the cell.

    One less this share is a conformal p-value: a cell that is exchangeable with the calibration cells has a share of
    ``1 - a`` or more with a probability of at most ``a`` (Bates et al. 2023, doi:10.1214/22-AOS2244).

    Parameters
    ----------
    asked
        The measure in the cells, shape (n,).
    known
        The measure in the calibration cells, shape (m,).
    """
    return np.searchsorted(np.sort(known), asked, side="left") / (len(known) + 1.0)
