"""Tell which cells trained a model, and whether they are those that it holds."""

from typing import Any

import numpy as np
import pandas as pd


def holds_its_cells(model: Any) -> bool:
    """Tell whether the row numbers of the split are of the cells that the model holds: a loaded one may hold others.

    Parameters
    ----------
    model
        The model, trained or not.
    """
    if getattr(model, "trainer", None) is not None:
        return True
    is_query = getattr(model, "_holds_query", False) or model.adata is None
    return not is_query and sum(map(len, split_of(model))) == model.adata.n_obs


def split_of(model: Any) -> list[np.ndarray]:
    """List the row numbers of the cells that trained, validated and tested a model; empty where it was not trained.

    Parameters
    ----------
    model
        The model.
    """
    parts = (model.train_indices, model.validation_indices, model.test_indices)
    return [np.empty(0, dtype=np.int64) if part is None else np.asarray(part, dtype=np.int64) for part in parts]


def are_row_numbers(names: pd.Index) -> bool:
    """Tell whether names of cells are 0, 1, 2, ... or 1, 2, 3, ..., as AnnData makes them up: cells of any study.

    Parameters
    ----------
    names
        Names of all cells of an AnnData.
    """
    first = str(names[0]) if len(names) else ""
    return first in ("0", "1") and all(str(name) == str(i) for i, name in enumerate(names, start=int(first)))
