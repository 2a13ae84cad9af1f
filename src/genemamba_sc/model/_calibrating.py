"""Calibrate a model on labelled cells that it did not learn from: its validation cells, or cells of the user."""

from typing import Any

import numpy as np
from anndata import AnnData
from jaxtyping import Float32, Integer

from genemamba_sc.confidence import Calibration, KnownCells, fit_known_cells
from genemamba_sc.data import CellSource
from genemamba_sc.model._inference import read_cells
from genemamba_sc.model._obs_columns import check_obs_column
from genemamba_sc.model._splitter import TokenDataSplitter
from genemamba_sc.training._dataset import TokenDataset
from genemamba_sc.training._markers import expression_matrix

# Cells that say where the known types lie: about so many, and of each type so many if it has them.
_REFERENCE_CELLS, _LEAST_OF_TYPE = 4_000, 50
# More calibration cells than these would change the third digit of a coverage, and take room in a saved model.
_MOST_CELLS = 10_000
_FOLDS = 5


def calibration_before_refit(model: Any, splitter: TokenDataSplitter) -> Calibration | None:
    """Calibrate a trained model on the validation cells of its training.

    Call this while the weights of the model have not seen these cells: before anything is fitted to them, too. What a
    model says about cells that it was fitted to is surer than what it says about others.

    Parameters
    ----------
    model
        Model that was just trained.
    splitter
        Split of its training.

    Returns
    -------
    The calibration; ``None`` where the model learned no cell types or no labelled cell validated.
    """
    dataset, head = splitter.dataset, model.module.cell_type_head
    if head is None or not head.is_fitted or "labels" not in dataset.columns:
        return None
    rows, train = (_labelled(model, dataset, part) for part in (splitter.val_idx, splitter.train_idx))
    if not len(rows) or not len(train):
        return None
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(rows, _MOST_CELLS, replace=False)) if len(rows) > _MOST_CELLS else rows
    labels = dataset.columns["labels"]
    train = _reference_cells(train, labels[train], rng)
    expression = expression_matrix(dataset.tokens(train), dataset.vocabulary)
    known = fit_known_cells(expression, labels[train], model.module.n_labels)
    cells = f"{len(rows)} validation cells of the training{_of_batches(splitter, rows)}"
    return _calibration(model, model._source(model.adata), rows, labels[rows], known, cells)


def calibration_on(
    model: Any, adata: AnnData, labels_key: str, rows: Integer[np.ndarray, "n"], source: CellSource
) -> Calibration:
    """Calibrate a model on cells of the user; see :meth:`genemamba_sc.GeneMambaModel.calibrate`.

    Parameters
    ----------
    model
        Model with cell types.
    adata, labels_key
        Cells, and the column of ``obs`` with their types.
    rows
        Row numbers of the cells to take.
    source
        Tokens of the cells of ``adata``.
    """
    codes = _codes(model, adata, labels_key)[rows]
    rows, codes = rows[codes >= 0], codes[codes >= 0]
    _refuse_training_cells(model, adata, rows)
    if len(rows) < 2:
        raise ValueError(
            f"A calibration needs labelled cells, at least 2. adata.obs[{labels_key!r}] labels {len(rows)} of the "
            "cells. Pass more."
        )
    if len(rows) > _MOST_CELLS:
        taken = np.sort(np.random.default_rng(0).choice(len(rows), _MOST_CELLS, replace=False))
        rows, codes = rows[taken], codes[taken]
    cells = f"{len(rows)} cells given to calibrate(), by obs[{labels_key!r}]"
    if model.calibration_ is not None:
        return _calibration(model, source, rows, codes, model.calibration_.known, cells)
    known, distances = _cross_fitted(model, source, rows, codes)
    read = read_cells(model.module, source, rows)
    return Calibration(read.logits, codes, distances, known, cells)


def _calibration(
    model: Any, source: CellSource, rows: np.ndarray, labels: np.ndarray, known: KnownCells, cells: str
) -> Calibration:
    table = known.table(model.module.encoder_config.vocab_size)
    read = read_cells(model.module, source, rows, table=table)
    return Calibration(read.logits, labels, known.distance(read.coordinates).astype(np.float32), known, cells)


def _cross_fitted(
    model: Any, source: CellSource, rows: np.ndarray, codes: np.ndarray
) -> tuple[KnownCells, Float32[np.ndarray, "n"]]:
    """Find where types lie by the cells themselves, each of which is measured by a fit to the others.

    Models that were saved before they kept this, or trained without validation cells, know no training cells.
    """
    vocabulary, n_types = model.vocabulary, model.module.n_labels
    expression = expression_matrix(source.tokens(rows), vocabulary)
    folds = np.random.default_rng(0).permutation(len(rows)) % min(_FOLDS, len(rows))
    distances = np.zeros(len(rows), dtype=np.float32)
    for fold in np.unique(folds):
        own = folds == fold
        known = fit_known_cells(expression[~own], codes[~own], n_types)
        distances[own] = known.distance(expression[own] @ known.table(vocabulary.size))
    return fit_known_cells(expression, codes, n_types), distances


def _labelled(model: Any, dataset: TokenDataset, rows: np.ndarray) -> np.ndarray:
    labels = dataset.columns["labels"][rows]
    return rows[(labels >= 0) & (labels < model.module.n_labels)]


def _reference_cells(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take all cells, or about 4,000 with some of every type."""
    if len(rows) <= _REFERENCE_CELLS:
        return rows
    taken = []
    for kind in np.unique(labels):
        own = rows[labels == kind]
        wanted = max(_LEAST_OF_TYPE, round(_REFERENCE_CELLS * len(own) / len(rows)))
        taken.append(rng.choice(own, min(wanted, len(own)), replace=False))
    return np.sort(np.concatenate(taken))


def _of_batches(splitter: TokenDataSplitter, rows: np.ndarray) -> str:
    """Say from which batches validation cells are: the guarantee holds for cells like these."""
    batches = splitter.dataset.columns.get("batch")
    if batches is None:
        return ""
    present = np.unique(batches[rows])
    n_new = int((~np.isin(present, batches[splitter.train_idx])).sum())
    if len(present) == 1:
        return f", from one batch, which {'trained the model, too' if n_new == 0 else 'did not train the model'}"
    trained = "all" if n_new == 0 else "none" if n_new == len(present) else f"{len(present) - n_new}"
    return f", from {len(present)} batches, {trained} of which trained the model"


def _codes(model: Any, adata: AnnData, labels_key: str) -> np.ndarray:
    """Return the codes of the types of cells, -1 for cells without a label.

    Raises
    ------
    ValueError
        If there is no such column, values are missing, or a type is not one of the model.
    """
    unlabeled = model.registry_["setup_args"].get("unlabeled_category")
    check_obs_column(adata, labels_key, "labels_key", unlabeled)
    known = {str(name): code for code, name in enumerate(model.cell_types)}
    texts = adata.obs[labels_key].astype(object).map(str)
    others = sorted(set(texts) - set(known) - ({str(unlabeled)} if unlabeled is not None else set()))
    if others:
        raise ValueError(
            f"Calibration cells must be of types that the model knows: {list(known)}. adata.obs[{labels_key!r}] also "
            f"has {others[:10]}. Leave these cells out; annotate() tells by genemamba_unknown that they are of none."
        )
    return texts.map(lambda text: known.get(text, -1)).to_numpy(dtype=np.int64)


def _refuse_training_cells(model: Any, adata: AnnData, rows: np.ndarray) -> None:
    # A loaded model may hold other cells than those that its row numbers are of.
    if adata is not model.adata or getattr(model, "trainer", None) is None:
        return
    # Validation cells, too: they calibrate anyway, and what follows a training may fit the model to them.
    parts = [part for part in (model.train_indices, model.validation_indices) if part is not None]
    n_seen = int(np.isin(rows, np.concatenate(parts)).sum()) if parts else 0
    if n_seen:
        raise ValueError(
            f"Calibration cells must have had no part in the training. {n_seen} of {len(rows)} trained or validated "
            "the model. Pass other cells, or indices= of cells that did neither."
        )
