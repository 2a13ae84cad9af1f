"""Answer queries: genes, the names of cell types, embeddings."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from jaxtyping import Float32
from scvi import REGISTRY_KEYS

from genemamba_sc._checks import CellIndices, row_numbers
from genemamba_sc._constants import EXPRESSION_KEY, FIRST_GENE_ID, OBSM_KEY
from genemamba_sc._described import Described
from genemamba_sc.data import CellSource, Expression, GeneAliases, GeneVocabulary, Scale, query_source
from genemamba_sc.integration import Integration
from genemamba_sc.model._about import about
from genemamba_sc.model._doubts import doubt_once
from genemamba_sc.model._inference import embed
from genemamba_sc.model._integrated_cells import asks_integration, integrate_cells
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model.annotation._annotation import store


class QueryMixin(Described):
    """Add to :class:`genemamba_sc.GeneMambaModel` what it knows and answers; nothing here changes the model."""

    module: GeneMambaModule
    adata: AnnData | None
    registry_: dict[str, Any]
    is_trained: bool
    max_len_: int
    gene_aliases: GeneAliases | None
    integration_: Integration | None
    _vocabulary: GeneVocabulary

    def _about(self) -> dict[str, str]:
        return about(self)

    @property
    def vocabulary(self) -> GeneVocabulary:
        """The genes that have tokens, with their medians."""
        return self._vocabulary

    @property
    def expression(self) -> Expression | None:
        """What the values of the registered AnnData are, and on what evidence; ``None`` where no cells were registered.

        Models that were saved before this was stored give ``None``, too.
        """
        state = self.registry_["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"]
        return Expression(**state[EXPRESSION_KEY]) if EXPRESSION_KEY in state else None

    @property
    def cell_types(self) -> list[Any]:
        """The cell types as they are in ``adata.obs``, in the order of the registry; empty without labels.

        The unlabelled category is not one of them.
        """
        return cell_types_of(self.registry_)

    def get_latent_representation(
        self,
        adata: AnnData | None = None,
        indices: CellIndices | None = None,
        batch_size: int | None = None,
        key_added: str | None = OBSM_KEY,
        *,
        layer: str | None = None,
        gene_id_key: str | None = None,
        scale: Scale | None = None,
        batch_key: str | None = None,
        integrated: bool | None = None,
    ) -> Float32[np.ndarray, "n d"]:
        """Embed cells; where these are all cells, also write the embedding to ``adata.obsm``.

        Parameters
        ----------
        adata
            Any AnnData with genes of the vocabulary; ``None`` takes the registered one.
        indices
            Cells to embed, in the order asked; ``None`` embeds all.
        batch_size
            Number of cells per pass; ``None`` packs cells of similar length. The result does not depend on it.
        key_added
            Key in ``adata.obsm``; ``None`` writes nothing. With ``indices`` nothing is written.
        layer, gene_id_key
            Where these cells hold expression and gene names; ``None`` looks where :meth:`setup_anndata` was told to
            look.
        scale
            What the values are, as in :meth:`setup_anndata`; ``None`` detects it.
        batch_key
            Column of ``adata.obs`` with the batches of an integrated model; ``None`` takes the one of
            :meth:`setup_anndata` where the cells have it. Cells of a batch of the reference are moved as that batch
            was; a new batch of at least 30 cells is mapped onto the reference, which does not move, by all its cells
            that are asked for; other cells are mapped onto the shared axes only.
        integrated
            Whether batches are integrated; ``None`` does it where the model was trained to. ``False`` gives the
            embedding of the encoder itself.

        Returns
        -------
        Array of shape (n_obs, d_model), float32; integrated it has the ``n_axes`` of the integration, 30 by default.

        Raises
        ------
        RuntimeError
            If the model is not trained.
        ValueError
            If no gene of ``adata`` is known, its values cannot be ranked, there is no such batch column, or the model
            was not trained to integrate and is asked to.

        Examples
        --------
        >>> query.obsm["X_genemamba"] = model.get_latent_representation(query)
        >>> query.obsm["X_genemamba"].shape
        (30, 16)
        """
        adata = self._query(adata)
        integrates = asks_integration(self, adata, batch_key, integrated)
        source, rows = self._source(adata, layer, gene_id_key, scale), row_numbers(indices, adata.n_obs)
        doubt_once(self, source)
        latent = embed(self.module, source, rows, batch_size=batch_size)
        if integrates:
            latent = integrate_cells(self, adata, rows, latent, batch_key)
        if indices is None and key_added is not None:
            store(adata, key_added, latent)
        return latent

    @torch.inference_mode()
    def get_gene_embeddings(self) -> pd.DataFrame:
        """Return the gene table: one row per gene of the vocabulary, named by its id, ``d_model`` columns, float32."""
        weight = self.module.encoder.embeddings.weight
        # This is a copy: on the CPU the array would be the weights themselves.
        rows = weight[FIRST_GENE_ID : self._vocabulary.cls_id].cpu().numpy().copy()
        return pd.DataFrame(rows, index=pd.Index(self._vocabulary.gene_ids, name="gene_id"))

    def _query(self, adata: AnnData | None) -> AnnData:
        if not self.is_trained:
            raise RuntimeError("The model is not trained. Call train(), or load() a trained one, before querying it.")
        if adata is None:
            adata = self.adata
        if adata is None:
            raise ValueError("This model was loaded without an AnnData. Pass the cells to read with adata=.")
        if not isinstance(adata, AnnData):
            raise TypeError(
                f"Cells are read from an AnnData. Got {type(adata).__name__}. Read an h5ad file with anndata.read_h5ad."
            )
        return adata

    def _source(
        self, adata: AnnData, layer: str | None = None, gene_id_key: str | None = None, scale: str | None = None
    ) -> CellSource:
        if gene_id_key is not None and gene_id_key not in adata.var:
            raise ValueError(
                f"gene_id_key must name a column of adata.var. Got {gene_id_key!r}. The columns are: "
                f"{', '.join(map(str, adata.var.columns)) or 'none'}. Name one of them, or leave it out."
            )
        setup = self.registry_["setup_args"]
        if scale is None and adata is self.adata:
            scale = setup.get("scale")
        return query_source(
            adata,
            self._vocabulary,
            self.max_len_,
            {"layer": layer or setup.get("layer"), "gene_id_key": gene_id_key or setup.get("gene_id_key")},
            aliases=self.gene_aliases,
            n_threads=torch.get_num_threads(),
            scale=scale,
        )


def cell_types_of(registry: dict[str, Any]) -> list[Any]:
    """List the cell types of a registry, in its order; see :attr:`QueryMixin.cell_types`."""
    fields = registry["field_registries"]
    if REGISTRY_KEYS.LABELS_KEY not in fields:
        return []
    state = fields[REGISTRY_KEYS.LABELS_KEY]["state_registry"]
    unlabeled = state.get("unlabeled_category")
    names = np.asarray(state["categorical_mapping"]).tolist()
    return [name for name in names if unlabeled is None or name != unlabeled]
