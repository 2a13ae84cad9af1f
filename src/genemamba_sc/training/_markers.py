"""Fit marker genes of cell types: linear scores from expression, one weight per gene and type."""

import warnings

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.training._linear import LabelledCells, multinomial

# Inverse strengths of the L2 and of the L1 penalty, the same for every data set.
_C_DENSE, _C_SPARSE = 0.3, 0.5


def expression_matrix(tokens: Tokens, vocabulary: GeneVocabulary) -> sparse.csr_array:
    """Compute ``log1p`` of the counts per 10,000 of the tokens as a sparse matrix, shape (n, v)."""
    real = np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
    starts = np.concatenate([[0], np.cumsum(tokens.lengths, dtype=np.int64)])
    # liblinear reads 32-bit indices; the cells that are fitted together never have more.
    starts = starts.astype(np.int32) if starts[-1] < 2**31 else starts
    ids = tokens.ids[real]
    # This undoes the division by the median, which ranks the tokens.
    levels = np.log1p(tokens.values[real] * vocabulary.token_medians[ids].astype(np.float32))
    return sparse.csr_array((levels, ids, starts), shape=(len(tokens.lengths), vocabulary.size))


def solve_markers(cells: LabelledCells, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit the mean of a multinomial regression with an L2 penalty and of one-vs-rest ones with an L1 penalty.

    Many weak genes and few strong ones make errors on different cells, so the mean makes fewer.

    Parameters
    ----------
    cells
        Cells of two types or more, whose features are an :func:`expression_matrix`.
    seed
        Seed of the solver.

    Returns
    -------
    Coefficients (k, v) and intercepts (k,) of the k types that occur.
    """
    with warnings.catch_warnings():
        # The last digits of the coefficients do not matter for a start.
        warnings.simplefilter("ignore", ConvergenceWarning)
        many, many_bias = multinomial(cells, _C_DENSE, max_iter=150)
        few, few_bias = _one_versus_rest(cells, seed)
    return (many + few) / 2, (many_bias + few_bias) / 2


def _one_versus_rest(cells: LabelledCells, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit each type against the rest with an L1 penalty; return coefficients (k, v) and intercepts (k,)."""
    rows, intercepts = [], []
    for label in np.unique(cells.labels):
        model = LogisticRegression(C=_C_SPARSE, l1_ratio=1.0, solver="liblinear", max_iter=100, random_state=seed)
        model.fit(cells.features, cells.labels == label, sample_weight=cells.importance)
        rows.append(model.coef_[0])
        intercepts.append(model.intercept_[0])
    return np.stack(rows), np.asarray(intercepts)
