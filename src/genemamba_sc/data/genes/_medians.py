"""Compute non-zero medians of genes, which make genes of different abundance comparable within a cell."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Integer
from scipy import sparse

from genemamba_sc._constants import TARGET_SUM
from genemamba_sc.data.cells._expression import to_linear
from genemamba_sc.data.cells._gene_columns import identities_of, names_of
from genemamba_sc.data.cells._matrix import CellMatrix
from genemamba_sc.data.cells._scale_check import refuse_unrankable
from genemamba_sc.data.genes._gene_names import guess_species, strip_version

_BLOCK = 4096


class GenesMeasured(NamedTuple):
    """Hold the genes of a data set, from which a vocabulary is made, in its order."""

    gene_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    medians: Float64[np.ndarray, "v"]
    species: str


def measure_genes(
    matrix: CellMatrix,
    var: pd.DataFrame,
    gene_id_key: str | None = None,
    symbol_key: str | None = None,
    *,
    indices: Integer[np.ndarray, "n"] | None = None,
    max_cells: int = 50_000,
) -> GenesMeasured:
    """Take the genes of a data set and their medians; parameters as in :meth:`GeneVocabulary.from_anndata`.

    Parameters
    ----------
    matrix
        Cells and their scale.
    var
        Table of the genes, ``n_vars`` rows.
    gene_id_key, symbol_key
        Columns of ``var`` with ids and symbols.
    indices, max_cells
        Which cells to use, and how many at most.

    Raises
    ------
    ValueError
        If names are mere row numbers, or no gene remains.
    """
    names = identities_of(var, gene_id_key)
    ids = [strip_version(name) or name for name in names]
    symbol_of: dict[str, str] = {}
    for gene, symbol in zip(ids, names_of(var, symbol_key, argument="symbol_key")):
        # Neither an Ensembl id nor a row number is a symbol.
        if symbol and strip_version(symbol) is None and not symbol.isdigit():
            symbol_of.setdefault(gene, symbol)
    genes, medians = nonzero_medians(matrix, ids, indices=indices, max_cells=max_cells)
    return GenesMeasured(tuple(genes), tuple(symbol_of.get(gene, "") for gene in genes), medians, guess_species(genes))


def spread(n: int, limit: int) -> Integer[np.ndarray, "m"]:
    """Take at most ``limit`` of the numbers below ``n``, evenly spaced and ascending; each run takes the same.

    Parameters
    ----------
    n
        How many there are.
    limit
        How many to take, at least one.
    """
    return np.arange(n) if n <= limit else np.linspace(0, n - 1, limit).round().astype(np.int64)


def nonzero_medians(
    matrix: CellMatrix,
    gene_of_column: Sequence[str],
    *,
    indices: Integer[np.ndarray, "n"] | Bool[np.ndarray, "n"] | None = None,
    max_cells: int = 50_000,
) -> tuple[list[str], Float64[np.ndarray, "v"]]:
    """Compute each gene's median over the cells that express it, of counts per 10,000 (Geneformer's recipe, exact).

    Parameters
    ----------
    matrix
        Cells × columns, and their scale.
    gene_of_column
        Gene of every column, ``n_vars`` names. Columns of one gene are added; those of ``""`` belong to no gene, but
        count towards the total of a cell.
    indices
        Cells to use, row numbers or a mask; None uses all.
    max_cells
        Number of cells above which evenly spaced cells are taken instead of all. Their non-zero values are held in
        memory at once, 4 bytes each: some 0.3 GB for 50,000 cells of 1,500 genes.

    Returns
    -------
    The genes that any of these cells expresses, sorted, and their medians, shape ``(v,)``.

    Raises
    ------
    ValueError
        If no column has a name, no cell is left, no cell expresses a named gene, or a value is negative, NaN or
        infinite.
    """
    reader, expression = matrix.reader, matrix.expression
    genes = sorted({gene for gene in gene_of_column if gene})
    rows = _rows(reader.n_obs, indices, max_cells)
    if not genes or not len(rows):
        raise ValueError(
            f"A vocabulary needs named genes and cells; got {len(genes)} names and {len(rows)} cells. "
            "Name the column of adata.var that holds the gene ids (gene_id_key=), and check indices."
        )
    to_gene = _columns_to_genes(gene_of_column, genes)
    blocks = []
    for start in range(0, len(rows), _BLOCK):
        cells = to_linear(reader.read(rows[start : start + _BLOCK]), expression).astype(np.float64)
        refuse_unrankable(cells)
        totals = np.asarray(cells.sum(axis=1)).ravel()
        scale = np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
        by_gene = (sparse.diags(scale) @ cells @ to_gene).astype(np.float32).tocsc()
        # Which cell a value is of makes no difference to a median.
        blocks.append((by_gene.data, by_gene.indptr))
    expressed = np.flatnonzero(sum(np.diff(starts) for _, starts in blocks))
    if not len(expressed):
        raise ValueError(
            f"A vocabulary needs expressed genes; the {len(rows)} cells have no count in any named gene. "
            "Pass other cells (indices=) or the layer with the counts (layer=)."
        )
    return [genes[j] for j in expressed], np.array([_median(blocks, j) for j in expressed.tolist()], np.float64)


def _median(blocks: list[tuple[np.ndarray, np.ndarray]], gene: int) -> float:
    """Compute the median of a gene's values, which lie in blocks, each with the starts of its genes."""
    return float(np.median(np.concatenate([values[starts[gene] : starts[gene + 1]] for values, starts in blocks])))


def _rows(
    n_obs: int, indices: Integer[np.ndarray, "n"] | Bool[np.ndarray, "n"] | None, max_cells: int
) -> Integer[np.ndarray, "m"]:
    """List the cells to read, ascending, each once."""
    if max_cells < 1:
        raise ValueError(f"max_cells is at least 1; got {max_cells}.")
    if indices is None:
        return spread(n_obs, max_cells)
    chosen = np.asarray(indices)
    chosen = np.flatnonzero(chosen) if chosen.dtype == bool else np.unique(chosen)
    return chosen[spread(len(chosen), max_cells)]


def _columns_to_genes(gene_of_column: Sequence[str], genes: list[str]) -> sparse.csr_matrix:
    """Build the 0/1 matrix, columns × genes, that adds the columns of a gene and sorts the genes."""
    position = {gene: j for j, gene in enumerate(genes)}
    named = [(column, position[gene]) for column, gene in enumerate(gene_of_column) if gene]
    rows, columns = np.array(named).T
    return sparse.csr_matrix((np.ones(len(named)), (rows, columns)), shape=(len(gene_of_column), len(genes)))
