"""Non-zero medians of genes: what makes genes of different abundance comparable within a cell."""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from jaxtyping import Bool, Float64, Integer
from scipy import sparse

from genemamba_sc._constants import TARGET_SUM
from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._expression import detect_expression, to_linear

_BLOCK = 4096


def reader_of(adata: AnnData, layer: str | None) -> CellReader:
    """Open ``X``, or a layer.

    Parameters
    ----------
    adata
        Cells.
    layer
        Name of a layer; None means ``X``.

    Raises
    ------
    ValueError
        If there is no such layer, no ``X``, no cell or no gene.
    """
    have = ", ".join(repr(str(name)) for name in adata.layers) or "none"
    if layer is not None and layer not in adata.layers:
        raise ValueError(
            f"layer must name one of adata.layers; got {layer!r}, the layers are: {have}. "
            "Pass one of these, or layer=None to read adata.X."
        )
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise ValueError(
            f"At least one cell and one gene are needed; the AnnData has {adata.n_obs} cells and {adata.n_vars} genes. "
            "Check how it was filtered."
        )
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise ValueError(f"Expression is read from adata.X, which is None. Pass layer=...; the layers are: {have}.")
    return CellReader(matrix)


def where_is(layer: str | None) -> str:
    """Name a matrix for a message."""
    return "adata.X" if layer is None else f"adata.layers[{layer!r}]"


def spread(n: int, limit: int) -> Integer[np.ndarray, "m"]:
    """Take at most ``limit`` of the numbers below ``n``, evenly spaced and ascending: the same in each run.

    Parameters
    ----------
    n
        How many there are.
    limit
        How many to take, at least one.
    """
    return np.arange(n) if n <= limit else np.linspace(0, n - 1, limit).round().astype(np.int64)


def nonzero_medians(
    adata: AnnData,
    gene_of_column: Sequence[str],
    *,
    layer: str | None = None,
    indices: Integer[np.ndarray, "n"] | Bool[np.ndarray, "n"] | None = None,
    max_cells: int = 50_000,
) -> tuple[list[str], Float64[np.ndarray, "v"]]:
    """Compute each gene's median over the cells that express it, of counts per 10,000 (Geneformer's recipe, exact).

    Parameters
    ----------
    adata
        Cells × columns.
    gene_of_column
        Gene of every column, ``n_vars`` names; columns of one gene are added, those of ``""`` belong to no gene,
        but count towards the total of a cell.
    layer
        Layer to read; None reads ``X``.
    indices
        Cells to use, row numbers or a mask; None uses all.
    max_cells
        From more cells than this, so many evenly spaced ones are taken. All their non-zero values are
        held in memory at once, 8 bytes each: some 0.6 GB for 50,000 cells of 1,500 genes.

    Returns
    -------
    The genes that any of these cells expresses, sorted, and their medians, shape ``(v,)``.

    Raises
    ------
    ValueError
        If no column has a name, no cell is left, or no cell expresses a named gene.
    """
    reader = reader_of(adata, layer)
    expression = detect_expression(reader, uns=adata.uns, where=where_is(layer))
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
        totals = np.asarray(cells.sum(axis=1)).ravel()
        scale = np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
        blocks.append((sparse.diags(scale) @ cells @ to_gene).astype(np.float32).tocsr())
    values = sparse.vstack(blocks, format="csc")
    expressed = np.flatnonzero(np.diff(values.indptr))
    if not len(expressed):
        raise ValueError(
            f"A vocabulary needs expressed genes; the {len(rows)} cells have no count in any named gene. "
            "Pass other cells (indices=) or the layer with the counts (layer=)."
        )
    medians = np.array([np.median(values.data[values.indptr[j] : values.indptr[j + 1]]) for j in expressed], np.float64)
    return [genes[j] for j in expressed], medians


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
