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
    CellMatrix,
    Expression,
    GeneVocabulary,
    Place,
    Scale,
    match_genes,
    matrix_of,
    require_match,
    to_linear,
)
from genemamba_sc.data.cells._cell_files import CellFile, open_cells

# Medians from this many cells are as good as from all, and their values fit into memory.
_VOCABULARY_CELLS = 50_000


@dataclass(frozen=True)
class Reading:
    """Say how all files of a corpus are read.

    Parameters
    ----------
    place
        Where the expression is.
    gene_id_key
        Column of ``var`` with the gene names; ``None`` reads ``var_names``.
    scale
        What the values are; ``None`` finds out for each file.
    """

    place: Place = Place()
    gene_id_key: str | None = None
    scale: Scale | None = None

    def matrix(self, cells: CellFile) -> CellMatrix:
        """Open the matrix of a file and find its scale."""
        return matrix_of(cells.reader, cells.var, cells.uns, self.place.name(), self.scale)

    def settings(self) -> dict[str, Any]:
        """Return the choices as a manifest keeps them; what no older corpus has stands there only where it is set."""
        further = {"use_raw": self.place.use_raw, "modality": self.place.modality, "scale": self.scale}
        kept = {"layer": self.place.layer, "gene_id_key": self.gene_id_key}
        return kept | {name: value for name, value in further.items() if value}


# What a manifest holds of it, as far as it is set.
READING_KEYS = ("layer", "gene_id_key", "use_raw", "modality", "scale")


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


def examine(path: Path, vocabulary: GeneVocabulary, reading: Reading) -> Source:
    """Match the genes of a file and find the scale of its values, or refuse the file before any cell is tokenised.

    Parameters
    ----------
    path
        The file or folder.
    vocabulary
        The genes that have tokens.
    reading
        How the files are read.

    Raises
    ------
    ValueError
        If the file cannot be read, no gene matches, or its values cannot be ranked. The message names the file.
    """
    with open_cells(path, reading.place) as cells:
        try:
            matrix = reading.matrix(cells)
            match = match_genes(cells.var, vocabulary, gene_id_key=reading.gene_id_key)
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


def vocabulary_of(files: Sequence[Path], reading: Reading) -> GeneVocabulary:
    """Take the genes of all files, with their medians over cells spread evenly over the files.

    Parameters
    ----------
    files
        The files and folders; at most 50,000 cells are read, equally many from each.
    reading
        How they are read.

    Raises
    ------
    ValueError
        If a file cannot be read, or no cell expresses a named gene.
    """
    share = max(1, _VOCABULARY_CELLS // len(files))
    parts = [_sample(path, reading, share) for path in files]
    # Columns of one name within a file stay apart until the vocabulary adds them; across files they are one gene.
    kinds = {part.uns["kind"] for part in parts}
    if len(kinds) > 1:
        raise ValueError(
            f"The files name their genes in different ways ({', '.join(sorted(kinds))}), so the genes of one are not "
            "those of another. Pass one vocabulary for all of them (--vocabulary TSV), which knows ids and symbols."
        )
    merged = anndata.concat(parts, join="outer", fill_value=0, merge="first", index_unique="-")
    return GeneVocabulary.from_anndata(merged, symbol_key="symbol")


def _sample(path: Path, reading: Reading, limit: int) -> AnnData:
    """Take evenly spaced cells of a file on the linear scale, with its columns named by gene, each gene once."""
    with open_cells(path, reading.place) as cells:
        rows = np.unique(np.linspace(0, cells.reader.n_obs - 1, min(limit, cells.reader.n_obs)).round().astype(int))
        try:
            matrix = reading.matrix(cells)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        found = to_linear(matrix.reader.read(rows), matrix.expression)
        alone = AnnData(found, var=cells.var)
    vocabulary = GeneVocabulary.from_anndata(alone, gene_id_key=reading.gene_id_key)
    match = match_genes(alone.var, vocabulary, gene_id_key=reading.gene_id_key)
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
