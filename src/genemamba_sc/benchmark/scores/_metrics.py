"""Score predicted cell types, and embeddings by their nearest neighbours."""

import numpy as np
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

NEIGHBOURS = 15


def n_neighbours(n_cells: int) -> int:
    """Return the number of neighbours that vote among so many cells: 15, but no more than the square root of them.

    Parameters
    ----------
    n_cells
        Number of cells.
    """
    return max(1, min(NEIGHBOURS, round(n_cells**0.5)))


def accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the share of cells with the right type.

    Parameters
    ----------
    true, predicted
        Types of the same cells, shape ``(n_cells,)``.
    """
    return float(np.mean(np.asarray(true) == np.asarray(predicted)))


def macro_f1(true: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the unweighted mean of F1 over the types present among ``true``.

    A type that is only predicted adds no class of its own (its cells already miss in the types they belong to);
    a type that is never predicted counts 0.

    Parameters
    ----------
    true, predicted
        Types of the same cells, shape ``(n_cells,)``.
    """
    classes = np.unique(true)
    return float(f1_score(true, predicted, labels=classes, average="macro", zero_division=0))


def knn_probe(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> dict[str, float]:
    """Score k nearest neighbours (:func:`n_neighbours`) that are fitted on the training part's embeddings.

    Parameters
    ----------
    train, test
        Embeddings, shape ``(n_cells, width)`` each.
    train_labels, test_labels
        Types of these cells.

    Returns
    -------
    ``knn_accuracy`` and ``knn_macro_f1``.
    """
    probe = KNeighborsClassifier(n_neighbours(len(train))).fit(train, train_labels)
    predicted = probe.predict(test)
    return {"knn_accuracy": accuracy(test_labels, predicted), "knn_macro_f1": macro_f1(test_labels, predicted)}
