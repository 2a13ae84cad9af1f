"""Turn one pass over cells into an annotation: types, and what the calibration says about them."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Integer

from genemamba_sc._checks import yes_or_no
from genemamba_sc._constants import CONFIDENCE_KEY, PREDICTION_KEY, UNKNOWN_KEY, UNKNOWN_TYPE
from genemamba_sc._warn import warn
from genemamba_sc.confidence import (
    Calibration,
    LabelSets,
    check_coverage,
    fewest_cells,
    probabilities_of,
    require_cells,
)
from genemamba_sc.data import CellSource
from genemamba_sc.model._inference import CellReadings, read_cells
from genemamba_sc.model.annotation._annotation import Annotation
from genemamba_sc.model.annotation._calibrated import calibrated
from genemamba_sc.model.annotation._voting import check_voting, vote

_COVERAGE = 0.9
# Share of the cells of known types that may be called unknown.
_MOST_LOST = 0.05
# Cells differ from the calibration cells where this many times as many look unknown, of so many cells at least.
_TIMES_UNKNOWN, _FEWEST_TOLD = 3.0, 50


@dataclass(frozen=True)
class Asked:
    """Hold what a user asks of an annotation beyond types; parameters as in ``annotate``."""

    coverage: float | None
    per_type: bool
    allow_empty: bool
    reject_unknown: bool | float
    majority_voting: str | None

    @property
    def asked_coverage(self) -> float:
        """The coverage: 0.9 where none was named."""
        return _COVERAGE if self.coverage is None else self.coverage

    @property
    def rejected_from(self) -> float | None:
        """From which share of nearer calibration cells on a cell is unknown; ``None`` where none is to be."""
        if self.reject_unknown is False:
            return None
        return 1.0 - (_MOST_LOST if self.reject_unknown is True else float(self.reject_unknown))

    @property
    def asks_sets(self) -> bool:
        """Whether sets were asked for, and not only made where there can be any."""
        return self.coverage is not None or self.per_type or not self.allow_empty

    def check(self, model: Any, adata: AnnData) -> None:
        """Refuse, before any cell is read, what cannot be answered.

        Raises
        ------
        TypeError, ValueError
            If a choice is out of range, or needs calibration cells and there are none, or too few.
        """
        self.check_choices(model.cell_types, adata)
        if self.asks_sets or self.reject_unknown is not False:
            self.check_cells(calibrated(model).labels, model.cell_types)

    def check_choices(self, types: Sequence[Any], adata: AnnData) -> None:
        """Refuse what no model of these types could answer about these cells.

        Raises
        ------
        TypeError, ValueError
            If a choice is out of range.
        """
        if adata.is_view and adata.isbacked:
            raise ValueError(
                "annotate() writes to obs, which a view of a backed AnnData does not take. Got such a view. Pass "
                "adata.to_memory(), or the AnnData itself."
            )
        check_voting(adata, self.majority_voting)
        check_coverage(self.asked_coverage)
        check_set_choices(self.per_type, self.allow_empty)
        if self.reject_unknown is False:
            return
        _check_share(self.reject_unknown)
        if UNKNOWN_TYPE in map(str, types):
            raise ValueError(
                f"reject_unknown calls cells {UNKNOWN_TYPE!r}, which is a type of this model. Got both. Leave "
                f"reject_unknown out and read obs[{UNKNOWN_KEY!r}], or rename the type and train again."
            )

    def check_cells(self, labels: Integer[np.ndarray, "n"], types: Sequence[Any]) -> None:
        """Refuse what calibration cells are too few for.

        Parameters
        ----------
        labels
            Codes of the types of the calibration cells, shape (n,).
        types
            Names of the types.

        Raises
        ------
        ValueError
            If there are too few.
        """
        if self.asks_sets:
            require_cells(labels, types, self.asked_coverage, per_type=self.per_type)
        if self.rejected_from is None:
            return
        least = fewest_cells(self.rejected_from)
        if len(labels) < least:
            raise ValueError(
                f"To lose {1 - self.rejected_from:g} of the known cells, reject_unknown needs at least {least} "
                f"calibration cells. Got {len(labels)}. Allow for more with reject_unknown=0.2, or calibrate on more "
                "cells with model.calibrate(adata, labels_key)."
            )

    def sets(self, model: Any, logits: Float32[np.ndarray, "n c"], names: pd.Index) -> LabelSets | None:
        """Make the sets; where none were asked for and there cannot be any, warn and return ``None``."""
        try:
            choices = {"per_type": self.per_type, "allow_empty": self.allow_empty}
            return calibrated(model).sets(logits, names, model.cell_types, self.asked_coverage, **choices)
        except ValueError as error:
            if self.asks_sets:
                raise
            warn(f"No label sets are written. {error}")
            return None

    def voted(self, adata: AnnData, found: Annotation) -> Annotation:
        """Let clusters vote, where that is asked."""
        if self.majority_voting is None:
            return found
        return replace(found, voting=vote(adata, found.cell_types, found.embedding, self.majority_voting))


def check_set_choices(per_type: object, allow_empty: object) -> None:
    """Refuse choices of sets that are neither yes nor no: a text such as ``"no"`` would count as yes.

    Raises
    ------
    TypeError
        If one is no bool.
    """
    for name, value in (("per_type", per_type), ("allow_empty", allow_empty)):
        yes_or_no(name, value)


def check_sets(model: Any, return_sets: bool, coverage: float | None, per_type: bool, allow_empty: bool) -> float:
    """Refuse, before cells are read, sets that cannot be made, and choices of sets that are not returned.

    Returns
    -------
    The coverage: 0.9 where none was named.

    Raises
    ------
    TypeError
        If a choice is no bool.
    ValueError
        If the coverage is out of range, or calibration cells are too few.
    """
    asked = check_coverage(_COVERAGE if coverage is None else coverage)
    check_set_choices(per_type, allow_empty)
    yes_or_no("return_sets", return_sets)
    if return_sets:
        calibrated(model).limits(model.cell_types, asked, per_type=per_type)
        return asked
    given = {"coverage": coverage is not None, "per_type": per_type, "allow_empty": not allow_empty}
    useless = [name for name, is_given in given.items() if is_given]
    if useless:
        raise ValueError(
            f"Choices of label sets need return_sets=True. Got {', '.join(useless)} with return_sets=False. Pass "
            "return_sets=True, too, or leave them out."
        )
    return asked


def probabilities_of_model(model: Any, logits: Float32[np.ndarray, "n c"]) -> Float32[np.ndarray, "n c"]:
    """Return the probabilities of the types: calibrated where the model has calibration cells."""
    return probabilities_of(logits, 1.0 if model.calibration_ is None else model.calibration_.temperature)


def annotation_of(model: Any, source: CellSource, adata: AnnData, batch_size: int | None, asked: Asked) -> Annotation:
    """Ask a model about all cells of a source.

    Parameters
    ----------
    model
        A model with cell types.
    source
        Tokens of the cells of ``adata``.
    adata
        AnnData that gives the names of the cells.
    batch_size
        Number of cells per pass; ``None`` packs cells of similar length.
    asked
        What is to be said about them.
    """
    calibration: Calibration | None = model.calibration_
    table = None if calibration is None else calibration.known.table(model.module.encoder_config.vocab_size)
    rows, names = np.arange(adata.n_obs), adata.obs_names
    read = read_cells(model.module, source, rows, table=table, batch_size=batch_size)
    probabilities, best = probabilities_of_model(model, read.logits), read.logits.argmax(axis=1)
    unknown = None if calibration is None else _unknown(calibration, read, names)
    return Annotation(
        cell_types=_types(model.cell_types, best, unknown, asked.rejected_from, names),
        confidence=pd.Series(probabilities[rows, best], index=names, name=CONFIDENCE_KEY),
        probabilities=pd.DataFrame(probabilities, index=names, columns=pd.Index(model.cell_types)),
        embedding=read.latent,
        is_calibrated=calibration is not None,
        sets=asked.sets(model, read.logits, names),
        unknown=unknown,
        rejected_from=asked.rejected_from,
        shift=None if calibration is None else calibration.shift(read.logits),
    )


def _unknown(calibration: Calibration, read: CellReadings, names: pd.Index) -> pd.Series:
    return pd.Series(calibration.unknown(read.logits, read.coordinates), index=names, name=UNKNOWN_KEY)


def _types(
    known: list[Any], best: np.ndarray, unknown: pd.Series | None, rejected_from: float | None, names: pd.Index
) -> pd.Series:
    categories = list(known)
    if rejected_from is not None and unknown is not None:
        best = np.where(unknown.to_numpy() >= rejected_from, len(known), best)
        categories.append(UNKNOWN_TYPE)
    types = pd.Categorical.from_codes(best, categories=pd.Index(categories, dtype=object))
    return pd.Series(types, index=names, name=PREDICTION_KEY)


def warn_if_cells_differ(found: Annotation) -> None:
    """Warn where cells differ from the calibration cells, so that what is stated for cells like these need not hold."""
    if found.unknown is None or found.shift is None or len(found.unknown) < _FEWEST_TOLD:
        return
    share, signs = float((found.unknown >= 1 - _MOST_LOST).mean()), []
    if found.shift.is_seen:
        how = "surer of them than" if found.shift.is_surer else "not as sure of them as"
        signs.append(
            f"the model is {how} of the calibration cells (Kolmogorov-Smirnov distance {found.shift.distance:.2f})"
        )
    if share > _TIMES_UNKNOWN * _MOST_LOST:
        signs.append(
            f"{share:.0%} of them look less like the known types than {1 - _MOST_LOST:.0%} of the calibration cells"
        )
    if signs:
        stated = "" if found.sets is None else f"the coverage of {found.sets.coverage:g} and "
        warn(
            f"These cells differ from the calibration cells: {', and '.join(signs)}. They are of another study, "
            "condition or composition, of other types, or trained the model, and "
            f"{stated}the calibrated confidence need not hold for them. Look at obs[{UNKNOWN_KEY!r}], or call "
            "model.calibrate on some labelled cells like these."
        )


def _check_share(value: bool | float) -> None:
    is_number = isinstance(value, numbers.Real) and math.isfinite(value)
    if value is not True and not (is_number and 0 < value < 1):
        raise ValueError(
            f"reject_unknown must be True, False, or a share in (0, 1) of the known cells to lose. Got {value!r}. Pass "
            "e.g. 0.05."
        )
