"""Read the cells of one AnnData as tokens, whatever the matrix is and wherever it lies."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from anndata import AnnData
from jaxtyping import Int32, Integer

from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._expression import Expression, to_linear
from genemamba_sc.data.cells._matrix import open_matrix
from genemamba_sc.data.cells._scale_check import naming_rows
from genemamba_sc.data.genes._gene_aliases import GeneAliases
from genemamba_sc.data.genes._gene_ids import require_match, warn_if_few_counts, warn_if_few_genes
from genemamba_sc.data.genes._gene_match import match_genes
from genemamba_sc.data.genes._vocabulary import GeneVocabulary
from genemamba_sc.data.tokens._tokenizer import RankTokenizer, Tokens


@dataclass(frozen=True)
class CellSource:
    """Make tokens on demand.

    Parameters
    ----------
    reader
        Reader of the matrix, ``n_obs`` × ``n_vars``.
    columns
        Token id of every column, shape ``(n_vars,)``; ``UNK_ID`` where the vocabulary lacks the gene.
    expression
        Scale of the matrix, so that it can be brought back to a linear scale.
    tokenizer
        Tokenizer that defines the rank tokens.
    """

    reader: CellReader
    columns: Int32[np.ndarray, "n_vars"]
    expression: Expression
    tokenizer: RankTokenizer

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return self.reader.n_obs

    def tokens(self, indices: Integer[np.ndarray, "b"]) -> Tokens:
        """Return the tokens of the cells ``indices``, in that order.

        Parameters
        ----------
        indices
            Row numbers, shape ``(b,)``, in any order, repeats allowed.
        """
        # The tokenizer adds repeated entries itself; but logarithms have to be undone after repeated entries are added.
        cells = self.reader.read(indices, canonical=self.expression.kind == "log1p")
        with naming_rows(indices):
            return self.tokenizer(to_linear(cells, self.expression), self.columns)

    def on_one_thread(self) -> "CellSource":
        """Return the same source with a tokenizer without threads, for use where threads or workers already run."""
        one = RankTokenizer(self.tokenizer.vocabulary, self.tokenizer.max_len, n_threads=1)
        return replace(self, tokenizer=one)


def query_source(
    adata: AnnData,
    vocabulary: GeneVocabulary,
    max_len: int,
    setup_args: dict[str, Any],
    aliases: GeneAliases | None = None,
    n_threads: int = 1,
    scale: str | None = None,
) -> CellSource:
    """Read the cells of any AnnData as tokens of the vocabulary; nothing is registered, nothing is written.

    Parameters
    ----------
    adata
        The query. It may have fewer, shuffled or unknown genes, no labels and new batches, in memory or backed.
    vocabulary
        The genes of the model.
    max_len
        Largest number of tokens per cell.
    setup_args
        ``layer`` and ``gene_id_key`` of ``setup_anndata``. A query whose ``var`` lacks the ``gene_id_key`` is
        matched by its ``var_names``.
    aliases
        Further names of genes, where the user gave a table.
    n_threads
        Number of threads that make tokens.
    scale
        What the values are; None detects it.

    Raises
    ------
    ValueError
        If no gene matches, the layer is missing, or the values cannot be ranked.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(
            f"Cells are read from an AnnData. Got {type(adata).__name__}. Read an h5ad file with anndata.read_h5ad."
        )
    layer, key = setup_args.get("layer"), setup_args.get("gene_id_key")
    if layer is not None and layer not in adata.layers:
        raise ValueError(
            f"This model reads adata.layers[{layer!r}], as setup_anndata was told. The layers here are "
            f"{[name for name in adata.layers if name is not None]}. Put the counts there, e.g. "
            f"adata.layers[{layer!r}] = adata.X."
        )
    matrix = open_matrix(adata, layer, scale)
    reader, expression = matrix.reader, matrix.expression
    match = match_genes(adata.var, vocabulary, gene_id_key=key if key in adata.var else None, aliases=aliases)
    require_match(adata.var, match, vocabulary, aliases)
    warn_if_few_counts(reader, expression, match)
    warn_if_few_genes(match, vocabulary)
    tokenizer = RankTokenizer(vocabulary, max_len, n_threads=n_threads)
    return CellSource(reader, match.token_ids, expression, tokenizer)
