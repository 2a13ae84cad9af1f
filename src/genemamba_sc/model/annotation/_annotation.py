"""Hold what a model says about cells, and write it to an AnnData."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32

from genemamba_sc._constants import (
    CLUSTERS_KEY,
    CONFIDENCE_KEY,
    OBSM_KEY,
    PREDICTION_KEY,
    SET_KEY,
    UNKNOWN_KEY,
    UNKNOWN_TYPE,
    UNS_KEY,
    VOTING_KEY,
)
from genemamba_sc._described import Described, listed
from genemamba_sc._version import __version__
from genemamba_sc._warn import warn
from genemamba_sc.confidence import LabelSets, Shift
from genemamba_sc.model.annotation._voting import Voting

_UNKNOWN_COLOUR = "#808080"


@dataclass(frozen=True, eq=False, repr=False)
class Annotation(Described):
    """Hold what a model says about cells.

    Parameters
    ----------
    cell_types
        Type of each cell, shape ``(n_obs,)``; a categorical in the order of the model, indexed by cell. Where unknown
        cells are rejected, ``"Unknown"`` is the last category.
    confidence
        Probability of the most likely type, shape ``(n_obs,)``. It divides a cell among the types that the model
        knows: a cell of another type gets one of these, and often with high confidence.
    probabilities
        Probability of every type, cells × types; rows sum to one.
    embedding
        Embedding, shape ``(n_obs, d_model)``.
    is_calibrated
        Whether the probabilities are calibrated on cells that the model did not learn from.
    sets
        Types that each cell may be of; ``None`` where the model has too few calibration cells.
    unknown
        Share of the calibration cells that are nearer to the known types, shape ``(n_obs,)``, in [0, 1); ``None`` where
        the model has none.
    rejected_from
        From which share on a cell is called ``"Unknown"``; ``None`` where none is.
    voting
        What clusters agreed on; ``None`` where they were not asked.
    shift
        How much the model's sureness of these cells differs from that of the calibration cells; ``None`` where it has
        none.
    """

    cell_types: pd.Series
    confidence: pd.Series
    probabilities: pd.DataFrame
    embedding: Float32[np.ndarray, "n d"]
    is_calibrated: bool = False
    sets: LabelSets | None = None
    unknown: pd.Series | None = None
    rejected_from: float | None = None
    voting: Voting | None = None
    shift: Shift | None = None

    def to_frame(self) -> pd.DataFrame:
        """Give one row per cell, with the columns that :meth:`genemamba_sc.GeneMambaModel.annotate` writes to obs."""
        # The categories are text, because not every reader of h5ad accepts others.
        columns = {PREDICTION_KEY: _as_text(self.cell_types), CONFIDENCE_KEY: self.confidence}
        if self.sets is not None:
            columns[SET_KEY] = self.sets.as_text()
        if self.unknown is not None:
            columns[UNKNOWN_KEY] = self.unknown
        if self.voting is not None:
            columns[VOTING_KEY] = _as_text(self.voting.cell_types)
            if not self.voting.by:
                columns[CLUSTERS_KEY] = self.voting.clusters
        return pd.DataFrame(columns)

    def _about(self) -> dict[str, str]:
        counts = self.cell_types.value_counts()
        entries = {
            "cells": f"{len(self.cell_types):,}",
            "cell types": listed(f"{name} ({n:,})" for name, n in counts[counts > 0].items()),
            "confidence": f"median {self.confidence.median():.3f}, {'' if self.is_calibrated else 'not '}calibrated",
            "embedding": f"{self.embedding.shape[1]} dimensions",
        }
        if self.sets is not None:
            sizes = self.sets.sizes
            entries["sets"] = f"of coverage {self.sets.coverage:g}; {(sizes == 1).mean():.1%} hold one type"
        if self.rejected_from is not None and self.unknown is not None:
            entries["unknown"] = f"{int((self.unknown >= self.rejected_from).sum()):,} cells"
        if self.voting is not None:
            entries["votes"] = f"of {self.voting.clusters.nunique():,} clusters ({self.voting.by or 'made here'})"
        if self.shift is not None:
            entries["shift"] = f"{'seen' if self.shift.is_seen else 'not seen'}, distance {self.shift.distance:.2f}"
        return entries


def _as_text(types: pd.Series) -> pd.Series:
    # scanpy's dot plots and rank_genes_groups refuse a category that no cell has.
    types = types.cat.remove_unused_categories()
    return types.cat.rename_categories([str(name) for name in types.cat.categories])


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


def write_annotation(model: Any, adata: AnnData, found: Annotation) -> None:
    """Write an annotation to an AnnData, together with its origin.

    Parameters
    ----------
    model
        Model that made the annotation.
    adata
        AnnData of the same cells.
    found
        Annotation to write. Columns of an earlier annotation that it lacks are removed.
    """
    columns = found.to_frame()
    for key in (SET_KEY, UNKNOWN_KEY, VOTING_KEY, CLUSTERS_KEY):
        votes = found.voting is not None and key == found.voting.by
        if key in adata.obs and key not in columns and not votes:
            del adata.obs[key]
    for key, values in columns.items():
        adata.obs[key] = values.array if isinstance(values.dtype, pd.CategoricalDtype) else values.to_numpy()
    store(adata, OBSM_KEY, found.embedding)
    for key in (PREDICTION_KEY, VOTING_KEY):
        if key in columns:
            _copy_colours(model, adata, key)
    adata.uns[UNS_KEY] = _provenance(model, found)


def _provenance(model: Any, found: Annotation) -> dict[str, Any]:
    """Say what the model was and how it was asked, in values that an h5ad file can hold."""
    said: dict[str, Any] = {
        "package_version": __version__,
        "vocabulary_fingerprint": model.vocabulary.fingerprint,
        "pretrained_from": "" if model.pretrained_ is None else model.pretrained_["origin"],
        "cell_types": [str(name) for name in model.cell_types],
        "is_calibrated": found.is_calibrated,
    }
    if found.is_calibrated:
        said |= {"calibrated_on": model.calibration_.cells, "temperature": model.calibration_.temperature}
    if found.shift is not None:
        said |= {"shift_distance": found.shift.distance, "shift_p_value": found.shift.p_value}
    if found.sets is not None:
        said |= {"coverage": found.sets.coverage, "coverage_is_per_type": found.sets.per_type}
        said["sets_may_be_empty"] = found.sets.allow_empty
    if found.rejected_from is not None:
        said["unknown_from"] = found.rejected_from
    if found.voting is not None:
        said["majority_voting"] = found.voting.by or CLUSTERS_KEY
    return said


def _copy_colours(model: Any, adata: AnnData, key: str) -> None:
    """Give the predictions the colours that the labels of the reference have; unknown cells are grey."""
    adata.uns.pop(f"{key}_colors", None)
    labels_key = model.registry_["setup_args"].get("labels_key")
    if model.adata is None or f"{labels_key}_colors" not in model.adata.uns or labels_key not in model.adata.obs:
        return
    known = model.adata.obs[labels_key].astype("category").cat.categories
    colours = dict(zip(map(str, known), model.adata.uns[f"{labels_key}_colors"]))
    wanted = list(adata.obs[key].cat.categories)
    colours.setdefault(UNKNOWN_TYPE, _UNKNOWN_COLOUR)
    if set(wanted) <= colours.keys():
        adata.uns[f"{key}_colors"] = [colours[name] for name in wanted]


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
