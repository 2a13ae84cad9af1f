"""Train CellTypist on the training cells; it needs celltypist."""

import logging

import celltypist
import numpy as np
from anndata import AnnData

from genemamba_sc.benchmark._columns import LABEL, column
from genemamba_sc.benchmark._features import log_cp10k
from genemamba_sc.benchmark._linear import best_of, folds
from genemamba_sc.benchmark._metrics import macro_f1
from genemamba_sc.benchmark._outcome import Options, Outcome, clock

# Its default, and a decade on each side.
ALPHAS = (1e-5, 1e-4, 1e-3)


def celltypist_labels(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Annotate with a CellTypist model of the training cells, its penalty chosen by 3 folds of them.

    The logistic regression is fitted by stochastic gradient descent: celltypist 1.7.1 asks scikit-learn for an argument
    that went in 1.8 otherwise. No majority voting, so that every cell is judged by itself.

    Parameters
    ----------
    train, test
        Cells with types, and cells to annotate.
    seed
        Seed of the folds and of the descent.
    options
        Not used.
    """
    celltypist.logger.set_level(logging.WARNING)
    passed = clock()
    x, labels = _normalised(train), column(train, LABEL)
    scores = np.zeros(len(ALPHAS))
    for fitting, scoring in folds(labels, seed):
        for i, alpha in enumerate(ALPHAS):
            scores[i] += macro_f1(labels[scoring], _predict(_fit(x[fitting], labels[fitting], alpha, seed), x[scoring]))
    alpha = ALPHAS[best_of(scores)]
    model = _fit(x, labels, alpha, seed)
    predicted = _predict(model, _normalised(test))
    settings = {"alpha": alpha, "grid": list(ALPHAS), "features": int(len(model.features))}
    return Outcome(predicted, int(model.classifier.coef_.size), settings, passed())


def _normalised(adata: AnnData) -> AnnData:
    return AnnData(log_cp10k(adata), obs=adata.obs[[]].copy(), var=adata.var[[]].copy())


def _fit(x: AnnData, labels: np.ndarray, alpha: float, seed: int) -> celltypist.models.Model:
    return celltypist.train(
        x, labels=labels, use_SGD=True, alpha=alpha, random_state=seed, n_jobs=1, check_expression=False
    )


def _predict(model: celltypist.models.Model, x: AnnData) -> np.ndarray:
    found = celltypist.annotate(x, model=model, majority_voting=False).predicted_labels["predicted_labels"]
    return found.astype(str).to_numpy(dtype=object).astype(str)
