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
from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._expression import detect_expression
from genemamba_sc.data._gene_match import match_genes
from genemamba_sc.data._vocabulary import GeneVocabulary


def matrix_of(adata: AnnData, layer: str | None) -> CellReader:
    """The reader of ``adata.X`` or of one of its layers.

    Raises
    ------
    ValueError
        If the layer does not exist, or the AnnData has no matrix, no cell or no gene.
    """
    if layer is not None and layer not in adata.layers:
        raise ValueError(
            f"layer={layer!r} is not in adata.layers, which has {sorted(adata.layers)}. "
            "Name one of these, or leave layer=None to read adata.X."
        )
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise ValueError(
            f"The AnnData has {adata.n_obs} cells and {adata.n_vars} genes; at least one of each is needed. "
            "Check the filtering that was done before."
        )
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise ValueError("adata.X is None: there are no counts to read. Name the layer that has them with layer=.")
    return CellReader(matrix)


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
        detect_expression(matrix_of(adata, self.attr_key), uns=adata.uns, where=self._where)

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
        match_genes(adata.var, vocabulary, gene_id_key=self._gene_id_key)
        return {
            self.N_OBS_KEY: adata.n_obs,
            self.N_VARS_KEY: adata.n_vars,
            self.COLUMN_NAMES_KEY: np.asarray(adata.var_names).astype(str),
            VOCABULARY_KEY: vocabulary.to_dict(),
        }

    @property
    def _where(self) -> str:
        return "adata.X" if self.attr_key is None else f"adata.layers[{self.attr_key!r}]"
