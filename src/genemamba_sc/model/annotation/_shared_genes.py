"""Train another model on the genes that a query shares with the cells of a model; the model stays as it is."""

from dataclasses import replace
from typing import Any

import numpy as np
from anndata import AnnData
from jaxtyping import Bool
from scvi import REGISTRY_KEYS

from genemamba_sc._constants import UNK_ID, VOCABULARY_KEY
from genemamba_sc.data import GeneVocabulary, match_genes, require_match
from genemamba_sc.model.registration._trained_cells import holds_its_cells

# What scvi-tools knows an AnnData by; the copy is another one.
_OF_SCVI = ("_scvi_uuid", "_scvi_manager_uuid")


def untrained_on_genes(model: Any, query: AnnData, gene_id_key: str | None) -> Any:
    """Make a model like another one, of the same cells, with the genes that a query has, too.

    Parameters
    ----------
    model
        Model with the cells of its training.
    query
        Cells whose genes are read, and nothing else.
    gene_id_key
        Column of ``query.var`` with the gene names; ``None`` looks where the model does.

    Returns
    -------
    The model, which is not trained. It holds a copy of the cells with fewer genes.

    Raises
    ------
    TypeError
        If the query is no AnnData.
    ValueError
        If the model does not hold these cells, its genes are those of pretrained weights, there is no such column, or
        the query has none or all of its genes.
    """
    if not isinstance(query, AnnData):
        raise TypeError(f"query must be an AnnData. Got {type(query).__name__}. Read a file with anndata.read_h5ad.")
    if gene_id_key is not None and gene_id_key not in query.var:
        raise ValueError(
            f"gene_id_key must be a column of query.var. Got {gene_id_key!r}. The columns are: "
            f"{', '.join(map(str, query.var.columns)) or 'none'}. Name one of them, or leave it out."
        )
    if model.origin.is_pretrained:
        raise ValueError(
            "refit_on_genes makes a new gene table. This model started from pretrained weights "
            f"({model.origin.name}), which bring theirs. Train a model from scratch, or use this one as it is."
        )
    if model.adata is None or not holds_its_cells(model):
        raise ValueError(
            "refit_on_genes trains on the cells that the model was trained on. This model does not hold them. Load it "
            "with them, in their order: GeneMambaModel.load(folder, adata=reference)."
        )
    setup = dict(model.registry_["setup_args"])
    shared = _shared(model, query, gene_id_key or setup.get("gene_id_key"))
    cells = model.adata[:, shared].to_memory(copy=True)
    for key in _OF_SCVI:
        cells.uns.pop(key, None)
    cells.raw = None
    cls = type(model)
    cls.setup_anndata(cells, **setup)
    fields = cls._get_most_recent_anndata_manager(cells).registry["field_registries"]
    size = GeneVocabulary.from_dict(fields[REGISTRY_KEYS.X_KEY]["state_registry"][VOCABULARY_KEY]).size
    config = replace(model.module.encoder_config, vocab_size=size)
    made = cls(cells, max_len=model.max_len_, gene_init=model.gene_init_, encoder_config=config)
    made.gene_aliases = model.gene_aliases
    return made


def _shared(model: Any, query: AnnData, gene_id_key: str | None) -> Bool[np.ndarray, "n_vars"]:
    """Tell which columns of the reference are genes that the query has, too."""
    vocabulary, aliases = model.vocabulary, model.gene_aliases
    key = gene_id_key if gene_id_key in query.var else None
    asked = match_genes(query.var, vocabulary, gene_id_key=key, aliases=aliases)
    require_match(query.var, asked, vocabulary, aliases)
    own = match_genes(
        model.adata.var, vocabulary, gene_id_key=model.registry_["setup_args"].get("gene_id_key"), aliases=aliases
    ).token_ids
    known = own != UNK_ID
    shared = known & np.isin(own, asked.token_ids)
    if shared[known].all():
        raise ValueError(
            f"refit_on_genes is for queries that lack genes of the model. This one has all {vocabulary.n_genes:,}. Use "
            "the model as it is."
        )
    return shared
