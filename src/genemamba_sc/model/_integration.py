"""Fit an integration after training."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Integer

from genemamba_sc._checks import yes_or_no
from genemamba_sc._warn import warn
from genemamba_sc.integration import (
    FEWEST_CELLS,
    CannotIntegrateError,
    Integration,
    IntegrationConfig,
    fit_integration,
)
from genemamba_sc.model._inference import embed
from genemamba_sc.model.registration._batch_names import batch_names
from genemamba_sc.model.registration._setup import registered_codes

# Cells that an integration is fitted on, and those that each batch has among them at least.
_MOST_CELLS = 20_000
_LEAST_OF_BATCH = 200


def integration_config(
    integrate: bool | None, integration_kwargs: Mapping[str, Any] | None, columns: Mapping[str, np.ndarray]
) -> IntegrationConfig | None:
    """Decide whether a training integrates, and how.

    Parameters
    ----------
    integrate
        What the user asked for; ``None`` integrates where at least two batches are registered.
    integration_kwargs
        Fields of :class:`IntegrationConfig`.
    columns
        Codes of the registered columns.

    Returns
    -------
    The choices; ``None`` where nothing is integrated.

    Raises
    ------
    TypeError
        If a name is no field of the choices, or ``integrate`` is neither ``None`` nor a bool.
    ValueError
        If the user asked for it and there are no two batches, or gave choices for what is not done.
    """
    if integrate is not None:
        yes_or_no("integrate", integrate)
    config = _config_of(integration_kwargs or {})
    n_batches = len(np.unique(columns["batch"])) if "batch" in columns else 0
    if integrate and n_batches < 2:
        raise ValueError(
            f"integrate=True needs at least two batches. The registered cells have {n_batches}. Pass batch_key= to "
            "setup_anndata, with a column that has two values or more."
        )
    if n_batches < 2 if integrate is None else not integrate:
        if integration_kwargs:
            raise ValueError(
                f"integration_kwargs are choices of an integration, which this training does not do (integrate="
                f"{integrate}, {n_batches} batches). Leave them out, or register a batch_key with two batches."
            )
        return None
    return config


def warn_if_integration_ends(model: Any, config: IntegrationConfig | None) -> None:
    """Warn where a training ends the integration of a model: its offsets do not fit the weights to come.

    Parameters
    ----------
    model
        Model to train.
    config
        Choices of its next integration; ``None`` where there is none.
    """
    if model.integration_ is not None and config is None:
        warn(
            "This model was integrated, and this training does not integrate: its embedding will be that of the "
            "encoder, of another width, and not comparable with the former one. Train on at least two batches to "
            "integrate."
        )


def check_table(model: Any, *, within_batches: bool) -> None:
    """Refuse to integrate without labels by a gene table that an earlier training started over all cells.

    Without labels the table is to hold what varies within batches, and it is started once: layers that have learned to
    read one table cannot read another.

    Parameters
    ----------
    model
        Model to train.
    within_batches
        Whether its next training needs such a table.

    Raises
    ------
    ValueError
        If the table is another one.
    """
    origin = model.origin
    is_kept = not origin.needs_start and origin.table_start(model.gene_init_) in ("spectral", "denoised")
    if not within_batches or not is_kept or origin.table_within_batches:
        return
    if origin.table_within_batches is None:
        warn(
            "This model was saved by a version that did not note whether its gene table holds what varies within "
            "batches, which an integration without labels is best with. If it was trained with integrate=False, make "
            "a new model instead: GeneMambaModel(adata), then train()."
        )
        return
    raise ValueError(
        "An integration without labels needs a gene table of what varies within batches. This model was trained with "
        "integrate=False before, and its layers read the table that was made then. Make a new model and train that: "
        "GeneMambaModel(adata), then train(); or pass integrate=False to go on without an integration."
    )


def _config_of(integration_kwargs: Mapping[str, Any]) -> IntegrationConfig:
    known = [field.name for field in dataclasses.fields(IntegrationConfig)]
    unknown = sorted(set(integration_kwargs) - set(known))
    if unknown:
        raise TypeError(f"integration_kwargs names choices of the integration. Got {unknown}. Choose among {known}.")
    return IntegrationConfig(**integration_kwargs)


def fit_model(model: Any, config: IntegrationConfig, *, required: bool) -> Integration | None:
    """Fit an integration on the embedding of the registered cells, or of 20,000 of them.

    Parameters
    ----------
    model
        Model that is trained, with its AnnData.
    config
        Choices of the integration.
    required
        Whether the user asked for it.

    Returns
    -------
    The integration; ``None``, with a warning, where these cells cannot be integrated and nobody asked for it.

    Raises
    ------
    ValueError
        If they cannot be integrated and the user asked for it.
    """
    try:
        return _fitted(model, config, required)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "The integration was interrupted after the training: the model is kept and can predict, but its embedding "
            "is not integrated. train(max_epochs=0) integrates it."
        ) from None


def _fitted(model: Any, config: IntegrationConfig, required: bool) -> Integration | None:
    codes = registered_codes(model.adata_manager)
    rows = _sample(codes["batch"])
    latent = embed(model.module, model._source(model.adata), rows)
    tells = latent.any(axis=1)
    rows, latent = rows[tells], latent[tells]
    labels = codes["labels"][rows] if "labels" in codes else None
    if labels is not None:
        # Labels of test cells are not to be known to what is tested.
        is_hidden = (labels >= len(model.cell_types)) | np.isin(rows, _test_cells(model))
        labels = np.where(is_hidden, -1, labels)
    present, batches = np.unique(codes["batch"][rows], return_inverse=True)
    try:
        found = fit_integration(latent, batches, labels, config)
    except CannotIntegrateError as error:
        if required:
            raise
        warn(f"The embedding is not integrated over batches. {error} Pass integrate=False to train without this.")
        return None
    names = batch_names(model.registry_)
    _say_which_are_small([names[code] for code in present[np.bincount(batches) < FEWEST_CELLS]])
    return found.with_batches(present, len(names))


def _say_which_are_small(names: list[str]) -> None:
    if names:
        warn(
            f"{len(names)} batches with fewer than {FEWEST_CELLS} cells are integrated, but so few hardly tell what "
            f"they have in common: {', '.join(sorted(names))[:200]}. Look at their cells with integrated=False as well."
        )


def _test_cells(model: Any) -> np.ndarray:
    return np.empty(0, dtype=np.int64) if model.test_indices is None else np.asarray(model.test_indices)


def _sample(batches: Integer[np.ndarray, "n"]) -> Integer[np.ndarray, "m"]:
    """Take all cells, or about 20,000 with some of every batch."""
    if len(batches) <= _MOST_CELLS:
        return np.arange(len(batches))
    rng, rows = np.random.default_rng(0), []
    least = min(_LEAST_OF_BATCH, _MOST_CELLS // len(np.unique(batches)))
    for batch in np.unique(batches):
        members = np.flatnonzero(batches == batch)
        wanted = max(least, round(_MOST_CELLS * len(members) / len(batches)))
        rows.append(rng.choice(members, min(wanted, len(members)), replace=False))
    return np.sort(np.concatenate(rows))
