"""Fit marker genes of cell types: linear scores from expression, one weight per gene and type."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Integer
from scipy import sparse

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.training._linear import LabelledCells
from genemamba_sc.training._multinomial import multinomial

# Inverse strengths of the penalties of the dense and of the sparse fit, the same for every data set. A weaker penalty
# on the sparse one does better on other donors of the same study, and less well on most other studies.
_C_DENSE, _C_SPARSE = 0.3, 0.3
# Steps of the solver. More lower the objective and do not raise the accuracy.
_STEPS_DENSE, _STEPS_SPARSE = 20, 15
# Fits of the sparse part, and genes that may take part in it.
_ROUNDS, _MOST_GENES = 2, 1000
# Share of the mean norm that is added to the norm of each gene, so that none is lost for ever.
_FLOOR = 0.1
# Share of the dense fit in the sum.
_DENSE = 1 / 3


def expression_matrix(tokens: Tokens, vocabulary: GeneVocabulary) -> sparse.csr_array:
    """Compute ``log1p`` of the counts per 10,000 of the tokens as a sparse matrix, shape (n, v)."""
    real = np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
    starts = np.concatenate([[0], np.cumsum(tokens.lengths, dtype=np.int64)])
    starts = _short(starts)
    ids = tokens.ids[real]
    # This undoes the division by the median, which ranks the tokens.
    levels = np.log1p(tokens.values[real] * vocabulary.token_medians[ids].astype(np.float32))
    matrix = sparse.csr_array((levels, ids, starts), shape=(len(tokens.lengths), vocabulary.size))
    # Tokens are in the order of their ranks. Sorted once, no part of the matrix has to be sorted again.
    matrix.sort_indices()
    return matrix


def joined_expression(
    blocks: Iterable[Tokens], lengths: Integer[np.ndarray, "n"], vocabulary: GeneVocabulary
) -> sparse.csr_array:
    """Compute :func:`expression_matrix` of cells that come in parts, without holding it twice.

    Parameters
    ----------
    blocks
        Tokens of the cells, in parts.
    lengths
        Number of tokens of each cell, shape (n,).
    vocabulary
        The genes.
    """
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    starts = _short(starts)
    levels, ids, end = np.empty(starts[-1], dtype=np.float32), np.empty(starts[-1], dtype=np.int32), 0
    for part in (expression_matrix(block, vocabulary) for block in blocks):
        rows = slice(end, end + part.nnz)
        levels[rows], ids[rows], end = part.data, part.indices, end + part.nnz
    matrix = sparse.csr_array((levels, ids, starts), shape=(len(lengths), vocabulary.size))
    matrix.has_sorted_indices = True  # those of each part are
    return matrix


def _short(starts: np.ndarray) -> np.ndarray:
    """Halve the memory of indices, which products with scores would read again and again, where they allow it."""
    return starts.astype(np.int32) if starts[-1] < 2**31 else starts


def solve_markers(cells: LabelledCells, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a third of a regression on all genes and two thirds of one on few genes, both multinomial.

    Many weak genes and few strong ones make errors on different cells, so the sum makes fewer.

    Parameters
    ----------
    cells
        Cells of two types or more, whose features are an :func:`expression_matrix`.
    seed
        This is not read: the solvers draw nothing.

    Returns
    -------
    Coefficients (k, v) and intercepts (k,) of the k types that occur.
    """
    many, many_bias = multinomial(cells, _C_DENSE, _STEPS_DENSE)
    few, few_bias = _few_genes(cells, many)
    return _DENSE * many + (1 - _DENSE) * few, _DENSE * many_bias + (1 - _DENSE) * few_bias


def _few_genes(cells: LabelledCells, many: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit again and again, with the penalty of a gene inverse to its norm in the fit before: a penalty on the norms.

    This is the adaptive ridge (Grandvalet 1998, doi:10.1007/978-1-4471-1599-1_27), which ends at the group lasso: a
    gene speaks for all types or for none. It needs no other solver, and no more genes than may end with a weight.
    """
    norm = np.sqrt((many**2).mean(axis=0))
    kept = np.sort(np.argsort(-norm, kind="stable")[:_MOST_GENES])
    floor, strength = _FLOOR * norm.mean(), norm[kept]
    part = LabelledCells(cells.features[:, kept], cells.labels, cells.batches)
    for _ in range(_ROUNDS):
        few, bias = multinomial(part, _C_SPARSE, _STEPS_SPARSE, np.sqrt(strength + floor))
        strength = np.sqrt((few**2).mean(axis=0))
    weights = np.zeros_like(many)
    weights[:, kept] = few
    return weights, bias
