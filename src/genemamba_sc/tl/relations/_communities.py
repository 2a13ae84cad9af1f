"""Cluster the genes of a network; only this file of the room needs igraph."""

import numbers
import random

import numpy as np
from jaxtyping import Int64

from genemamba_sc.tl.relations._gene_network import GeneNetwork

# Leiden's algorithm is repeated until nothing changes.
_UNTIL_STABLE = -1


def communities(network: GeneNetwork, resolution: float, min_genes: int, seed: int) -> list[Int64[np.ndarray, "_"]]:
    """Cluster the genes that have edges by modularity with Leiden's algorithm (Traag et al., Sci Rep 9, 2019).

    Parameters
    ----------
    network
        The network; its edges count alike, whatever their direction, and two genes have one at most.
    resolution
        A larger one makes more and smaller clusters.
    min_genes
        Clusters of fewer genes are left out.
    seed
        Seed of the algorithm.

    Returns
    -------
    Numbers of the genes of each cluster, the largest cluster first, and in it the genes with most edges inside it.

    Raises
    ------
    ImportError
        If igraph is not installed.
    ValueError
        If there is no edge, or the resolution is not positive.
    """
    if isinstance(resolution, bool) or not isinstance(resolution, numbers.Real) or not 0 < resolution < np.inf:
        raise ValueError(f"resolution must be a positive number. Got {resolution!r}. Pass a number such as 1.0.")
    if len(network.source) == 0:
        raise ValueError(
            "Programs are clusters of a network with edges. Got one without. Make it with a larger max_fdr, or from "
            "more cells."
        )
    try:
        import igraph
    except ModuleNotFoundError as error:
        raise ImportError(
            "Gene programs are found by Leiden's algorithm, which needs igraph. Got no igraph here. "
            "Install it with: pip install 'genemamba-sc[graphs]'"
        ) from error
    genes, ends = np.unique(np.stack([network.source, network.target], axis=1), return_inverse=True)
    ends = ends.reshape(-1, 2)
    # Edges with directions may go both ways; such a pair is one pair here, and counts once.
    ends = ends[np.sort(np.unique(np.sort(ends, axis=1), axis=0, return_index=True)[1])]
    graph = igraph.Graph(len(genes), ends.tolist())
    # igraph draws from Python's own generator, which is not ours to seed.
    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = graph.community_leiden("modularity", resolution=float(resolution), n_iterations=_UNTIL_STABLE)
    finally:
        igraph.set_random_number_generator(random)
    cluster = np.array(found.membership)
    inside = cluster[ends[:, 0]] == cluster[ends[:, 1]]
    degree = np.bincount(ends[inside].ravel(), minlength=len(genes))
    parts = [np.flatnonzero(cluster == number) for number in range(cluster.max() + 1)]
    parts = sorted((part for part in parts if len(part) >= min_genes), key=lambda part: (-len(part), part[0]))
    return [genes[part[np.argsort(-degree[part], kind="stable")]] for part in parts]
