"""Fit linear scores of cell types by convex solvers, and score cells by fits that did not see them."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Integer
from scipy import sparse
from sklearn.model_selection import GroupKFold, StratifiedKFold

_FOLDS = 5
# Largest weight of a cell of a small batch.
_MOST = 5.0
# Score of a type that a fit has not seen.
UNSEEN = -8.0


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """Hold what a fit reads.

    Parameters
    ----------
    features
        Sparse or dense features, shape (n, f).
    labels
        Codes of the types, shape (n,).
    batches
        Codes of the batches, shape (n,), or ``None``.
    """

    features: sparse.csr_array | np.ndarray
    labels: Integer[np.ndarray, "n"]
    batches: Integer[np.ndarray, "n"] | None

    def __getitem__(self, rows: np.ndarray) -> "LabelledCells":
        batches = None if self.batches is None else self.batches[rows]
        return LabelledCells(self.features[rows], self.labels[rows], batches)

    @property
    def importance(self) -> np.ndarray:
        """Weight of every cell, of mean 1: batches are weighted equally, with a cap of five on the weight of a cell."""
        if self.batches is None:
            return np.ones(len(self.labels))
        _, batch, sizes = np.unique(self.batches, return_inverse=True, return_counts=True)
        weight = np.minimum(len(batch) / (len(sizes) * sizes), _MOST)[batch]
        return weight / weight.mean()


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Hold scores ``features @ weights + bias``.

    Parameters
    ----------
    weights
        Weights, shape (f, c); 0 for a type that the fit has not seen.
    bias
        Bias, shape (c,); ``UNSEEN`` for a type that the fit has not seen.
    """

    weights: Float32[np.ndarray, "f c"]
    bias: Float32[np.ndarray, "c"]

    def __call__(self, features: sparse.csr_array | np.ndarray) -> Float32[np.ndarray, "n c"]:
        return features @ self.weights + self.bias


# A solver returns coefficients (k, f) and intercepts (k,) of the k types that occur among the cells, at least two.
Solver = Callable[[LabelledCells, int], tuple[np.ndarray, np.ndarray]]
# It yields what it is given, and may tell how far it has come.
Watch = Callable[[list[tuple[np.ndarray, np.ndarray]]], Iterable[tuple[np.ndarray, np.ndarray]]]


def fit_linear(cells: LabelledCells, n_labels: int, solver: Solver, seed: int = 0) -> LinearFit:
    """Fit the types that occur; the others are never preferred.

    Parameters
    ----------
    cells
        The cells.
    n_labels
        Number of types c.
    solver
        Function that is called with the cells and the seed where two types or more occur.
    seed
        Seed for the solver.
    """
    weights = np.zeros((cells.features.shape[1], n_labels), dtype=np.float32)
    bias = np.full(n_labels, UNSEEN, dtype=np.float32)
    present = np.unique(cells.labels)
    if len(present) < 2:
        bias[present] = 0.0
        return LinearFit(weights, bias)
    coefficients, intercepts = solver(cells, seed)
    weights[:, present], bias[present] = coefficients.T, intercepts
    return LinearFit(weights, bias)


def held_out_scores(
    cells: LabelledCells, n_labels: int, solver: Solver, seed: int = 0, watch: Watch = iter
) -> Float32[np.ndarray, "n c"]:
    """Score every cell by a fit that did not see it; return 0 where the cells are too few to hold any out.

    Parameters
    ----------
    cells, n_labels, solver, seed
        As in :func:`fit_linear`. With three batches or more, whole batches are held out.
    watch
        Function through which the folds are gone, such as one that draws a progress bar.
    """
    scores = np.zeros((len(cells.labels), n_labels), dtype=np.float32)
    for seen, unseen in watch(list(folds(cells.labels, cells.batches, seed))):
        scores[unseen] = fit_linear(cells[seen], n_labels, solver, seed)(cells.features[unseen])
    return scores


def folds(
    labels: np.ndarray, batches: np.ndarray | None, seed: int
) -> Iterator[tuple[Integer[np.ndarray, "m"], Integer[np.ndarray, "k"]]]:
    """Return pairs of cells to fit on and cells to score.

    Parameters
    ----------
    labels, batches
        Codes of the labels and of the batches, shape (n,).
    seed
        Seed of the folds that are not batches.
    """
    n_batches = 0 if batches is None else len(np.unique(batches))
    if n_batches >= 3:
        yield from GroupKFold(min(_FOLDS, n_batches)).split(labels, groups=batches)
        return
    n_folds = min(_FOLDS, int(np.bincount(labels).max(initial=0)))
    if n_folds < 2:
        return
    with warnings.catch_warnings():
        # A type with fewer cells than folds is missing in some of them; fit_linear handles that.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield from StratifiedKFold(n_folds, shuffle=True, random_state=seed).split(labels, labels)
