"""Tell which cells trained a model, and whether they are those that it holds."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Int64

from genemamba_sc._warn import warn

# Number of cells whose tokens say whether cells with made-up names are the same.
_COMPARED = 5


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
    if sum(map(len, split_of(model))) != model.adata.n_obs:
        return False
    # Models of older versions know no names.
    return model._split_names is None or _digest_held(model) == model._split_names


def note_split(model: Any) -> None:
    """Note at the end of a training that its split is of the cells that the model holds.

    Parameters
    ----------
    model
        The model that was trained.
    """
    model._split_names, model._keeps_cells = digest_of(model, model.adata), True
    # The last ones were noted when this training began; the cells may have been renamed since.
    *earlier, last = model._learned
    model._learned = tuple(earlier)
    add_learned(model, replace(last, names=model._split_names))
    model._holds_query = False


def learned_rows(model: Any) -> Int64[np.ndarray, "n"]:
    """List the rows of the cells held that any training of the model learned from, as far as that is known.

    Parameters
    ----------
    model
        The model.
    """
    held = "" if model.adata is None else _digest_held(model)
    for part in model._learned:
        if part.names == held:
            return part.rows
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
    add_learned(model, LearnedCells(_digest_held(model), rows))


def add_learned(model: Any, cells: LearnedCells) -> None:
    """Note cells that the model learned from, in place of what was noted of the same AnnData.

    Parameters
    ----------
    model
        The model.
    cells
        Rows of one AnnData.
    """
    model._learned = (*(part for part in model._learned if part.names != cells.names), cells)


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


def digest_of(model: Any, adata: AnnData) -> str:
    """Digest the names of cells in their order, in hexadecimal digits; of names that AnnData made up, tokens, too.

    Parameters
    ----------
    model
        Model that reads the cells.
    adata
        The cells.
    """
    digest = hashlib.sha256()
    for name in adata.obs_names:
        digest.update(str(name).encode("utf-8", "surrogatepass") + b"\0")
    if are_row_numbers(adata.obs_names):
        digest.update(_some_tokens(model, adata, adata.n_obs).astype("<i4").tobytes())
    return digest.hexdigest()


def are_the_rows(model: Any, adata: AnnData) -> bool:
    """Tell whether cells are those that the model holds at the same row numbers, by the tokens of a few.

    Parameters
    ----------
    model
        The model.
    adata
        Cells, no more than it holds.
    """
    if model.adata is None or adata.n_obs > model.adata.n_obs:
        return False
    return np.array_equal(_some_tokens(model, adata, adata.n_obs), _some_tokens(model, model.adata, adata.n_obs))


def _some_tokens(model: Any, adata: AnnData, n_obs: int) -> np.ndarray:
    rows = np.unique(np.linspace(0, n_obs - 1, _COMPARED).round().astype(np.int64))
    return model._source(adata).tokens(rows).ids


def _digest_held(model: Any) -> str:
    """Digest the cells that the model holds; while it holds those of the training, their names may be changed."""
    return model._split_names if model._keeps_cells else digest_of(model, model.adata)


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
