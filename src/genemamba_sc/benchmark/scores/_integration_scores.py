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
    ValueError
        If the embedding is broken; see :func:`refuse_broken`.
    """
    refuse_broken(x, method, len(labels))
    x = np.ascontiguousarray(x, dtype=np.float32)
    labels, batches = (np.asarray(names).astype(str) for names in (labels, batches))
    by_scib = metrics(x, codes(labels), codes(batches)) if scib else {}
    return {**by_scib, **cross_batch(x, labels, batches)}


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
