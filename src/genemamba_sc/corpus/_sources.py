"""Examine each file before its cells are read: genes, scale, and the vocabulary of all files."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

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
)
from genemamba_sc.data.cells._cell_files import CellFile, open_cells
from genemamba_sc.data.genes._medians import GeneSample, join_samples, sample_genes

# Medians from this many cells are as good as from all, and their values fit into memory.
_VOCABULARY_CELLS = 50_000
# A file names its genes by Ensembl ids where at least this share of them is so named.
_PURE = 0.9


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
    samples = [_sample(path, reading, share) for path in files]
    kinds = {"Ensembl ids" if sample.share_of_ids >= _PURE else "symbols" for sample in samples}
    if len(kinds) > 1:
        raise ValueError(
            f"The files name their genes in different ways ({', '.join(sorted(kinds))}), so the genes of one are not "
            "those of another. Pass one vocabulary for all of them (--vocabulary TSV), which knows ids and symbols."
        )
    return GeneVocabulary(*join_samples(samples))


def _sample(path: Path, reading: Reading, limit: int) -> GeneSample:
    """Read the genes of evenly spaced cells of a file, on the scale of the file."""
    with open_cells(path, reading.place) as cells:
        try:
            with warnings.catch_warnings():  # what there is to warn of is said when the file is examined
                warnings.simplefilter("ignore", UserWarning)
                matrix = reading.matrix(cells)
            return sample_genes(matrix, cells.var, reading.gene_id_key, max_cells=limit)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
