"""Calibrate a model on labelled cells that it did not learn from: its validation cells, or cells of the user."""

from typing import Any

import numpy as np
from anndata import AnnData
from jaxtyping import Float32, Integer

from genemamba_sc._warn import warn
from genemamba_sc.confidence import Calibration, KnownCells, fit_known_cells
from genemamba_sc.data import CellSource
from genemamba_sc.model._inference import read_cells
from genemamba_sc.model.annotation._calibration_cells import calibration_cells
from genemamba_sc.model.fitting._plan import default_train_size
from genemamba_sc.model.fitting._splitter import TokenDataSplitter, random_split
from genemamba_sc.model.registration._setup import training_codes
from genemamba_sc.model.registration._trained_cells import learned_rows, note_learned
from genemamba_sc.training._markers import expression_matrix

# Cells that say where the known types lie: about so many, and of each type so many if it has them.
_REFERENCE_CELLS, _LEAST_OF_TYPE = 4_000, 50
# More calibration cells than these would change the third digit of a coverage, and take room in a saved model.
_MOST_CELLS = 10_000
_FOLDS = 5
# Calibrations say so of which no training cells are known; the next ones must not take their cells for such.
_BY_THEMSELVES = ", which also say where the types lie"


def cells_not_learned(model: Any, splitter: TokenDataSplitter, n_epochs: int) -> Integer[np.ndarray, "n"]:
    """Return the validation cells that no training of this model learned from, and note those that this one does.

    A second training draws its split again: most of its validation cells are then cells that the encoder knows.

    Parameters
    ----------
    model
        Model that is about to be trained.
    splitter
        Split of the training.
    n_epochs
        Passes of the training; without any the encoder learns nothing, and the rest is fitted anew each time.
    """
    earlier = learned_rows(model)
    note_learned(model, np.union1d(earlier, splitter.train_idx) if n_epochs else earlier)
    unseen = np.setdiff1d(splitter.val_idx, earlier)
    if len(unseen) < splitter.n_val and model.cell_types:
        warn(
            f"{splitter.n_val - len(unseen)} of {splitter.n_val} validation cells trained this model before, so they "
            "do not calibrate it. Call model.calibrate(adata, labels_key) with other labelled cells."
        )
    return unseen


def labels_to_calibrate_on(model: Any) -> Integer[np.ndarray, "n"]:
    """Foresee the types of the cells that calibrate a new model, where ``train`` is left to choose the split.

    The split depends on the seed of scvi-tools, which must be set before and not be changed until ``train``.

    Parameters
    ----------
    model
        Model with an AnnData and labels, which was not trained.

    Returns
    -------
    Codes of the types, shape (n,).
    """
    labels = training_codes(model)["labels"]
    train_size = default_train_size(labels, model.module.n_labels)
    _, validation, _ = random_split(len(labels), train_size)
    return labels[_at_most(_labelled(model, labels, validation), np.random.default_rng(0))]


def calibration_before_refit(
    model: Any, splitter: TokenDataSplitter, unseen: Integer[np.ndarray, "n"]
) -> Calibration | None:
    """Calibrate a trained model on the validation cells of its training.

    Call this while the weights of the model have not seen these cells: before anything is fitted to them, too. What a
    model says about cells that it was fitted to is surer than what it says about others.

    Parameters
    ----------
    model
        Model that was just trained.
    splitter
        Split of its training.
    unseen
        Validation cells that it did not learn from earlier either.

    Returns
    -------
    The calibration; ``None`` where the model learned no cell types or no labelled cell validated.
    """
    dataset, head = splitter.dataset, model.module.cell_type_head
    if head is None or not head.is_fitted or "labels" not in dataset.columns:
        return None
    rows, train = (_labelled(model, dataset.columns["labels"], part) for part in (unseen, splitter.train_idx))
    if not len(rows) or not len(train):
        return None
    rng = np.random.default_rng(0)
    rows = _at_most(rows, rng)
    labels = dataset.columns["labels"]
    train = _reference_cells(train, labels[train], rng)
    expression = expression_matrix(dataset.tokens(train), dataset.vocabulary)
    known = fit_known_cells(expression, labels[train], model.module.n_labels)
    cells = f"{len(rows)} validation cells of the training{_of_batches(splitter, rows)}"
    return _calibration(model, dataset.source, rows, labels[rows], known, cells)


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
    rows, codes = calibration_cells(model, adata, labels_key, rows)
    if len(rows) > _MOST_CELLS:
        taken = np.sort(np.random.default_rng(0).choice(len(rows), _MOST_CELLS, replace=False))
        rows, codes = rows[taken], codes[taken]
    cells = f"{len(rows)} cells given to calibrate(), by obs[{labels_key!r}]"
    if model.calibration_ is not None and not model.calibration_.cells.endswith(_BY_THEMSELVES):
        return _calibration(model, source, rows, codes, model.calibration_.known, cells)
    known, distances = _cross_fitted(model, source, rows, codes)
    read = read_cells(model.module, source, rows)
    return Calibration(read.logits, codes, distances, known, cells + _BY_THEMSELVES)


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


def _labelled(model: Any, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows[(labels[rows] >= 0) & (labels[rows] < model.module.n_labels)]


def _at_most(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(rows, _MOST_CELLS, replace=False)) if len(rows) > _MOST_CELLS else rows


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
