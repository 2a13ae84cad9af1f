"""Examine each file before its cells are read: genes, scale, and the vocabulary of all files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Int32
from scipy import sparse

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._warn import warn
from genemamba_sc.data import (
    Expression,
    GeneVocabulary,
    match_genes,
    matrix_of,
    require_match,
    to_linear,
)
from genemamba_sc.data._cell_files import open_cells

# Medians from this many cells are as good as from all, and their values fit into memory.
_VOCABULARY_CELLS = 50_000


@dataclass(frozen=True, eq=False)
class Source:
    """Describe one file of a corpus.

    Parameters
    ----------
    path
        The file or folder.
    n_cells
        Number of cells in the file.
    columns
        Token of each column, shape ``(n_vars,)``; ``UNK_ID`` where the vocabulary lacks the gene.
    expression
        The scale of its values.
    genes
        What the manifest says about the genes of the file.
    by_columns
        Whether the file is stored by columns, and has to be read as a whole.
    """

    path: Path
    n_cells: int
    columns: Int32[np.ndarray, "n_vars"]
    expression: Expression
    genes: dict[str, Any]
    by_columns: bool


def examine(path: Path, vocabulary: GeneVocabulary, layer: str | None, gene_id_key: str | None) -> Source:
    """Match the genes of a file and find the scale of its values, or refuse the file before any cell is tokenised.

    Parameters
    ----------
    path
        The file or folder.
    vocabulary
        The genes that have tokens.
    layer, gene_id_key
        Where the expression and the gene names are; ``None`` means ``X`` and ``var_names``.

    Raises
    ------
    ValueError
        If the file cannot be read, no gene matches, or its values cannot be ranked. The message names the file.
    """
    with open_cells(path, layer) as cells:
        try:
            where = "X" if layer is None else f"layers[{layer!r}]"
            matrix = matrix_of(cells.reader, cells.var, cells.uns, where)
            match = match_genes(cells.var, vocabulary, gene_id_key=gene_id_key)
            require_match(cells.var, match, vocabulary)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        genes = {
            "n_vars": match.n_vars,
            "n_matched": match.n_matched,
            "names": match.id_kind,
            "species": match.species,
        }
        if matrix.left_out:
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in matrix.left_out.items())
            warn(f"{path}: columns that are not gene expression are left out ({kinds}).")
        return Source(path, cells.reader.n_obs, match.token_ids, matrix.expression, genes, cells.by_columns)


def vocabulary_of(files: Sequence[Path], layer: str | None, gene_id_key: str | None) -> GeneVocabulary:
    """Take the genes of all files, with their medians over cells spread evenly over the files.

    Parameters
    ----------
    files
        The files and folders; at most 50,000 cells are read, equally many from each.
    layer, gene_id_key
        Where the expression and the gene names are.

    Raises
    ------
    ValueError
        If a file cannot be read, or no cell expresses a named gene.
    """
    share = max(1, _VOCABULARY_CELLS // len(files))
    parts = [_sample(path, layer, gene_id_key, share) for path in files]
    # Columns of one name within a file stay apart until the vocabulary adds them; across files they are one gene.
    kinds = {part.uns["kind"] for part in parts}
    if len(kinds) > 1:
        raise ValueError(
            f"The files name their genes in different ways ({', '.join(sorted(kinds))}), so the genes of one are not "
            "those of another. Pass one vocabulary for all of them (--vocabulary TSV), which knows ids and symbols."
        )
    merged = anndata.concat(parts, join="outer", fill_value=0, merge="first", index_unique="-")
    return GeneVocabulary.from_anndata(merged, symbol_key="symbol")


def _sample(path: Path, layer: str | None, gene_id_key: str | None, limit: int) -> AnnData:
    """Take evenly spaced cells of a file on the linear scale, with its columns named by gene, each gene once."""
    with open_cells(path, layer) as cells:
        rows = np.unique(np.linspace(0, cells.reader.n_obs - 1, min(limit, cells.reader.n_obs)).round().astype(int))
        try:
            matrix = matrix_of(cells.reader, cells.var, cells.uns, "X" if layer is None else layer)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        found = to_linear(matrix.reader.read(rows), matrix.expression)
        alone = AnnData(found, var=cells.var)
    vocabulary = GeneVocabulary.from_anndata(alone, gene_id_key=gene_id_key)
    match = match_genes(alone.var, vocabulary, gene_id_key=gene_id_key)
    gathered = _by_gene(found, match.token_ids, vocabulary)
    var = pd.DataFrame({"symbol": vocabulary.symbols}, index=list(vocabulary.gene_ids))
    kind = "Ensembl ids" if match.id_kind.startswith("ensembl") else "symbols"
    return AnnData(gathered, var=var, uns={"kind": kind})


def _by_gene(cells: Any, columns: np.ndarray, vocabulary: GeneVocabulary) -> Any:
    """Add the columns of each gene; genes outside the vocabulary are left out."""
    known = np.flatnonzero(columns >= FIRST_GENE_ID)
    shape = (len(columns), vocabulary.n_genes)
    gene = columns[known] - FIRST_GENE_ID
    return (cells @ sparse.csr_matrix((np.ones(len(known), dtype=np.float32), (known, gene)), shape=shape)).tocsr()
