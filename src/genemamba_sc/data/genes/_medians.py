"""Compute non-zero medians of genes, which make genes of different abundance comparable within a cell."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Integer
from scipy import sparse

from genemamba_sc._constants import TARGET_SUM
from genemamba_sc.data.cells._expression import to_linear
from genemamba_sc.data.cells._feature_types import other_features
from genemamba_sc.data.cells._gene_columns import identities_of, names_of
from genemamba_sc.data.cells._matrix import CellMatrix
from genemamba_sc.data.cells._scale_check import naming_rows, refuse_unrankable
from genemamba_sc.data.genes._gene_names import guess_species, strip_version

_BLOCK = 4096
# Where 10x (read by scanpy or by this package), CELLxGENE and others keep symbols beside Ensembl ids.
_SYMBOL_COLUMNS: Final = ("symbol", "gene_symbols", "gene_symbol", "feature_name", "gene_name")


class GenesMeasured(NamedTuple):
    """Hold the genes of a data set, from which a vocabulary is made, in its order."""

    gene_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    medians: Float64[np.ndarray, "v"]
    species: str


class GeneSample(NamedTuple):
    """Hold the named genes of one matrix, sorted, and their values in a sample of its cells.

    ``blocks`` holds values, gene by gene, and where each gene starts: which cell a value is of makes no difference to a
    median.
    """

    genes: list[str]
    symbol_of: dict[str, str]
    n_cells: int
    blocks: list[tuple[np.ndarray, np.ndarray]]

    @property
    def share_of_ids(self) -> float:
        """Share of the genes that are named by Ensembl ids, 0 to 1."""
        return sum(strip_version(gene) is not None for gene in self.genes) / max(1, len(self.genes))


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
    return join_samples([sample_genes(matrix, var, gene_id_key, symbol_key, indices=indices, max_cells=max_cells)])


def sample_genes(
    matrix: CellMatrix,
    var: pd.DataFrame,
    gene_id_key: str | None = None,
    symbol_key: str | None = None,
    *,
    indices: Integer[np.ndarray, "n"] | Bool[np.ndarray, "n"] | None = None,
    max_cells: int = 50_000,
) -> GeneSample:
    """Read the values of genes, as counts per 10,000.

    Parameters
    ----------
    matrix
        Cells and their scale.
    var
        Table of the genes, ``n_vars`` rows. Columns of one gene are added; those without a name belong to no gene, but
        count towards the total of a cell.
    gene_id_key, symbol_key
        Columns of ``var`` with ids and symbols.
    indices
        Cells to use, row numbers or a mask; None uses all.
    max_cells
        Number of cells above which evenly spaced cells are taken instead of all. Their non-zero values are held in
        memory at once, 4 bytes each: some 0.3 GB for 50,000 cells of 1,500 genes.

    Raises
    ------
    ValueError
        If names are mere row numbers, no column has a name, no cell is left, or a value is negative, NaN or infinite.
    """
    names = identities_of(var, gene_id_key)
    other, _ = other_features(var)
    gene_of_column = ["" if is_other else strip_version(name) or name for name, is_other in zip(names, other)]
    rows = _rows(matrix.reader.n_obs, indices, max_cells)
    genes = sorted({gene for gene in gene_of_column if gene})
    if not genes or not len(rows):
        raise ValueError(
            f"A vocabulary needs named genes and cells; got {len(genes)} names and {len(rows)} cells. "
            "Name the column of adata.var that holds the gene ids (gene_id_key=), and check indices."
        )
    to_gene = _columns_to_genes(gene_of_column, genes)
    blocks = [_values_by_gene(matrix, rows[start : start + _BLOCK], to_gene) for start in range(0, len(rows), _BLOCK)]
    return GeneSample(genes, _symbols(var, gene_of_column, symbol_key), len(rows), blocks)


def join_samples(samples: Sequence[GeneSample]) -> GenesMeasured:
    """Compute the median of each gene over the cells of all samples that express it (Geneformer's recipe, exact).

    Parameters
    ----------
    samples
        Samples of one or several matrices; the first one that knows a gene's symbol gives it.

    Raises
    ------
    ValueError
        If no cell expresses a named gene.
    """
    places = [{gene: place for place, gene in enumerate(sample.genes)} for sample in samples]
    genes, medians, symbol_of = [], [], dict[str, str]()
    for gene in sorted(set().union(*places)):
        values = [
            data[starts[place[gene]] : starts[place[gene] + 1]]
            for sample, place in zip(samples, places)
            if gene in place
            for data, starts in sample.blocks
        ]
        found = np.concatenate(values)
        if len(found):
            genes.append(gene)
            medians.append(float(np.median(found)))
    if not genes:
        raise ValueError(
            f"A vocabulary needs expressed genes; the {sum(sample.n_cells for sample in samples)} cells have no count "
            "in any named gene. Pass other cells (indices=) or the layer with the counts (layer=)."
        )
    for sample in samples:
        symbol_of = sample.symbol_of | symbol_of
    symbols = tuple(symbol_of.get(gene, "") for gene in genes)
    return GenesMeasured(tuple(genes), symbols, np.array(medians, np.float64), guess_species(genes))


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


def _symbols(var: pd.DataFrame, gene_of_column: Sequence[str], key: str | None) -> dict[str, str]:
    """Find the symbol of each gene: in the column that is named, in the index, or beside an index of Ensembl ids."""
    tables = [names_of(var, key, argument="symbol_key")]
    if key is None and 2 * sum(strip_version(name) is not None for name in tables[0]) > len(tables[0]):
        columns = {str(column).lower(): column for column in var.columns if isinstance(var[column], pd.Series)}
        tables += [names_of(var, columns[name]) for name in _SYMBOL_COLUMNS if name in columns]
    symbol_of: dict[str, str] = {}
    for names in tables:
        for gene, symbol in zip(gene_of_column, names):
            # Neither an Ensembl id nor a row number is a symbol; a later column fills the gaps of an earlier one.
            if gene and symbol and strip_version(symbol) is None and not symbol.isdigit():
                symbol_of.setdefault(gene, symbol)
    return symbol_of


def _values_by_gene(
    matrix: CellMatrix, rows: Integer[np.ndarray, "b"], to_gene: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Read cells, scale each to 10,000, and order the values by gene."""
    with naming_rows(rows):
        cells = to_linear(matrix.reader.read(rows), matrix.expression).astype(np.float64)
        refuse_unrankable(cells)
    totals = np.asarray(cells.sum(axis=1)).ravel()
    scale = np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
    by_gene = (sparse.diags(scale) @ cells @ to_gene).astype(np.float32).tocsc()
    return by_gene.data, by_gene.indptr


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
