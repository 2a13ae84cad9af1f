"""Measure genes in cells in one pass: how many express them, how high, and what they have to do with an embedding."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer
from scipy import sparse

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import CellSource
from genemamba_sc.data.tokens._log_expression import log_expression_blocks

# Directions of the embedding below this share of the first singular value are rounding errors.
_NO_DIRECTION = 1e-4


@dataclass(frozen=True, eq=False)
class ExpressedGenes:
    """Hold what one pass over cells tells about each gene of the vocabulary.

    Parameters
    ----------
    n_cells
        Number of cells that express the gene, shape (v,).
    mean
        Mean of ``log1p`` of the counts per 10,000, shape (v,).
    loadings
        Sum over cells of these values times the coordinates of the cell, shape (v, k).
    """

    n_cells: Int64[np.ndarray, "v"]
    mean: Float64[np.ndarray, "v"]
    loadings: Float64[np.ndarray, "v k"]


def measure_expressed(source: CellSource, coordinates: Float64[np.ndarray, "n_obs k"]) -> ExpressedGenes:
    """Read all cells once, in blocks.

    Parameters
    ----------
    source
        Source of the cells.
    coordinates
        Coordinates of each cell, shape (n_obs, k); k may be 0.
    """
    size = source.tokenizer.vocabulary.size
    n_cells, total = np.zeros(size, dtype=np.int64), np.zeros(size)
    loadings = np.zeros((size, coordinates.shape[1]))
    for part, values in log_expression_blocks(source, np.arange(source.n_obs)):
        n_cells += np.bincount(values.indices[values.data > 0], minlength=size)
        total += np.bincount(values.indices, weights=values.data, minlength=size)
        loadings += values.T @ coordinates[part]
    genes = slice(FIRST_GENE_ID, source.tokenizer.vocabulary.cls_id)
    return ExpressedGenes(n_cells[genes], total[genes] / max(1, source.n_obs), loadings[genes])


def directions_of(embedding: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "n k"]:
    """Return the directions of an embedding as orthonormal columns over cells, shape (n, k), each of mean 0."""
    centred = embedding.astype(np.float64) - embedding.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    singular = np.sqrt(np.maximum(values, 0.0))
    kept = singular > _NO_DIRECTION * singular.max(initial=0.0)
    return centred @ (axes[:, kept] / singular[kept])


def values_of(
    source: CellSource, cells: Integer[np.ndarray, "m"], genes: Integer[np.ndarray, "n"]
) -> sparse.csc_matrix:
    """Read ``log1p`` of the counts per 10,000 of some genes in some cells into memory, (m, n), sparse by columns.

    Parameters
    ----------
    source
        Source of the cells.
    cells
        Row numbers, shape (m,).
    genes
        Numbers of the genes in the vocabulary, shape (n,).
    """
    blocks = [values[:, genes + FIRST_GENE_ID] for _, values in log_expression_blocks(source, cells)]
    found = sparse.csc_matrix(sparse.vstack(blocks, format="csc"))
    found.eliminate_zeros()
    return found
