"""Define the scvi-tools field of a gene matrix: any genes in any order, any sparse format, also backed.

:class:`scvi.data.fields.LayerField` wants the same number of genes in every query and rewrites the user's matrix to
float32 CSR. A token model needs neither: genes are matched by name to the tokens of a vocabulary, and the matrix is
read as it is.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data.fields import LayerField

from genemamba_sc._constants import EXPRESSION_KEY, VOCABULARY_KEY
from genemamba_sc.data import CellMatrix, GeneVocabulary, Scale, match_genes, measure_genes, open_matrix, require_match


class GenesField(LayerField):
    """Register a gene matrix by its vocabulary.

    Parameters
    ----------
    layer
        Layer with the counts; ``None`` means ``adata.X``.
    gene_id_key
        Column of ``adata.var`` with the gene ids; ``None`` means ``adata.var_names``.
    vocabulary
        Vocabulary to use; ``None`` builds one from the AnnData.
    scale
        What the values are; ``None`` detects it.
    """

    def __init__(
        self,
        layer: str | None,
        gene_id_key: str | None,
        vocabulary: GeneVocabulary | None = None,
        scale: Scale | None = None,
    ) -> None:
        super().__init__(REGISTRY_KEYS.X_KEY, layer, is_count_data=False, correct_data_format=False)
        if vocabulary is not None and not isinstance(vocabulary, GeneVocabulary):
            raise TypeError(
                f"vocabulary must be a GeneVocabulary. Got {type(vocabulary).__name__}. "
                "Read one with GeneVocabulary.from_tsv, or leave vocabulary=None to build it from adata."
            )
        self._gene_id_key = gene_id_key
        self._vocabulary = vocabulary
        self._scale = scale
        # This is what validation found in the AnnData that is being registered: its matrix is opened once.
        self._open: tuple[AnnData, CellMatrix] | None = None

    def validate_field(self, adata: AnnData) -> None:
        """Refuse values that cannot be ranked, before anything is registered."""
        self._open = (adata, open_matrix(adata, self.attr_key, self._scale))

    def _matrix(self, adata: AnnData) -> CellMatrix:
        if self._open is None or self._open[0] is not adata:
            self.validate_field(adata)
        assert self._open is not None  # validation just set it
        return self._open[1]

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Match the genes and remember the vocabulary."""
        vocabulary = self._vocabulary
        if vocabulary is None:
            vocabulary = GeneVocabulary(*measure_genes(self._matrix(adata), adata.var, self._gene_id_key))
        return self._register(adata, vocabulary)

    def transfer_field(self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any) -> dict[str, Any]:
        """Match the genes of another AnnData to the vocabulary that is already registered."""
        return self._register(adata_target, GeneVocabulary.from_dict(state_registry[VOCABULARY_KEY]))

    def _register(self, adata: AnnData, vocabulary: GeneVocabulary) -> dict[str, Any]:
        expression = self._matrix(adata).expression
        self._open = None  # it may hold a copy of the whole matrix
        match = match_genes(adata.var, vocabulary, gene_id_key=self._gene_id_key)
        require_match(adata.var, match, vocabulary)
        return {
            self.N_OBS_KEY: adata.n_obs,
            self.N_VARS_KEY: adata.n_vars,
            self.COLUMN_NAMES_KEY: np.asarray(adata.var_names).astype(str),
            VOCABULARY_KEY: vocabulary.to_dict(),
            EXPRESSION_KEY: asdict(expression),
        }
