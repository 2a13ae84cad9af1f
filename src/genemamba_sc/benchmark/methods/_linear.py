"""Fit logistic regressions whose penalty is chosen by folds of the training cells."""

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import sklearn
from anndata import AnnData
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from genemamba_sc.benchmark._columns import LABEL, column
from genemamba_sc.benchmark.methods._features import Features, all_genes, ranks, scaled_variable_genes
from genemamba_sc.benchmark.methods._outcome import Options, Outcome, clock
from genemamba_sc.benchmark.scores._metrics import macro_f1

FOLDS = 3
# One decade apart, wide enough that the best is rarely at an end.
C_OF = {
    "l1": (0.1, 1.0, 10.0),
    "lr_l2": (0.01, 0.1, 1.0, 10.0),
    "lr_hvg": (1e-4, 1e-3, 1e-2, 0.1, 1.0),
    "rank512": (0.1, 1.0, 10.0, 100.0),
    "probe": (0.01, 0.1, 1.0, 10.0, 100.0),
}
# saga is stopped early: the last digits of its objective cost minutes and change no prediction that matters.
SAGA = {"solver": "saga", "tol": 1e-2, "max_iter": 50}
LBFGS = {"solver": "lbfgs", "tol": 1e-4, "max_iter": 200}


def logistic(l1: bool, seed: int) -> LogisticRegression:
    """Make a multinomial logistic regression with L1 (saga) or L2 (lbfgs); each fit starts from the one before.

    Parameters
    ----------
    l1
        Whether the penalty is L1.
    seed
        Seed of the solver.
    """
    common = {"warm_start": True, "random_state": seed}
    if not l1:
        return LogisticRegression(**LBFGS, **common)
    modern = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 8)
    penalty = {"l1_ratio": 1.0} if modern else {"penalty": "l1"}  # 1.8 deprecates the word and reads the ratio
    return LogisticRegression(**SAGA, **common, **penalty)


def folds(labels: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of 3 stratified folds to fit on and to score, where a fold has two types or more to fit.

    No fold comes of cells of which no type has three: too few to choose anything by.

    Parameters
    ----------
    labels
        Types of the training cells.
    seed
        Seed of the folds.
    """
    if np.unique(labels, return_counts=True)[1].max() < FOLDS:
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for fitting, scoring in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels):
            if len(np.unique(labels[fitting])) > 1:
                yield fitting, scoring


def best_of(scores: np.ndarray) -> int:
    """Return the number of the best setting, the first of equals; the middle one where no fold has scored any.

    Parameters
    ----------
    scores
        Sums over the folds, shape ``(n_settings,)``.
    """
    return int(np.argmax(scores)) if scores.any() else len(scores) // 2


def fit_by_cv(
    x: Features, labels: np.ndarray, grid: tuple[float, ...], seed: int, l1: bool = False
) -> LogisticRegression:
    """Choose C by the best mean macro-F1 in 3 folds of the training cells (the smaller one of equals), then fit all.

    Macro-F1, not accuracy: accuracy picks the strong penalties that forget rare types, which costs z-scored
    variable genes 6–12 points of macro-F1 across studies. A baseline is to be beaten at its best.

    Parameters
    ----------
    x, labels
        Features and types of the training cells.
    grid
        Values of C, in ascending order.
    seed
        Seed of folds and solver.
    l1
        Whether the penalty is L1.
    """
    scores = np.zeros(len(grid))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for fitting, scoring in folds(labels, seed):
            model = logistic(l1, seed)
            for i, strength in enumerate(grid):
                model.set_params(C=strength).fit(x[fitting], labels[fitting])
                scores[i] += macro_f1(labels[scoring], model.predict(x[scoring]))
        return logistic(l1, seed).set_params(C=grid[best_of(scores)]).fit(x, labels)


def classify(
    name: str, read: Callable[[AnnData, AnnData], tuple[Features, Features]], l1: bool = False
) -> Callable[[AnnData, AnnData, int, Options], Outcome]:
    """Make the method ``name``: logistic regression on the features that ``read`` makes of (train, test).

    Parameters
    ----------
    name
        Key of ``C_OF``.
    read
        Function that makes features of both parts.
    l1
        Whether the penalty is L1.
    """

    def method(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
        passed = clock()
        x, x_test = read(train, test)
        model = fit_by_cv(x, column(train, LABEL), C_OF[name], seed, l1)
        predicted = model.predict(x_test)
        settings = {"C": float(model.C), "grid": list(C_OF[name]), "features": int(x.shape[1])}
        params = int(np.count_nonzero(model.coef_) + model.intercept_.size)
        return Outcome(predicted, params, settings, passed())

    return method


l1 = classify("l1", all_genes, l1=True)
lr_l2 = classify("lr_l2", all_genes)
lr_hvg = classify("lr_hvg", scaled_variable_genes)
rank512 = classify("rank512", ranks)
