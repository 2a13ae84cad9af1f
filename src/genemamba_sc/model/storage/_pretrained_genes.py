"""Register cells, or none, by the genes of pretrained weights."""

import warnings
from typing import Any

import numpy as np
import scvi
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model.base import BaseModelClass

from genemamba_sc._constants import VOCABULARY_KEY
from genemamba_sc.data import CellSource, GeneVocabulary, query_source

_SETUP = dict.fromkeys(("layer", "batch_key", "labels_key", "unlabeled_category", "gene_id_key", "scale"))


def use_vocabulary(cls: type[BaseModelClass], adata: AnnData, vocabulary: GeneVocabulary) -> None:
    """Register the genes of ``adata`` by the vocabulary of a checkpoint; layer, batches and labels stay."""
    manager = cls._get_most_recent_anndata_manager(adata, required=False)
    if manager is None:
        raise ValueError(
            f"adata is not registered, so there is nothing to say what to train on. Call {cls.__name__}."
            "setup_anndata(adata, labels_key=...) first, or leave adata out and pass it to get_latent_representation."
        )
    registry = manager.registry
    state = registry["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"]
    if state[VOCABULARY_KEY]["fingerprint"] != vocabulary.fingerprint:
        cls.setup_anndata(adata, **registry["setup_args"], vocabulary=vocabulary)


def registered_source(adata: AnnData, model: Any) -> CellSource:
    """Read cells as they were registered for a model; what there is to warn about was said when they were."""
    arguments = model.registry_["setup_args"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return query_source(
            adata, model.vocabulary, model.max_len_, arguments, model.gene_aliases, scale=arguments.get("scale")
        )


def registry_of(cls: type[BaseModelClass], vocabulary: GeneVocabulary) -> dict[str, Any]:
    """Return the registry of a model that was set up with these genes and no cells."""
    n_genes, names = vocabulary.n_genes, np.array(vocabulary.gene_ids)
    state = {"n_obs": 0, "n_vars": n_genes, "column_names": names, VOCABULARY_KEY: vocabulary.to_dict()}
    genes = {
        "data_registry": {"attr_name": "X", "attr_key": None},
        "state_registry": state,
        "summary_stats": {"n_vars": n_genes, "n_cells": 0},
    }
    return {
        "scvi_version": scvi.__version__,
        "model_name": cls.__name__,
        "setup_args": dict(_SETUP),
        "field_registries": {REGISTRY_KEYS.X_KEY: genes},
        "setup_method_name": "setup_anndata",
    }
