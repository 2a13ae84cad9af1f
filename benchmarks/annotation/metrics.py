"""Scores of predicted cell types, and of embeddings."""

import numpy as np
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

PROBE_NEIGHBOURS = 15


def accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Share of cells with the right type."""
    return float(np.mean(np.asarray(true) == np.asarray(predicted)))


def macro_f1(true: np.ndarray, predicted: np.ndarray) -> float:
    """Unweighted mean of F1 over the types present among ``true``.

    A type that is only predicted adds no class of its own (its cells already miss in the types they belong to);
    a type that is never predicted counts 0.
    """
    classes = np.unique(true)
    return float(f1_score(true, predicted, labels=classes, average="macro", zero_division=0))


def knn_probe(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> dict[str, float]:
    """Accuracy and macro-F1 of k nearest neighbours (k = 15) fitted on the training part's embeddings."""
    probe = KNeighborsClassifier(min(PROBE_NEIGHBOURS, len(train))).fit(train, train_labels)
    predicted = probe.predict(test)
    return {"knn_accuracy": accuracy(test_labels, predicted), "knn_macro_f1": macro_f1(test_labels, predicted)}
