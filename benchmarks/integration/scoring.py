"""Scores of one embedding against known cell types and batches; scib-metrics and nearest neighbours.

avg_bio = mean(NMI, ARI at the best-NMI Leiden resolution of 10 in 0.2–2, ASW of labels);
avg_batch = mean(ASW of batches, graph connectivity), graph connectivity on the symmetric neighbour graph as in scib.
scib-metrics' own graph connectivity asks for strong connectivity of the directed graph and is far lower: its figure
stands beside as ``graph_connectivity_directed`` and enters no mean.
"""

import numpy as np
import scib_metrics
from scib_metrics.nearest_neighbors import pynndescent
from scipy import sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import KNeighborsClassifier

NEIGHBOURS = 15
WIDE_NEIGHBOURS = 90  # of LISI, as in scib-metrics
MOST_DUPLICATES = 0.01  # shallow cells may hold the same genes


def score(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> dict[str, object]:
    """All scores of one embedding."""
    refuse_broken(x)
    x = np.ascontiguousarray(x, dtype=np.float32)
    return {**metrics(x, codes(labels), codes(batches)), **cross_batch(x, labels, batches)}


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


def metrics(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> dict[str, float]:
    """The published means, and every part of them; labels and batches are codes."""
    wide = pynndescent(x, n_neighbors=min(WIDE_NEIGHBOURS, len(x) - 1), random_state=0)
    near = wide.subset_neighbors(NEIGHBOURS)
    leiden = scib_metrics.nmi_ari_cluster_labels_leiden(near, labels)
    nmi, ari = float(leiden["nmi"]), float(leiden["ari"])
    asw = float(scib_metrics.silhouette_label(x, labels))
    asw_batch = float(scib_metrics.silhouette_batch(x, labels, batches))
    connectivity = graph_connectivity(near.knn_graph_connectivities, labels)
    return {
        "avg_bio": (nmi + ari + asw) / 3,
        "avg_batch": (asw_batch + connectivity) / 2,
        "nmi": nmi,
        "ari": ari,
        "asw_label": asw,
        "asw_batch": asw_batch,
        "graph_connectivity": connectivity,
        "graph_connectivity_directed": float(scib_metrics.graph_connectivity(near, labels)),
        "ilisi": float(scib_metrics.ilisi_knn(wide, batches)),
        "clisi": float(scib_metrics.clisi_knn(wide, labels)),
    }


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
