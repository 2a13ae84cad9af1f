"""The linear part of the cell-type head: marker genes, found by convex fits before the encoder is trained.

Gradient descent on a few thousand cells does not find what a convex solver finds in a second, and what it
fits it fits to the last training cell: nothing is left to learn for the encoder. So the linear part is solved
first, and while the encoder trains, each cell is scored by a fit that has not seen it (stacking; Wolpert 1992,
doi:10.1016/S0893-6080(05)80023-1). What the encoder learns is what marker genes leave open on new cells.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Integer
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold

from genemamba_sc.data import GeneVocabulary, TokenDataset, Tokens

# Inverse strengths of the L2 and of the L1 penalty, the same for every data set.
_C_DENSE, _C_SPARSE = 0.3, 0.5
_FOLDS = 5
# Labelled cells a fit reads at most: solvers take minutes beyond.
_MAX_CELLS = 50_000
_BLOCK = 4096
# Largest weight of a cell of a small batch.
_MOST = 5.0
# Score of a type that a fit has not seen.
_UNSEEN = -8.0


@dataclass(frozen=True)
class MarkerFit:
    """Linear scores of cell types.

    Parameters
    ----------
    weights
        Score that a token adds per ``log1p`` of its counts per 10,000, shape (v, c).
    bias
        Shape (c,).
    held_out
        Scores of the training cells by fits that did not see them, shape (n, c); 0 for cells without a label.
    """

    weights: Float32[np.ndarray, "v c"]
    bias: Float32[np.ndarray, "c"]
    held_out: Float32[np.ndarray, "n c"]


def fit_markers(
    dataset: TokenDataset,
    indices: Integer[np.ndarray, "n"],
    labels: Integer[np.ndarray, "n"],
    n_labels: int,
    batches: Integer[np.ndarray, "n"] | None = None,
    seed: int = 0,
) -> MarkerFit:
    """Fit the linear scores, and the held-out scores of every labelled cell.

    The score is the mean of a multinomial logistic regression with an L2 penalty and of one-vs-rest ones with an L1
    penalty, on ``log1p`` of counts per 10,000: many weak genes and few strong ones err on different cells.

    Parameters
    ----------
    dataset
        The tokens of all cells.
    indices
        The training cells, shape (n,).
    labels
        Their codes, shape (n,); a cell whose code is not in ``[0, n_labels)`` has no label.
    n_labels
        Number of cell types ``c``.
    batches
        Their batch codes, shape (n,). Each batch then counts as much as any other, up to five times its size; and with
        three batches or more, whole batches are held out, so that the encoder learns what helps on a new batch.
    seed
        Of the folds, and of the cells that are fitted where there are more than 50,000.
    """
    labelled = np.flatnonzero((labels >= 0) & (labels < n_labels))
    fitted = labelled
    if len(labelled) > _MAX_CELLS:
        fitted = np.sort(np.random.default_rng(seed).choice(labelled, _MAX_CELLS, replace=False))
    features = expression_matrix(dataset.tokens(indices[fitted]), dataset.vocabulary)
    cells = _Cells(features, labels[fitted], None if batches is None else batches[fitted])
    weights, bias = _fit(cells, n_labels, seed)
    held_out = np.zeros((len(indices), n_labels), dtype=np.float32)
    held_out[fitted] = _held_out(cells, n_labels, seed)
    # Cells beyond those fitted were seen by no fit: the fit itself scores them.
    rest = np.setdiff1d(labelled, fitted)
    for start in range(0, len(rest), _BLOCK):
        rows = rest[start : start + _BLOCK]
        held_out[rows] = expression_matrix(dataset.tokens(indices[rows]), dataset.vocabulary) @ weights + bias
    return MarkerFit(weights=weights, bias=bias, held_out=held_out)


@dataclass(frozen=True, eq=False)
class _Cells:
    """What a fit reads."""

    features: sparse.csr_array
    labels: np.ndarray
    batches: np.ndarray | None

    def __getitem__(self, rows: np.ndarray) -> "_Cells":
        return _Cells(self.features[rows], self.labels[rows], None if self.batches is None else self.batches[rows])

    @property
    def importance(self) -> np.ndarray:
        """Weight of every cell, of mean 1: batches count alike, but no cell more than five times the others."""
        if self.batches is None:
            return np.ones(len(self.labels))
        _, batch, sizes = np.unique(self.batches, return_inverse=True, return_counts=True)
        weight = np.minimum(len(batch) / (len(sizes) * sizes), _MOST)[batch]
        return weight / weight.mean()


def _held_out(cells: _Cells, n_labels: int, seed: int) -> np.ndarray:
    scores = np.zeros((len(cells.labels), n_labels), dtype=np.float32)
    for seen, unseen in _folds(cells.labels, cells.batches, seed):
        weights, bias = _fit(cells[seen], n_labels, seed)
        scores[unseen] = cells.features[unseen] @ weights + bias
    return scores


def expression_matrix(tokens: Tokens, vocabulary: GeneVocabulary) -> sparse.csr_array:
    """``log1p`` of the counts per 10,000 of the tokens as a sparse matrix, shape (n, v)."""
    real = np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
    starts = np.concatenate([[0], np.cumsum(tokens.lengths, dtype=np.int64)])
    # liblinear reads 32-bit indices; the cells that are fitted together never have more.
    starts = starts.astype(np.int32) if starts[-1] < 2**31 else starts
    ids = tokens.ids[real]
    # The division by the median, which ranks the tokens, is undone.
    levels = np.log1p(tokens.values[real] * vocabulary.token_medians[ids].astype(np.float32))
    return sparse.csr_array((levels, ids, starts), shape=(len(tokens.lengths), vocabulary.size))


def _folds(
    labels: np.ndarray, batches: np.ndarray | None, seed: int
) -> Iterator[tuple[Integer[np.ndarray, "m"], Integer[np.ndarray, "k"]]]:
    """Pairs of cells to fit on and cells to score."""
    n_batches = 0 if batches is None else len(np.unique(batches))
    if n_batches >= 3:
        yield from GroupKFold(min(_FOLDS, n_batches)).split(labels, groups=batches)
        return
    folds = min(_FOLDS, int(np.bincount(labels).max(initial=0)))
    if folds < 2:
        return
    with warnings.catch_warnings():
        # A type with fewer cells than folds is unseen in some of them; _fit handles that.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)


def _fit(cells: _Cells, n_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (v, c) and bias (c,)."""
    weights = np.zeros((cells.features.shape[1], n_labels), dtype=np.float32)
    bias = np.full(n_labels, _UNSEEN, dtype=np.float32)
    present = np.unique(cells.labels)
    if len(present) < 2:
        bias[present] = 0.0
        return weights, bias
    with warnings.catch_warnings():
        # The last digits of the coefficients do not matter for a start.
        warnings.simplefilter("ignore", ConvergenceWarning)
        many, many_bias = _dense(cells)
        few, few_bias = _sparse(cells, present, seed)
    weights[:, present] = ((many + few) / 2).T
    bias[present] = (many_bias + few_bias) / 2
    return weights, bias


def _dense(cells: _Cells) -> tuple[np.ndarray, np.ndarray]:
    """Fit once, multinomial, with an L2 penalty: coefficients (c, v) and intercepts (c,)."""
    model = LogisticRegression(C=_C_DENSE, max_iter=150, tol=1e-3)
    model.fit(cells.features, cells.labels, sample_weight=cells.importance)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    return coefficients, intercepts


def _sparse(cells: _Cells, present: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit each type against the rest with an L1 penalty: coefficients (c, v) and intercepts (c,)."""
    rows, intercepts = [], []
    for label in present:
        model = LogisticRegression(C=_C_SPARSE, l1_ratio=1.0, solver="liblinear", max_iter=100, random_state=seed)
        model.fit(cells.features, cells.labels == label, sample_weight=cells.importance)
        rows.append(model.coef_[0])
        intercepts.append(model.intercept_[0])
    return np.stack(rows), np.asarray(intercepts)
