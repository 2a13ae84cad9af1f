"""Train CellTypist on the training cells; it needs celltypist."""

import logging

import celltypist
import numpy as np
from anndata import AnnData
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from genemamba_sc.benchmark._columns import LABEL, column
from genemamba_sc.benchmark.methods._features import CLIP, log_cp10k
from genemamba_sc.benchmark.methods._outcome import Options, Outcome, clock

# CellTypist's defaults for fewer than 50,000 cells.
STRENGTH, ITERATIONS = 1.0, 1000


def celltypist_labels(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Annotate with a CellTypist model of the training cells (doi 10.1126/science.abl5197).

    The model is fitted here with the objective of ``celltypist.train`` and its defaults: celltypist 1.7.1 asks
    scikit-learn for one-vs-rest by an argument that went in 1.8, and its other solver (stochastic gradient descent)
    finds another and worse fit. celltypist itself annotates, without majority voting, so that every cell is judged by
    itself.

    Parameters
    ----------
    train, test
        Cells with types, and cells to annotate.
    seed, options
        Not used: nothing is drawn.
    """
    celltypist.logger.set_level(logging.WARNING)
    passed = clock()
    model = _fit(train)
    cells = AnnData(log_cp10k(test), obs=test.obs[[]].copy(), var=test.var[[]].copy())
    found = celltypist.annotate(cells, model=model, majority_voting=False)
    predicted = found.predicted_labels["predicted_labels"].astype(str).to_numpy(dtype=object).astype(str)
    settings = {"C": STRENGTH, "features": len(model.features)}
    return Outcome(predicted, int(model.classifier.coef_.size), settings, passed())


def _fit(train: AnnData) -> celltypist.models.Model:
    """Fit one logistic regression per type, on z-scores cut at 10 of the genes that training cells express."""
    values, labels = log_cp10k(train), column(train, LABEL)
    expressed = np.asarray(values.sum(axis=0)).ravel() > 0
    scaler = StandardScaler()
    x = np.minimum(scaler.fit_transform(values[:, expressed].toarray()), CLIP)
    names = np.unique(labels)
    asked = names if len(names) > 2 else names[1:]  # of two types one is what the other is not
    fits = [LogisticRegression(C=STRENGTH, max_iter=ITERATIONS).fit(x, labels == name) for name in asked]
    classifier = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS)
    classifier.classes_ = names
    classifier.coef_ = np.concatenate([fit.coef_ for fit in fits])
    classifier.intercept_ = np.concatenate([fit.intercept_ for fit in fits])
    classifier.features = train.var_names.to_numpy(dtype=object)[expressed].astype(str)
    classifier.n_features_in_ = int(expressed.sum())
    return celltypist.models.Model(classifier, scaler, {"details": "genemamba_sc.benchmark"})
