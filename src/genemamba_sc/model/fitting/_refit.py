"""Fit markers and programs again when a training is over, with the validation cells."""

from typing import Any

import numpy as np

from genemamba_sc._warn import warn
from genemamba_sc.confidence import Calibration
from genemamba_sc.model.fitting._splitter import TokenDataSplitter
from genemamba_sc.model.fitting._start import CellTypeStart, refit_on_all


def wants_refit(refit: bool | None, splitter: TokenDataSplitter, *, learns_types: bool, chooses_split: bool) -> bool:
    """Decide, before a training begins, whether a refit follows it.

    Parameters
    ----------
    refit
        What the user asked for; ``None`` refits where :meth:`train` chose the split.
    splitter
        Split of the training.
    learns_types
        Whether the training learns cell types.
    chooses_split
        Whether :meth:`train` chose the split.

    Raises
    ------
    TypeError
        If ``refit`` is something else.
    ValueError
        If it is asked for and there is nothing to fit again.
    """
    if refit is not None and not isinstance(refit, bool):
        raise TypeError(f"refit must be True, False or None. Got {refit!r}. None refits where train() chose the split.")
    if refit and not (learns_types and splitter.n_val > 0):
        lacks = "no cell validates" if learns_types else "no cell types are learned"
        raise ValueError(
            f"refit=True fits cell types again with the validation cells, but {lacks} in this training. Leave it out, "
            "or register labels_key= and choose a train_size below 1."
        )
    return chooses_split if refit is None else refit


def refit_markers(model: Any, splitter: TokenDataSplitter, start: CellTypeStart | None) -> None:
    """Fit markers and programs of a trained model again, with the validation cells.

    Parameters
    ----------
    model
        Trained model.
    splitter
        Split of its training.
    start
        What was found before the training; nothing is done where this is ``None`` or no cell validated.
    """
    if start is not None and splitter.n_val > 0:
        cells = np.concatenate([splitter.train_idx, splitter.val_idx])
        refit_on_all(model.module, splitter.dataset, cells, start)


def calibration_after_refit(
    model: Any, splitter: TokenDataSplitter, calibration: Calibration | None
) -> Calibration | None:
    """Drop a calibration, with a warning, where a refit gave the model types that it did not know before.

    Its scores of the calibration cells are then of a model that called all cells of such a type something else:
    temperature and sets would be too wide for all types, and cells of this one would look unknown, because the cells
    that tell where known types lie are those of the training.

    Parameters
    ----------
    model
        Model that was fitted again.
    splitter
        Split of its training.
    calibration
        What was found before the refit.
    """
    if calibration is None:
        return None
    labels = splitter.dataset.columns["labels"]
    new = np.setdiff1d(labels[splitter.val_idx], labels[splitter.train_idx])
    names = [model.cell_types[code] for code in new if 0 <= code < model.module.n_labels]
    if not names:
        return calibration
    warn(
        f"Only validation cells are of the types {names}, which the model knows since the refit and did not know when "
        "it was calibrated. The calibration is dropped. Call model.calibrate(adata, labels_key) with other labelled "
        "cells, train with a split that has cells of each type in both parts, or pass refit=False."
    )
    return None
