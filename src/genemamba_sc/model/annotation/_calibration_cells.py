"""Choose the cells of a user that calibrate a model: labelled ones of its types that did not train it."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Integer

from genemamba_sc._whole_floats import as_text
from genemamba_sc.model.registration._obs_columns import MISSING, check_obs_column
from genemamba_sc.model.registration._trained_cells import are_row_numbers, are_the_rows, holds_its_cells, split_of

# Names of cells repeat between studies by chance, but rarely.
_MOST_SAME_NAMES = 0.1


def calibration_cells(
    model: Any, adata: AnnData, labels_key: str, rows: Integer[np.ndarray, "n"]
) -> tuple[Integer[np.ndarray, "m"], Integer[np.ndarray, "m"]]:
    """Return the labelled ones among the cells that were asked for; nothing is demanded of the others.

    Parameters
    ----------
    model
        Model with cell types.
    adata, labels_key
        Cells, and the column of ``obs`` with their types.
    rows
        Row numbers of the cells that were asked for, shape (n,).

    Returns
    -------
    Row numbers and codes of the types, shape (m,) each.

    Raises
    ------
    ValueError
        If a cell is named twice, there is no such column, a label is missing or not one of the model, a cell trained
        the model, or fewer than two are labelled.
    """
    _refuse_repeats(rows)
    codes = _codes(model, adata, labels_key, rows)
    rows, codes = rows[codes >= 0], codes[codes >= 0]
    _refuse_training_cells(model, adata, rows)
    if len(rows) < 2:
        raise ValueError(
            f"A calibration needs labelled cells, at least 2. adata.obs[{labels_key!r}] labels {len(rows)} of the "
            "cells. Pass more."
        )
    return rows, codes


def _refuse_repeats(rows: Integer[np.ndarray, "n"]) -> None:
    """Refuse cells that are named twice: copies of a cell say nothing new, so that no coverage would hold."""
    if (n_cells := len(np.unique(rows))) < len(rows):
        raise ValueError(
            f"Each calibration cell counts once. Got {len(rows)} indices of {n_cells} cells. Draw them without "
            "replacement."
        )


def _codes(model: Any, adata: AnnData, labels_key: str, rows: np.ndarray) -> np.ndarray:
    """Return the codes of the types of these cells, -1 for cells without a label."""
    unlabeled = model.registry_["setup_args"].get("unlabeled_category")
    asked = adata[rows]
    if list(adata.obs.columns).count(labels_key) == 1:
        _refuse_missing(asked.obs[labels_key], labels_key, unlabeled)
    unlabeled = check_obs_column(asked, labels_key, "labels_key", unlabeled)
    known = {as_text(name): code for code, name in enumerate(model.cell_types)}
    texts = asked.obs[labels_key].astype(object).map(as_text)
    others = sorted(set(texts) - set(known) - ({as_text(unlabeled)} if unlabeled is not None else set()))
    if others:
        raise ValueError(
            f"Calibration cells must be of types that the model knows: {list(known)}. adata.obs[{labels_key!r}] also "
            f"has {others[:10]}. Rename those that are known types by another name. Leave the other cells out: pass "
            "indices= without them."
        )
    return texts.map(lambda text: known.get(text, -1)).to_numpy(dtype=np.int64)


def _refuse_missing(labels: pd.Series, key: str, unlabeled: object) -> None:
    """Refuse cells without a label before :func:`check_obs_column`, whose advice is for ``setup_anndata``."""
    texts = labels.astype(object)
    missing = labels.isna() | (texts.isin(MISSING) & (texts.map(as_text) != as_text(unlabeled)))
    if missing.any():
        how = sorted({"NaN" if pd.isna(value) else repr(value) for value in texts[missing]})
        words = sorted(set(texts[missing & labels.notna()]))
        mask = f"~adata.obs[{key!r}].isin({words})" if words else f"adata.obs[{key!r}].notna()"
        if words and labels.isna().any():
            mask += f" & adata.obs[{key!r}].notna()"
        raise ValueError(
            f"Cells that calibrate need a label. adata.obs[{key!r}] has {missing.sum()} missing values "
            f"({', '.join(how)}) in {len(labels)} cells. Pass indices= of the labelled cells, such as "
            f"indices={mask}."
        )


def _refuse_training_cells(model: Any, adata: AnnData, rows: np.ndarray) -> None:
    is_seen = _trained(model, adata, rows)
    n_seen = int(is_seen.sum())
    if n_seen > _MOST_SAME_NAMES * len(rows) or (n_seen and adata is model.adata):
        raise ValueError(
            f"Calibration cells must have had no part in the training. {n_seen} of {len(rows)} have names of cells "
            "that trained or validated the model. Pass other cells, or indices= of cells that did neither. If they are "
            "other cells with the same names, rename them: adata.obs_names = 'query_' + adata.obs_names."
        )


def _trained(model: Any, adata: AnnData, rows: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Tell which cells trained or validated: by their rows in the AnnData of the training, elsewhere by names."""
    if not holds_its_cells(model):
        return np.zeros(len(rows), dtype=bool)
    # Validation cells, too: they calibrate anyway, and what follows a training may fit the model to them.
    seen = np.concatenate(split_of(model)[:2])
    if adata is model.adata:
        return np.isin(rows, seen)
    if are_row_numbers(adata.obs_names):  # cells of any study
        return np.isin(rows, seen) & are_the_rows(model, adata)
    return adata.obs_names[rows].isin(model.adata.obs_names[seen])
