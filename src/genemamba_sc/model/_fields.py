"""The scvi-tools field of a gene matrix: any genes in any order, any sparse format, also backed.

:class:`scvi.data.fields.LayerField` wants the same number of genes in every query and rewrites the
user's matrix to float32 CSR. A token model needs neither: genes are matched by name to the tokens of
a vocabulary, and the matrix is read as it is.
"""

from typing import Any

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data.fields import LayerField

from genemamba_sc._constants import VOCABULARY_KEY
from genemamba_sc.data._expression import detect_expression
from genemamba_sc.data._gene_ids import require_match
from genemamba_sc.data._gene_match import match_genes
from genemamba_sc.data._medians import reader_of, where_is
from genemamba_sc.data._vocabulary import GeneVocabulary


class GenesField(LayerField):
    """Registers a gene matrix by its vocabulary.

    Parameters
    ----------
    layer
        Layer with the counts; ``None`` for ``adata.X``.
    gene_id_key
        Column of ``adata.var`` with the gene ids; ``None`` for ``adata.var_names``.
    vocabulary
        Vocabulary to use; ``None`` builds one from the AnnData.
    """

    def __init__(self, layer: str | None, gene_id_key: str | None, vocabulary: GeneVocabulary | None = None) -> None:
        super().__init__(REGISTRY_KEYS.X_KEY, layer, is_count_data=False, correct_data_format=False)
        self._gene_id_key = gene_id_key
        self._vocabulary = vocabulary

    def validate_field(self, adata: AnnData) -> None:
        """Refuse what cannot be ranked, before anything is registered."""
        detect_expression(reader_of(adata, self.attr_key), uns=adata.uns, where=where_is(self.attr_key))

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Match the genes and remember the vocabulary."""
        vocabulary = self._vocabulary
        if vocabulary is None:
            vocabulary = GeneVocabulary.from_anndata(adata, layer=self.attr_key, gene_id_key=self._gene_id_key)
        return self._register(adata, vocabulary)

    def transfer_field(self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any) -> dict[str, Any]:
        """Match the genes of another AnnData to the vocabulary already registered."""
        return self._register(adata_target, GeneVocabulary.from_dict(state_registry[VOCABULARY_KEY]))

    def _register(self, adata: AnnData, vocabulary: GeneVocabulary) -> dict[str, Any]:
        self.validate_field(adata)
        match = match_genes(adata.var, vocabulary, gene_id_key=self._gene_id_key)
        require_match(adata.var, match, vocabulary)
        return {
            self.N_OBS_KEY: adata.n_obs,
            self.N_VARS_KEY: adata.n_vars,
            self.COLUMN_NAMES_KEY: np.asarray(adata.var_names).astype(str),
            VOCABULARY_KEY: vocabulary.to_dict(),
        }
