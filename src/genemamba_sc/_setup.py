"""From AnnData to what the model reads: registered fields, codes of labels, and the source of a query."""

from typing import Any

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data.fields import BaseAnnDataField, CategoricalObsField, LabelsWithUnlabeledObsField

from genemamba_sc.data import (
    CellSource,
    GeneAliases,
    GenesField,
    GeneVocabulary,
    RankTokenizer,
    detect_expression,
    match_genes,
    reader_of,
    require_match,
    warn_if_few_counts,
    where_is,
)


def build_fields(
    adata: AnnData,
    layer: str | None,
    batch_key: str | None,
    labels_key: str | None,
    unlabeled_category: str | None,
    gene_id_key: str | None,
    vocabulary: GeneVocabulary | None,
) -> list[BaseAnnDataField]:
    """The fields of ``setup_anndata``; parameters as there.

    Raises
    ------
    ValueError
        If a column does not exist, labels are missing, or there is only one cell type.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(f"setup_anndata needs an AnnData. Got {type(adata).__name__}.")
    fields: list[BaseAnnDataField] = [GenesField(layer, gene_id_key, vocabulary)]
    if batch_key is not None:
        check_obs_column(adata, batch_key, "batch_key")
        fields.append(CategoricalObsField(REGISTRY_KEYS.BATCH_KEY, batch_key))
    if labels_key is not None:
        _check_labels(adata, labels_key, unlabeled_category)
        fields.append(labels_field(labels_key, unlabeled_category))
    elif unlabeled_category is not None:
        raise ValueError(
            f"unlabeled_category={unlabeled_category!r} was given without labels_key. "
            "Name the column of adata.obs that holds the labels with labels_key=."
        )
    return fields


def labels_field(labels_key: str, unlabeled_category: str | None) -> BaseAnnDataField:
    """The field of the labels, with or without cells that have none."""
    if unlabeled_category is None:
        return CategoricalObsField(REGISTRY_KEYS.LABELS_KEY, labels_key)
    return LabelsWithUnlabeledObsField(REGISTRY_KEYS.LABELS_KEY, labels_key, unlabeled_category)


def check_obs_column(adata: AnnData, key: str, argument: str) -> None:
    """Refuse a column that ``adata.obs`` lacks, naming those it has."""
    if key not in adata.obs.columns:
        raise ValueError(f"{argument}={key!r} is not a column of adata.obs, which has {list(adata.obs.columns)}.")
    n_missing = int(adata.obs[key].isna().sum())
    if n_missing:
        raise ValueError(
            f"adata.obs[{key!r}] has {n_missing} missing values (NaN); every cell needs one. "
            "Fill them with a category of their own"
            + (", e.g. 'Unknown', and pass unlabeled_category='Unknown'." if argument == "labels_key" else ".")
        )


def _check_labels(adata: AnnData, key: str, unlabeled_category: str | None) -> None:
    check_obs_column(adata, key, "labels_key")
    types = [name for name in adata.obs[key].unique() if name != unlabeled_category]
    if len(types) < 2:
        raise ValueError(
            f"adata.obs[{key!r}] has {len(types)} cell type(s) ({types}); classification needs at least 2. "
            "Leave labels_key=None to train without labels, or name another column."
        )


def registered_codes(manager: AnnDataManager) -> dict[str, np.ndarray]:
    """Integer codes of batch and labels, shape ``(n_obs,)`` each, as far as they are registered."""
    names = {REGISTRY_KEYS.BATCH_KEY: "batch", REGISTRY_KEYS.LABELS_KEY: "labels"}
    return {
        name: np.asarray(manager.get_from_registry(key)).ravel().astype(np.int64)
        for key, name in names.items()
        if key in manager.data_registry
    }


def query_source(
    adata: AnnData,
    vocabulary: GeneVocabulary,
    max_len: int,
    setup_args: dict[str, Any],
    aliases: GeneAliases | None = None,
) -> CellSource:
    """The cells of any AnnData as tokens of the vocabulary; nothing is registered and nothing is written.

    Parameters
    ----------
    adata
        A query: fewer, shuffled or unknown genes, no labels, new batches, in memory or backed.
    vocabulary
        The genes of the model.
    max_len
        Most tokens per cell.
    setup_args
        ``layer`` and ``gene_id_key`` of ``setup_anndata``. A query whose ``var`` lacks the ``gene_id_key`` is
        matched by its ``var_names``.
    aliases
        Further names of genes, where a table was given.

    Raises
    ------
    ValueError
        If no gene matches, the layer is missing, or the values cannot be ranked.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(f"An AnnData is needed. Got {type(adata).__name__}.")
    layer, key = setup_args.get("layer"), setup_args.get("gene_id_key")
    reader = reader_of(adata, layer)
    expression = detect_expression(reader, uns=adata.uns, where=where_is(layer))
    match = match_genes(adata.var, vocabulary, gene_id_key=key if key in adata.var else None, aliases=aliases)
    require_match(adata.var, match, vocabulary, aliases)
    warn_if_few_counts(reader, expression, match)
    return CellSource(reader, match.token_ids, expression, RankTokenizer(vocabulary, max_len))
