"""Say in a few lines what a model is, as text and for notebooks."""

from typing import Any

from genemamba_sc._described import listed
from genemamba_sc.model.registration._batch_names import batch_names


def about(model: Any) -> dict[str, str]:
    """Describe a model, trained or not: one entry for each thing to know.

    Parameters
    ----------
    model
        The model.
    """
    config, vocabulary = model.module.encoder_config, model.vocabulary
    integration, calibration = model.integration_, model.calibration_
    return {
        "genes": f"{vocabulary.n_genes:,} ({vocabulary.species})",
        "encoder": f"{config.n_layer} layer(s), width {config.d_model}, at most {model.max_len_:,} genes of a cell",
        "weights": _weights(model.origin),
        "cell types": listed(model.cell_types),
        "batches": listed(batch_names(model.registry_)),
        "integrated": "no" if integration is None else f"into {integration.axes.shape[1]} dimensions",
        "calibrated on": "no cells" if calibration is None else calibration.cells,
        "cells": "none held" if model.adata is None else f"{model.adata.n_obs:,}",
    }


def _weights(origin: Any) -> str:
    start = "from scratch" if origin.name is None else f"from {origin.name}"
    if not origin.is_trained:
        return f"not trained, {start}" if origin.name is None else f"pretrained, {start}; not trained since"
    return f"trained {start}, {origin.n_epochs} epoch(s)"
