"""What an embedding is worth without training on the target, and with few labels."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

NEIGHBOURS = 15
LEAST_PER_TYPE = 2


def knn_accuracy(z: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """Accuracy of 15 neighbours, five stratified folds."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    found = cross_val_predict(KNeighborsClassifier(NEIGHBOURS), z, labels, cv=folds)
    return float((found == labels).mean())


def few(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labelled cells (a share of the training part, at least two per type) and the test cells, a fifth of all."""
    rng = np.random.default_rng(seed)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    chosen = []
    for name in np.unique(labels):
        own = train[labels[train] == name]
        n = min(len(own), max(LEAST_PER_TYPE, round(share * len(own))))
        chosen.append(rng.choice(own, n, replace=False))
    return np.concatenate(chosen), test


def probe_of(z: np.ndarray, cells: Sequence[int] | np.ndarray | slice = slice(None)) -> Pipeline:
    """Logistic regression on ``z``, centred and at unit mean square over ``cells``, labelled or not.

    Components are scaled together. Each scaled to unit variance, those of noise would count as much as the others:
    that costs components of variable genes up to 30 points with 1 % of the labels.
    """
    centre = z[cells].mean(axis=0)
    scale = np.sqrt(((z[cells] - centre) ** 2).mean())
    return make_pipeline(FunctionTransformer(lambda x: (x - centre) / scale), LogisticRegression(C=1.0, max_iter=300))


def probe(z: np.ndarray, labels: np.ndarray, share: float, draws: int = 5) -> tuple[float, float]:
    """Accuracy and macro-F1 of a logistic regression on ``z`` with few labels; mean over the draws.

    On log values of genes (sparse ``z``) as they are, with a weak penalty, which suits few labels.
    """
    scores = []
    for seed in range(draws):
        train, test = few(labels, share, seed)
        model = LogisticRegression(C=100.0, max_iter=300) if issparse(z) else probe_of(z)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = model.fit(z[train], labels[train]).predict(z[test])
        scores.append(((found == labels[test]).mean(), f1_score(labels[test], found, average="macro")))
    accuracy, macro_f1 = np.mean(scores, axis=0)
    return float(accuracy), float(macro_f1)
