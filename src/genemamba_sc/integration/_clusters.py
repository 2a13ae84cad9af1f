"""Divide cells into clusters that do not depend on the order of the cells, and tell how far each cell belongs."""

import numpy as np
from jaxtyping import Float

from genemamba_sc.integration._neighbours import unit_rows

_LLOYD_ROUNDS = 5


def find_centroids(cells: Float[np.ndarray, "n d"], n_clusters: int) -> Float[np.ndarray, "k d"]:
    """Find centroids of clusters of directions, without a random number.

    The cluster with the largest sum of squares is cut in two at its mean, across the direction in which it is
    longest, until there are enough; rounds of k-means follow.

    Parameters
    ----------
    cells
        Embedding, shape (n, d).
    n_clusters
        How many; fewer where the cells cannot be cut any further.

    Returns
    -------
    Centroids of the directions of the cells, shape (k, d).
    """
    directions = unit_rows(cells)
    of_cell = _bisected(directions, n_clusters)
    centroids = _means(directions, of_cell, int(of_cell.max()) + 1)
    for _ in range(_LLOYD_ROUNDS):
        of_cell = _nearest(directions, centroids)
        found = _means(directions, of_cell, len(centroids))
        is_empty = np.bincount(of_cell, minlength=len(centroids)) == 0
        centroids = np.where(is_empty[:, None], centroids, found)
    return centroids


def cluster_sizes(cells: Float[np.ndarray, "n d"], n_clusters: int) -> Float[np.ndarray, "n"]:
    """Count the cells of the cluster of each cell, shape (n,); parameters as in :func:`find_centroids`."""
    directions = unit_rows(cells)
    of_cell = _nearest(directions, find_centroids(cells, max(2, min(n_clusters, len(cells) // 10))))
    return np.bincount(of_cell)[of_cell].astype(np.float64)


def memberships(
    cells: Float[np.ndarray, "n d"], centroids: Float[np.ndarray, "k d"], width: float
) -> Float[np.ndarray, "n k"]:
    """Tell how far each cell belongs to each cluster: a softmax of the cosines; rows sum to one.

    Parameters
    ----------
    cells
        Embedding, shape (n, d).
    centroids
        Of the clusters, shape (k, d).
    width
        Softness: the squared distance of unit vectors is divided by it.
    """
    scores = (2.0 / width) * (unit_rows(cells) @ unit_rows(centroids).T)
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def _bisected(directions: np.ndarray, n_clusters: int) -> np.ndarray:
    of_cell = np.zeros(len(directions), dtype=np.int64)
    spread = [_spread(directions)]
    while len(spread) < n_clusters:
        largest = int(np.argmax(spread))
        if spread[largest] <= 0:
            break
        members = np.flatnonzero(of_cell == largest)
        part = directions[members] - directions[members].mean(axis=0)
        _, axes = np.linalg.eigh(part.T @ part)
        side = part @ axes[:, -1] > 0
        # A direction has two signs: the larger part stays, so that the result does not depend on which one is found.
        side = side if side.sum() * 2 <= len(side) else ~side
        if not side.any():
            spread[largest] = 0.0
            continue
        of_cell[members[side]] = len(spread)
        spread[largest] = _spread(directions[members[~side]])
        spread.append(_spread(directions[members[side]]))
    return of_cell


def _spread(part: np.ndarray) -> float:
    return float(((part - part.mean(axis=0)) ** 2).sum()) if len(part) > 1 else 0.0


def _nearest(directions: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.argmin((centroids**2).sum(axis=1) - 2 * directions @ centroids.T, axis=1)


def _means(directions: np.ndarray, of_cell: np.ndarray, n_clusters: int) -> np.ndarray:
    counts = np.bincount(of_cell, minlength=n_clusters)
    sums = np.stack([np.bincount(of_cell, column, n_clusters) for column in directions.T], axis=1)
    return sums / np.maximum(counts, 1)[:, None]
