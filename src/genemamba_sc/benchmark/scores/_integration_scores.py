"""Score one embedding against known cell types and batches: scib-metrics where it is installed, nearest neighbours.

avg_bio = mean(NMI, ARI at the best-NMI Leiden resolution of 10 in 0.2–2, ASW of labels); NMI and ARI are means over
five clusterings that differ in Leiden's seed alone, for one moves avg_bio by up to .1 on the same embedding;
avg_batch = mean(ASW of batches, graph connectivity), graph connectivity on the symmetric neighbour graph as in scib.
scib-metrics' own graph connectivity asks for strong connectivity of the directed graph and is far lower: its figure
stands beside as ``graph_connectivity_directed`` and enters no mean. kBET is not computed: scib-metrics' version
changes with the order of the types (docs/decisions.md).
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from genemamba_sc._whole_floats import as_text
from genemamba_sc.benchmark.scores._metrics import NEIGHBOURS
from genemamba_sc.benchmark.scores._neighbours import codes, cross_batch, graph_connectivity, refuse_broken

WIDE_NEIGHBOURS = 90  # of LISI, as in scib-metrics
_LEIDEN_SEEDS = (42, 43, 44, 45, 46)  # the first is that of scib-metrics


def score(
    x: np.ndarray, labels: np.ndarray, batches: np.ndarray, *, method: str = "An embedding", scib: bool = True
) -> dict[str, Any]:
    """Compute all scores of one embedding.

    Types and batches are given to scib-metrics as codes: some of its scores change with the names.

    Parameters
    ----------
    x
        Embedding, shape ``(n_cells, width)``.
    labels, batches
        Types and batches of the cells.
    method
        Name of the method, for messages.
    scib
        Whether scib-metrics is used; otherwise only nearest neighbours are.

    Raises
    ------
    TypeError
        If the embedding is sparse.
    ValueError
        If the embedding is broken (see :func:`refuse_broken`), types or batches are missing or not one for each cell,
        or there are no two batches.
    """
    if issparse(x):
        raise TypeError("An embedding must be a dense array. Got a sparse one. Pass x.toarray().")
    x = np.asarray(x)
    refuse_broken(x, method, len(labels))
    labels, batches = (_names(what, names, len(x)) for what, names in (("labels", labels), ("batches", batches)))
    if (n_batches := len(np.unique(batches))) < 2:
        raise ValueError(
            f"Integration is scored over two batches or more. Got {n_batches}. Pass the batch of each cell, as it is "
            "in the column that was integrated over."
        )
    x = np.ascontiguousarray(x, dtype=np.float32)
    by_scib = metrics(x, codes(labels), codes(batches)) if scib else {}
    return {**by_scib, **cross_batch(x, labels, batches)}


def _names(what: str, names: Any, n_cells: int) -> np.ndarray:
    """Turn types or batches into text; a missing one would be scored as a type of its own."""
    values = np.asarray(names, dtype=object)
    if values.shape != (n_cells,):
        raise ValueError(
            f"{what} must have one entry for each row of the embedding. Got the shape {values.shape} for {n_cells} "
            "rows. Pass the column of the same cells."
        )
    missing = pd.isna(values)
    if missing.any():
        raise ValueError(
            f"{what} must be known for all cells. {missing.sum()} of {n_cells} are missing. Pass the cells that have "
            "one, of the embedding too."
        )
    return np.array([as_text(name) for name in values])


def metrics(x: np.ndarray, labels: np.ndarray, batches: np.ndarray) -> dict[str, float]:
    """Compute the published means, and every part of them, with scib-metrics.

    Parameters
    ----------
    x
        Embedding, float32, shape ``(n_cells, width)``.
    labels, batches
        Codes of types and batches.
    """
    import scib_metrics
    from scib_metrics.nearest_neighbors import pynndescent

    wide = pynndescent(x, n_neighbors=min(WIDE_NEIGHBOURS, len(x) - 1), random_state=0)
    near = wide.subset_neighbors(NEIGHBOURS)
    clustered = [scib_metrics.nmi_ari_cluster_labels_leiden(near, labels, seed=seed) for seed in _LEIDEN_SEEDS]
    nmi, ari = (float(np.mean([found[name] for found in clustered])) for name in ("nmi", "ari"))
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
