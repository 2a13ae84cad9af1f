"""Attach other cells to a model: register them with its registry, with as many of their columns as fit."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model.base import BaseModelClass

from genemamba_sc._warn import warn
from genemamba_sc.model.registration._trained_cells import (
    LearnedCells,
    add_learned,
    are_row_numbers,
    digest_of,
    learned_rows,
)


def take_to(model: Any, adata: AnnData) -> None:
    """Attach cells to a model that may hold others; it then knows whether they are the cells of its training.

    Parameters
    ----------
    model
        The model.
    adata
        The cells.

    Raises
    ------
    TypeError
        If they are no AnnData.
    ValueError
        If none of their genes is known, or their values cannot be ranked; the model then stays as it was.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(
            f"The cells of a model are an AnnData. Got {type(adata).__name__}. Pass one; a model without cells comes "
            "from GeneMambaModel.load(folder, adata=False)."
        )
    held = model.adata
    if held is None or held is adata:
        attach(model, adata)  # a model without cells gets them as if it had been loaded with them
        return
    learned = () if are_row_numbers(held.obs_names) else held.obs_names[learned_rows(model)]
    attach(model, adata)
    model._keeps_cells = False
    digest = digest_of(model, adata)
    model._holds_query = digest != model._split_names
    rows = np.flatnonzero(adata.obs_names.isin(learned))
    if len(rows) and not any(part.names == digest for part in model._learned):
        add_learned(model, LearnedCells(digest, rows))


def attach(model: BaseModelClass, adata: AnnData) -> None:
    """Register ``adata`` with the registry of a model, with as many of its columns as fit.

    Parameters
    ----------
    model
        Model that is to hold the cells.
    adata
        The cells.
    """
    registry = model.registry_
    arguments = dict(registry["setup_args"])
    for argument, key in (("batch_key", REGISTRY_KEYS.BATCH_KEY), ("labels_key", REGISTRY_KEYS.LABELS_KEY)):
        if arguments.get(argument) is not None and not _column_fits(adata, arguments, argument, registry, key):
            arguments[argument] = None
            if argument == "labels_key":
                arguments["unlabeled_category"] = None
    type(model).setup_anndata(adata, source_registry=registry, **arguments)
    model._adata = adata
    model._adata_manager = model._get_most_recent_anndata_manager(adata, required=True)
    model._register_manager_for_instance(model._adata_manager)


def _column_fits(adata: AnnData, arguments: dict[str, Any], argument: str, registry: dict[str, Any], key: str) -> bool:
    column = arguments[argument]
    known = np.asarray(registry["field_registries"][key]["state_registry"]["categorical_mapping"]).tolist()
    is_there = column in adata.obs
    # Values are compared as scvi-tools will compare them: the text "0" is not the number 0, and True is not 1.
    pairs = {(isinstance(value, bool | np.bool_), value) for value in known}
    values = adata.obs[column].unique().tolist() if is_there else []
    new = [value for value in values if pd.isna(value) or (isinstance(value, bool | np.bool_), value) not in pairs]
    if is_there and not new:
        return True
    told = f"({new[0]!r}; it knows {', '.join(map(repr, known[:5]))})" if new else ""
    reason = f"has values the model does not know {told}" if new else "is missing"
    warn(
        f"adata.obs[{column!r}] {reason}, so it is not registered as {argument}. "
        "The model can read these cells, but cannot be trained on them with it.",
    )
    return False
