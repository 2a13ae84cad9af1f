"""Tell which cells trained a model, and whether they are those that it holds."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int64

from genemamba_sc._warn import warn


@dataclass(frozen=True)
class LearnedCells:
    """Hold from which cells the trainings of a model learned, the last one and those before it.

    Parameters
    ----------
    names
        Digest of the names of the AnnData that the rows are of.
    rows
        Row numbers, shape (n,).
    """

    names: str
    rows: Int64[np.ndarray, "n"]


def holds_its_cells(model: Any) -> bool:
    """Tell whether the row numbers of the split are of the cells that the model holds: a loaded one may hold others.

    Parameters
    ----------
    model
        The model, trained or not.
    """
    if model.adata is None or model._holds_query:
        return False
    # Models of older versions know no names. In the session of a training they may have been changed since.
    if model._split_names is None or getattr(model, "trainer", None) is not None:
        return sum(map(len, split_of(model))) == model.adata.n_obs
    return digest_of_names(model.adata.obs_names) == model._split_names


def note_split(model: Any) -> None:
    """Note at the end of a training that its split is of the cells that the model holds.

    Parameters
    ----------
    model
        The model that was trained.
    """
    model._split_names, model._holds_query = digest_of_names(model.adata.obs_names), False


def learned_rows(model: Any) -> Int64[np.ndarray, "n"]:
    """List the rows of the cells held that any training of the model learned from, as far as that is known.

    Parameters
    ----------
    model
        The model.
    """
    learned = model._learned
    if learned is not None and model.adata is not None and learned.names == digest_of_names(model.adata.obs_names):
        return learned.rows
    # Models of older versions know the last training only.
    return split_of(model)[0] if holds_its_cells(model) else np.empty(0, dtype=np.int64)


def note_learned(model: Any, rows: Int64[np.ndarray, "n"]) -> None:
    """Note from which rows of the cells held the model has learned by the end of the training that begins.

    Parameters
    ----------
    model
        The model.
    rows
        Those of earlier trainings, too.
    """
    model._learned = LearnedCells(digest_of_names(model.adata.obs_names), rows)


def warn_if_others(model: Any) -> None:
    """Warn where a model was loaded with as many cells as trained it that are others, or in another order.

    Parameters
    ----------
    model
        The model.
    """
    if model.adata is not None and sum(map(len, split_of(model))) == model.adata.n_obs and not holds_its_cells(model):
        warn(
            "The AnnData has as many cells as the model was trained on, but other names, or these in another order. "
            "train_indices and the like are not row numbers of these cells, and calibrate() cannot tell which of them "
            "trained the model. Load it with the cells in the order of the training."
        )


def digest_of_names(names: pd.Index) -> str:
    """Digest names of cells in their order, in hexadecimal digits.

    Parameters
    ----------
    names
        Names of all cells of an AnnData.
    """
    digest = hashlib.sha256()
    for name in names:
        digest.update(str(name).encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


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
