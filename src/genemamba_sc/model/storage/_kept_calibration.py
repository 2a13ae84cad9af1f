"""Keep a calibration beside the weights of a model, and bring it back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genemamba_sc._json import Fields
from genemamba_sc.confidence import Calibration
from genemamba_sc.model.storage._kept_arrays import of_prefix, under_prefix
from genemamba_sc.weights._saved_model import CALIBRATION_PREFIX

_ENTRY = "calibration"


def kept(calibration: Calibration) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give what is saved of a calibration: the entry of the configuration, and the arrays by name."""
    arrays = under_prefix(CALIBRATION_PREFIX, calibration.arrays())
    return {"cells": calibration.cells}, arrays


def brought_back(meta: Fields, tensors: Mapping[str, Tensor], n_types: int, n_tokens: int) -> Calibration | None:
    """Make the calibration of a saved model.

    Parameters
    ----------
    meta
        Configuration of the model.
    tensors
        Everything in the file of the weights.
    n_types
        Number of cell types of the model.
    n_tokens
        Number of tokens.

    Returns
    -------
    The calibration; ``None`` where the model has none, such as one that was saved before there were any.

    Raises
    ------
    ValueError
        If text, arrays and cell types do not fit together. The message names the file.
    """
    arrays = of_prefix(CALIBRATION_PREFIX, tensors)
    if not arrays and _ENTRY not in meta.values:
        return None
    meta.require(_ENTRY)

    def made(entry: Any) -> Calibration:
        if not isinstance(entry["cells"], str):
            raise ValueError("it says in words which cells these are")
        found = Calibration.of_arrays(arrays, entry["cells"])
        if found.logits.shape[1] != n_types:
            raise ValueError(f"the registry has {n_types} cell types and the calibration {found.logits.shape[1]}")
        if found.known.genes.max(initial=0) >= n_tokens:
            raise ValueError(f"there are {n_tokens} tokens and the calibration reads more")
        return found

    return meta.made(_ENTRY, made)
