"""Scores by nearest neighbours, and which embeddings are refused; no scib-metrics."""

import numpy as np
from scipy import sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import KNeighborsClassifier

NEIGHBOURS = 15
MOST_DUPLICATES = 0.01  # shallow cells may hold the same genes


def refuse_broken(x: np.ndarray) -> None:
    """Refuse embeddings whose scores would mean nothing."""
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).any(axis=1).sum())
        raise ValueError(f"An embedding must be finite. {bad} of {len(x)} cells have NaN or infinite values.")
    n_rows = len(np.unique(x, axis=0))
    if n_rows == 1:
        raise ValueError(f"An embedding must tell cells apart. All {len(x)} cells have the same values: it collapsed.")
    share = 1 - n_rows / len(x)
    if share > MOST_DUPLICATES:
        raise ValueError(
            f"An embedding must tell cells apart. {share:.1%} of the {len(x)} cells repeat another cell exactly, "
            f"more than {MOST_DUPLICATES:.0%}."
        )


def codes(names: np.ndarray) -> np.ndarray:
    """Integers from 0 in the order of the sorted names, so that no score depends on the order of the cells."""
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def graph_connectivity(graph: sp.spmatrix, labels: np.ndarray) -> float:
    """Mean over labels of the share of its cells in the largest component of its own symmetric subgraph (scib)."""
    graph, shares = sp.csr_matrix(graph), []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        _, component = connected_components(graph[rows][:, rows], directed=True, connection="weak")
        shares.append(np.bincount(component).max() / len(rows))
    return float(np.mean(shares))


def cross_batch(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> dict[str, object]:
    """Accuracy of 15 nearest neighbours among the cells of all *other* batches, per type.

    A type of one batch only has no neighbours of its own there: it is left out of these, and stands in
    ``knn_single`` with the accuracy of its 15 nearest among *all* other cells, which falls if it is merged into others.
    """
    predicted = across_batches(x, labels, batches)
    groups = types_by_spread(labels, batches)
    per_type = {name: accuracy_of(name, labels, predicted) for name in (*groups["all"], *groups["some"])}
    single = groups["single"]
    among_all = among_all_cells(x, labels) if single else labels
    rated = ~np.isin(labels, single)
    return {
        "knn_accuracy": float((labels == predicted)[rated].mean()),
        "knn_types": per_type,
        "knn_worst_all": min((per_type[name] for name in groups["all"]), default=None),
        "knn_worst_some": min((per_type[name] for name in groups["some"]), default=None),
        "knn_single": {name: accuracy_of(name, labels, among_all) for name in single},
    }


def across_batches(x: np.ndarray, labels: np.ndarray, batches: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """The type of each cell as told by its nearest neighbours in all other batches."""
    predicted = np.empty_like(labels)
    for batch in np.unique(batches):
        inside = batches == batch
        predicted[inside] = nearest_types(x[~inside], labels[~inside], x[inside], k)
    return predicted


def nearest_types(x: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """The most frequent type among the nearest cells of each query; the first by name of equals."""
    return KNeighborsClassifier(min(k, len(x)), algorithm="brute").fit(x, labels).predict(queries)


def among_all_cells(x: np.ndarray, labels: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """The type of each cell as told by its nearest neighbours among all cells but itself."""
    names, coded = np.unique(labels, return_inverse=True)
    model = KNeighborsClassifier(min(k, len(x) - 1), algorithm="brute").fit(x, labels)
    near = coded[model.kneighbors(return_distance=False)]
    votes = np.stack([(near == code).sum(axis=1) for code in range(len(names))], axis=1)
    return names[votes.argmax(axis=1)]


def types_by_spread(labels: np.ndarray, batches: np.ndarray) -> dict[str, list[str]]:
    """Types that are in all batches, in some (two or more), and in a single one."""
    n_batches, groups = len(np.unique(batches)), {"all": [], "some": [], "single": []}
    for name in np.unique(labels):
        found = len(np.unique(batches[labels == name]))
        groups["single" if found == 1 else "all" if found == n_batches else "some"].append(str(name))
    return groups


def accuracy_of(name: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Share of the cells of one type that are told rightly."""
    return float((predicted == name)[labels == name].mean())
