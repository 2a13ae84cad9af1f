"""Turn an AnnData into what the model reads: registered fields, codes of labels, and the source of a query."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data.fields import BaseAnnDataField, CategoricalObsField
from scvi.model.base import BaseModelClass

from genemamba_sc._whole_floats import as_text
from genemamba_sc.model.registration._labels_field import LabelsField
from genemamba_sc.model.registration._obs_columns import (
    check_batches,
    check_labels,
    check_obs_column,
    warn_if_confounded,
)
from genemamba_sc.nn import EncoderConfig

# Where scvi-tools notes which manager registered an AnnData last.
_LATEST_MANAGER = "_scvi_manager_uuid"


def obs_fields(
    adata: AnnData, batch_key: str | None, labels_key: str | None, unlabeled_category: object, *, new: bool
) -> list[BaseAnnDataField]:
    """Build the fields of batch and labels for ``setup_anndata``, which has the same parameters.

    ``new`` tells that the cell types are taken from this AnnData. Where they are already known, its cells may all be of
    one type.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData, or a lazy one.
    ValueError
        If a column does not exist, labels are missing, there is only one cell type, or the AnnData is a view of one on
        disk.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(
            f"setup_anndata needs an AnnData. Got {type(adata).__name__}. Read an h5ad file with anndata.read_h5ad."
        )
    if not isinstance(adata.obs, pd.DataFrame):
        raise TypeError(
            "setup_anndata needs cells in memory, or a file that is opened with backed='r'. Got adata.obs of the kind "
            f"{type(adata.obs).__name__}, as anndata.experimental.read_lazy leaves it. Load it: adata = "
            "adata.to_memory()."
        )
    if adata.is_view and adata.isbacked:
        raise ValueError(
            "setup_anndata writes codes into adata.obs, which a part of a file on disk does not allow. Got a view of "
            f"{adata.n_obs} cells of {adata.filename}. Pass adata.to_memory(), or adata.copy('part.h5ad')."
        )
    fields: list[BaseAnnDataField] = []
    if batch_key is not None:
        check_obs_column(adata, batch_key, "batch_key")
        fields.append(CategoricalObsField(REGISTRY_KEYS.BATCH_KEY, batch_key))
        if new:
            check_batches(adata, batch_key)
    if labels_key is not None:
        unlabeled = check_obs_column(adata, labels_key, "labels_key", unlabeled_category)
        if new:
            unlabeled = check_labels(adata, labels_key, unlabeled)
            if batch_key is not None:
                warn_if_confounded(adata, batch_key, labels_key, unlabeled)
        fields.append(LabelsField(labels_key, unlabeled))
    elif unlabeled_category is not None:
        raise ValueError(
            f"unlabeled_category={unlabeled_category!r} was given without labels_key. "
            "Name the column of adata.obs that holds the labels with labels_key=."
        )
    return fields


def check_registered(adata: AnnData | None, registry: dict[str, Any] | None) -> None:
    """Refuse to build a model without an AnnData."""
    if adata is None and registry is None:
        raise ValueError(
            "GeneMambaModel needs an AnnData. Got none. Register one with "
            "GeneMambaModel.setup_anndata(adata) and pass it, or load a saved model with GeneMambaModel.load(folder)."
        )
    if adata is not None and not isinstance(adata, AnnData):
        raise TypeError(
            f"GeneMambaModel needs an AnnData. Got {type(adata).__name__}. "
            "Read an h5ad file with anndata.read_h5ad, or build anndata.AnnData(counts, obs, var)."
        )


def check_encoder_config(config: EncoderConfig, vocab_size: int) -> None:
    """Refuse a configuration for another vocabulary."""
    if not isinstance(config, EncoderConfig):
        raise TypeError(
            f"encoder_config must be an EncoderConfig. Got {type(config).__name__}. "
            "Build one with EncoderConfig(...), or from a dict with EncoderConfig.from_dict."
        )
    if config.vocab_size != vocab_size:
        raise ValueError(
            f"encoder_config.vocab_size is {config.vocab_size}, but the registered genes make a vocabulary "
            f"of {vocab_size}. Use vocab_size={vocab_size}."
        )


def training_codes(model: BaseModelClass) -> dict[str, np.ndarray]:
    """Return the codes of the registered columns of the AnnData that a model is to be trained on.

    Raises
    ------
    ValueError
        If the model has no AnnData, or has cell types and an AnnData without labels.
    """
    if model.adata is None:
        raise ValueError(
            "This model holds no AnnData to train on. Load it with GeneMambaModel.load(folder, adata=adata)."
        )
    codes = registered_codes(model.adata_manager)
    if model.cell_types and "labels" not in codes:
        raise ValueError(
            "This model knows cell types, but the AnnData attached to it has no labels registered. "
            f"Give it adata.obs[{model.registry_['setup_args']['labels_key']!r}] and load the model with it again."
        )
    return codes


def registered_codes(manager: AnnDataManager) -> dict[str, np.ndarray]:
    """Return integer codes of batch and labels, shape ``(n_obs,)`` each, if they are registered.

    The codes that scvi-tools keeps in ``obs`` are those of the model that registered the AnnData last, which may be
    another one. Then they are found anew.

    Raises
    ------
    ValueError
        If the column of ``obs`` is not what it was when it was registered.
    """
    names = {REGISTRY_KEYS.BATCH_KEY: "batch", REGISTRY_KEYS.LABELS_KEY: "labels"}
    return {name: _checked_codes(manager, key) for key, name in names.items() if key in manager.data_registry}


def kept_codes(manager: AnnDataManager, key: str) -> np.ndarray | None:
    """Return the codes that ``setup_anndata`` wrote, shape (n_obs,); ``None`` where another model has written its own.

    Parameters
    ----------
    manager
        Manager of the AnnData.
    key
        One of scvi-tools' ``REGISTRY_KEYS``.
    """
    if manager.adata.uns.get(_LATEST_MANAGER) != manager.id:
        return None
    return np.asarray(manager.get_from_registry(key)).ravel().astype(np.int64)


def codes_in_column(manager: AnnDataManager, key: str) -> np.ndarray | None:
    """Find the codes of a column by its values of today, shape (n_obs,).

    Parameters
    ----------
    manager, key
        As in :func:`kept_codes`.

    Returns
    -------
    The codes, -1 for a value that was none when the column was registered; ``None`` where the column is gone. A number
    that has become text is the same value: pictures make categories of text of columns of numbers.
    """
    state = manager.get_state_registry(key)
    column, known = state[CategoricalObsField.ORIGINAL_ATTR_KEY], state[CategoricalObsField.CATEGORICAL_MAPPING_KEY]
    if column not in manager.adata.obs:
        return None
    names = np.asarray(known).tolist()
    values = manager.adata.obs[column].astype(object)
    codes = pd.Index(names, dtype=object).get_indexer(values).astype(np.int64)
    by_text = {as_text(name): code for code, name in enumerate(names)}
    unknown = np.flatnonzero(codes < 0)
    if len(unknown) and len(by_text) == len(names):
        of_row, others = pd.factorize(values.iloc[unknown])
        codes[unknown] = np.array([*(by_text.get(as_text(name), -1) for name in others), -1], dtype=np.int64)[of_row]
    return codes


def _checked_codes(manager: AnnDataManager, key: str) -> np.ndarray:
    kept, found = kept_codes(manager, key), codes_in_column(manager, key)
    column = manager.get_state_registry(key)[CategoricalObsField.ORIGINAL_ATTR_KEY]
    anew = "Call setup_anndata again, and make a new model."
    if found is None:
        if kept is not None:
            return kept
        raise ValueError(f"The model was set up with adata.obs[{column!r}], which is gone. {anew}")
    changed = found < 0 if kept is None else found != kept
    if changed.any():
        example = manager.adata.obs[column].iloc[int(np.argmax(changed))]
        raise ValueError(
            f"The model was set up with adata.obs[{column!r}], which has changed for {changed.sum()} of {len(changed)} "
            f"cells since: one has {example!r} now. Bring the former values back. Or: {anew[0].lower()}{anew[1:]}"
        )
    return found
