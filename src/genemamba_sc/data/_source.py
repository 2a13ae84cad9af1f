"""The cells of one AnnData as tokens, whatever the matrix is and wherever it lies."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from anndata import AnnData
from jaxtyping import Int32, Integer

from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._expression import Expression, detect_expression, to_linear
from genemamba_sc.data._gene_aliases import GeneAliases
from genemamba_sc.data._gene_ids import require_match, warn_if_few_counts, warn_if_few_genes
from genemamba_sc.data._gene_match import match_genes
from genemamba_sc.data._medians import reader_of, where_is
from genemamba_sc.data._tokenizer import RankTokenizer, Tokens
from genemamba_sc.data._vocabulary import GeneVocabulary


@dataclass(frozen=True)
class CellSource:
    """Tokens on demand.

    Parameters
    ----------
    reader
        The matrix, ``n_obs`` × ``n_vars``.
    columns
        Token id of every column, shape ``(n_vars,)``; ``UNK_ID`` where the vocabulary lacks the gene.
    expression
        What the matrix holds, so that it can be brought back to a linear scale.
    tokenizer
        The one definition of rank tokens.
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
        """Tokens of the cells ``indices``, in that order.

        Parameters
        ----------
        indices
            Row numbers, shape ``(b,)``; any order, repeats allowed.
        """
        # The tokenizer adds repeated entries itself; only logarithms must not be undone before they are added.
        cells = self.reader.read(indices, canonical=self.expression.kind == "log1p")
        return self.tokenizer(to_linear(cells, self.expression), self.columns)

    def on_one_thread(self) -> "CellSource":
        """Give the same source with a tokenizer that starts no threads, for where threads or workers run already."""
        one = RankTokenizer(self.tokenizer.vocabulary, self.tokenizer.max_len, n_threads=1)
        return replace(self, tokenizer=one)


def query_source(
    adata: AnnData,
    vocabulary: GeneVocabulary,
    max_len: int,
    setup_args: dict[str, Any],
    aliases: GeneAliases | None = None,
    n_threads: int = 1,
) -> CellSource:
    """Read the cells of any AnnData as tokens of the vocabulary; nothing is registered, nothing is written.

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
    n_threads
        Threads that make tokens.

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
            f"{list(adata.layers)}. Put the counts there, e.g. adata.layers[{layer!r}] = adata.X."
        )
    reader = reader_of(adata, layer)
    expression = detect_expression(reader, uns=adata.uns, where=where_is(layer))
    match = match_genes(adata.var, vocabulary, gene_id_key=key if key in adata.var else None, aliases=aliases)
    require_match(adata.var, match, vocabulary, aliases)
    warn_if_few_counts(reader, expression, match)
    warn_if_few_genes(match, vocabulary)
    tokenizer = RankTokenizer(vocabulary, max_len, n_threads=n_threads)
    return CellSource(reader, match.token_ids, expression, tokenizer)
