"""Annotate cells: compute types, confidence and embedding in one pass over the cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32

from genemamba_sc._constants import CONFIDENCE_KEY, OBSM_KEY, PREDICTION_KEY, UNS_KEY
from genemamba_sc._version import __version__
from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource
from genemamba_sc.model._inference import cells_and_probabilities


@dataclass(frozen=True, eq=False)
class Annotation:
    """Hold what a model says about cells.

    Parameters
    ----------
    cell_types
        Type of each cell, shape ``(n_obs,)``; a categorical in the order of the model, indexed by cell.
    confidence
        Probability of that type, shape ``(n_obs,)``. It is not calibrated: a cell of a type that the model does not
        know gets one of those it knows, and often with high confidence.
    probabilities
        Probability of every type, cells × types; rows sum to one.
    embedding
        Embedding, shape ``(n_obs, d_model)``.
    """

    cell_types: pd.Series
    confidence: pd.Series
    probabilities: pd.DataFrame
    embedding: Float32[np.ndarray, "n d"]


def require_cell_types(model: Any) -> None:
    """Refuse a model that knows no cell types; warn where it cannot tell them apart.

    Raises
    ------
    ValueError
        If the model was set up or trained without labels.
    """
    if not model.cell_types:
        raise ValueError(
            "This model was set up without labels and knows no cell types. "
            "Pass labels_key= to setup_anndata and train again."
        )
    head = model.module.cell_type_head
    if head is None or not head.is_fitted:
        raise ValueError(
            "This model was trained without its labels (classification_weight=0), or not since from_pretrained, "
            "and tells no cell types apart. Train again with a positive classification_weight."
        )
    if not head.tells_types:
        warn("Expression did not tell the labels apart in training: every type has the same score in every cell.")


def annotation_of(model: Any, source: CellSource, adata: AnnData, batch_size: int | None) -> Annotation:
    """Ask a model about all cells of a source.

    Parameters
    ----------
    model
        A model with cell types.
    source
        Tokens of the cells of ``adata``.
    adata
        AnnData that gives the names of the cells.
    batch_size
        Number of cells per pass; ``None`` packs cells of similar length.
    """
    rows = np.arange(adata.n_obs)
    latent, probabilities = cells_and_probabilities(model.module, source, rows, batch_size=batch_size)
    names, best = adata.obs_names, probabilities.argmax(axis=1)
    types = pd.Categorical.from_codes(best, categories=pd.Index(model.cell_types))
    return Annotation(
        cell_types=pd.Series(types, index=names, name=PREDICTION_KEY),
        confidence=pd.Series(probabilities[rows, best], index=names, name=CONFIDENCE_KEY),
        probabilities=pd.DataFrame(probabilities, index=names, columns=pd.Index(model.cell_types)),
        embedding=latent,
    )


def write_annotation(model: Any, adata: AnnData, found: Annotation) -> None:
    """Write an annotation to an AnnData, together with its origin.

    Parameters
    ----------
    model
        Model that made the annotation.
    adata
        AnnData of the same cells.
    found
        Annotation to write.
    """
    # The categories are text, because not every reader of h5ad accepts others.
    types = found.cell_types.cat.rename_categories([str(name) for name in found.cell_types.cat.categories])
    adata.obs[PREDICTION_KEY] = pd.Categorical(types)
    adata.obs[CONFIDENCE_KEY] = found.confidence.to_numpy()
    store(adata, OBSM_KEY, found.embedding)
    _copy_colours(model, adata)
    adata.uns[UNS_KEY] = {
        "package_version": __version__,
        "vocabulary_fingerprint": model.vocabulary.fingerprint,
        "pretrained_from": "" if model.pretrained_ is None else model.pretrained_["origin"],
        "cell_types": [str(name) for name in model.cell_types],
    }


def _copy_colours(model: Any, adata: AnnData) -> None:
    """Give the predictions the colours that the labels of the reference have."""
    labels_key = model.registry_["setup_args"].get("labels_key")
    if model.adata is None or f"{labels_key}_colors" not in model.adata.uns or labels_key not in model.adata.obs:
        return
    known = model.adata.obs[labels_key].astype("category").cat.categories
    colours = dict(zip(map(str, known), model.adata.uns[f"{labels_key}_colors"]))
    wanted = [str(name) for name in model.cell_types]
    if set(wanted) <= colours.keys():
        adata.uns[f"{PREDICTION_KEY}_colors"] = [colours[name] for name in wanted]


def store(adata: AnnData, key: str, latent: Float32[np.ndarray, "n d"]) -> None:
    """Write an embedding to ``obsm``, where that is possible.

    Parameters
    ----------
    adata
        AnnData to write to.
    key
        Key in ``adata.obsm``.
    latent
        Embedding, with one row per cell.
    """
    if adata.is_view and adata.isbacked:
        warn(
            f"A view of a backed AnnData takes no new arrays, so adata.obsm[{key!r}] was not written: "
            "use the array that is returned, or adata.to_memory(). Pass key_added=None to avoid this warning."
        )
    else:
        adata.obsm[key] = latent
