"""Ask a model for its calibration, and say why it has none."""

from typing import Any

import numpy as np
from scvi import REGISTRY_KEYS

from genemamba_sc.confidence import Calibration
from genemamba_sc.model.fitting._plan import FEWEST_OF_TYPE
from genemamba_sc.model.registration._setup import kept_codes

_MOST_NAMES = 5
_OTHER_CAUSES = "it was trained without validation cells, interrupted, or saved before there were any"


def calibrated(model: Any) -> Calibration:
    """Return the calibration of a model.

    Raises
    ------
    ValueError
        If it has none.
    """
    if model.calibration_ is None:
        why = (
            rare_types(model) or "it was trained without validation cells, interrupted, or saved before there were any"
        )
        raise ValueError(
            "Label sets and the score of unknown cells need calibration cells: labelled ones that the model did not "
            f"learn from. This model has none: {why}. Call model.calibrate(adata, labels_key) with other labelled "
            "cells, or make a new model and train it with train_size=0.9."
        )
    return model.calibration_


def rare_types(model: Any) -> str:
    """Say which types are too rare for cells to be held out by default; empty where none is, or nobody knows.

    Parameters
    ----------
    model
        A model with cell types.
    """
    key, manager = REGISTRY_KEYS.LABELS_KEY, model.adata_manager if model.adata is not None else None
    codes = kept_codes(manager, key) if manager is not None and key in manager.data_registry else None
    if codes is None:
        return ""
    counts = np.bincount(codes, minlength=len(model.cell_types))
    rare = [name for name, n in zip(model.cell_types, counts) if 0 < n < FEWEST_OF_TYPE]
    more = ", ..." if len(rare) > _MOST_NAMES else ""
    told = ", ".join(map(repr, rare[:_MOST_NAMES])) + more
    return f"all cells train where a type has fewer than {FEWEST_OF_TYPE} labelled ones ({told})" if rare else ""
