"""Score embeddings by nearest neighbours, and refuse those whose scores would mean nothing; no scib-metrics."""

from typing import Any

import numpy as np
from scipy import sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import KNeighborsClassifier

from genemamba_sc.benchmark.scores._metrics import NEIGHBOURS

MOST_DUPLICATES = 0.01  # shallow cells may hold the same genes
# Cells that differ by less than this share of their size differ by rounding.
_ROUNDING = 1e-6


def refuse_broken(x: np.ndarray, method: str = "An embedding", n_cells: int | None = None) -> None:
    """Refuse embeddings whose scores would mean nothing.

    Parameters
    ----------
    x
        Embedding, shape ``(n_cells, width)``.
    method
        Name of the method, for messages.
    n_cells
        Number of cells that it must have; ``None`` takes any.

    Raises
    ------
    ValueError
        If it has another shape, values are not finite, all cells lie on a point, or more than 1 % of them repeat
        another cell exactly.
    """
    who = method if method == "An embedding" else f"The embedding of {method}"
    if x.ndim != 2 or not x.shape[1] or (n_cells is not None and len(x) != n_cells):
        of = "" if n_cells is None else f" for {n_cells} cells"
        raise ValueError(f"{who} must have a row per cell and a column or more. Got the shape {x.shape}{of}.")
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).any(axis=1).sum())
        raise ValueError(f"{who} must be finite. {bad} of {len(x)} cells have NaN or infinite values.")
    n_rows = len(np.unique(x, axis=0))
    if n_rows == 1:
        raise ValueError(f"{who} must tell cells apart. All {len(x)} cells have the same values: it collapsed.")
    wide = np.asarray(x, dtype=np.float64)
    if np.abs(wide - wide.mean(axis=0)).max() <= _ROUNDING * np.abs(wide).max():
        raise ValueError(
            f"{who} must tell cells apart. All {len(x)} cells lie on a point, up to rounding: it collapsed."
        )
    share = 1 - n_rows / len(x)
    if share > MOST_DUPLICATES:
        raise ValueError(
            f"{who} must tell cells apart. {share:.1%} of the {len(x)} cells repeat another cell exactly, "
            f"more than {MOST_DUPLICATES:.0%}."
        )


def codes(names: np.ndarray) -> np.ndarray:
    """Return integers from 0 in the order of the sorted names, so that no score depends on the order of the cells.

    Parameters
    ----------
    names
        Types or batches of the cells, shape ``(n_cells,)``.
    """
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def graph_connectivity(graph: sp.spmatrix, labels: np.ndarray) -> float:
    """Compute the mean over labels of the share of its cells in the largest component of its own symmetric subgraph.

    This is scib's definition (Luecken et al. 2022, doi 10.1038/s41592-021-01336-8).

    Parameters
    ----------
    graph
        Neighbour graph, shape ``(n_cells, n_cells)``.
    labels
        Types of the cells, or their codes.
    """
    rows_of, shares = sp.csr_matrix(graph), []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        _, component = connected_components(rows_of[rows][:, rows], directed=True, connection="weak")
        shares.append(np.bincount(component).max() / len(rows))
    return float(np.mean(shares))


def cross_batch(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> dict[str, Any]:
    """Compute the accuracy of 15 nearest neighbours among the cells of all *other* batches, per type.

    A type of one batch only has no neighbours of its own there: it is left out of these, and stands in
    ``knn_single`` with the accuracy of its 15 nearest among *all* other cells, which falls if it is merged into others.
    Where all types are such, ``knn_accuracy`` is ``None``.

    Parameters
    ----------
    x
        Embedding, shape ``(n_cells, width)``.
    labels, batches
        Types and batches of the cells.
    """
    predicted = across_batches(x, labels, batches)
    groups = types_by_spread(labels, batches)
    per_type = {name: accuracy_of(name, labels, predicted) for name in (*groups["all"], *groups["some"])}
    single = groups["single"]
    among_all = among_all_cells(x, labels) if single else labels
    rated = ~np.isin(labels, single)
    return {
        "knn_accuracy": float((labels == predicted)[rated].mean()) if rated.any() else None,
        "knn_types": per_type,
        "knn_worst_all": min((per_type[name] for name in groups["all"]), default=None),
        "knn_worst_some": min((per_type[name] for name in groups["some"]), default=None),
        "knn_single": {name: accuracy_of(name, labels, among_all) for name in single},
    }


def across_batches(x: np.ndarray, labels: np.ndarray, batches: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Tell the type of each cell by its nearest neighbours in all other batches.

    Parameters
    ----------
    x, labels, batches
        As in :func:`cross_batch`.
    k
        Number of neighbours.
    """
    predicted = np.empty_like(labels)
    for batch in np.unique(batches):
        inside = batches == batch
        predicted[inside] = nearest_types(x[~inside], labels[~inside], x[inside], k)
    return predicted


def nearest_types(x: np.ndarray, labels: np.ndarray, queries: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Tell the most frequent type among the nearest cells of each query; the first by name of equals.

    Parameters
    ----------
    x, labels
        Embedding and types of the cells that vote.
    queries
        Embedding of the cells that are asked about.
    k
        Number of neighbours.
    """
    return KNeighborsClassifier(min(k, len(x)), algorithm="brute").fit(x, labels).predict(queries)


def among_all_cells(x: np.ndarray, labels: np.ndarray, k: int = NEIGHBOURS) -> np.ndarray:
    """Tell the type of each cell by its nearest neighbours among all cells but itself.

    Parameters
    ----------
    x, labels
        Embedding and types of the cells.
    k
        Number of neighbours.
    """
    names, coded = np.unique(labels, return_inverse=True)
    model = KNeighborsClassifier(min(k, len(x) - 1), algorithm="brute").fit(x, labels)
    near = coded[model.kneighbors(return_distance=False)]
    votes = np.stack([(near == code).sum(axis=1) for code in range(len(names))], axis=1)
    return names[votes.argmax(axis=1)]


def types_by_spread(labels: np.ndarray, batches: np.ndarray) -> dict[str, list[str]]:
    """Sort the types into those that are in all batches, in some (two or more), and in a single one.

    Parameters
    ----------
    labels, batches
        Types and batches of the cells.
    """
    n_batches = len(np.unique(batches))
    groups: dict[str, list[str]] = {"all": [], "some": [], "single": []}
    for name in np.unique(labels):
        found = len(np.unique(batches[labels == name]))
        groups["single" if found == 1 else "all" if found == n_batches else "some"].append(str(name))
    return groups


def accuracy_of(name: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the share of the cells of one type that are told rightly.

    Parameters
    ----------
    name
        The type.
    labels, predicted
        Types of the same cells, known and told.
    """
    return float((predicted == name)[labels == name].mean())
