"""Bring batches roughly together, so that cells of one type find each other."""

import numpy as np
from jaxtyping import Float, Integer

from genemamba_sc.integration._clusters import find_centroids, memberships
from genemamba_sc.integration._neighbours import unit_rows

_ROUNDS = 5
_INNER_ROUNDS = 10
_BALANCING_ROUNDS = 3
_MOST_CLUSTERS = 30
_CELLS_PER_CLUSTER = 30
_WIDTH = 0.1
# Harmony's theta (how strongly clusters are asked to hold every batch) and its lambda as a share of the expected cells.
_DIVERSITY = 1.0
_SHRINKAGE = 0.2


def mixed(cells: Float[np.ndarray, "n d"], batches: Integer[np.ndarray, "n"]) -> Float[np.ndarray, "n d"]:
    """Subtract from each cell the offset of its batch within its clusters.

    This is the algorithm of Harmony (Korsunsky et al. 2019, doi 10.1038/s41592-019-0619-0): soft clusters that are
    asked to hold every batch in its overall share, and ridge regression on the batch within each cluster. All cells
    are updated at once and nothing is drawn, so that the result does not depend on the order of the cells. It serves
    to find partners only: with a mild demand on the clusters, types that few batches have stay apart.

    Parameters
    ----------
    cells
        Embedding, shape (n, d).
    batches
        Batch of each cell, shape (n,), codes from 0.
    """
    one_hot = np.eye(int(batches.max()) + 1)[batches]
    centroids = unit_rows(find_centroids(cells, max(2, min(_MOST_CLUSTERS, len(cells) // _CELLS_PER_CLUSTER))))
    result = cells
    for _ in range(_ROUNDS):
        directions = unit_rows(result)
        for _ in range(_INNER_ROUNDS):
            belongs = _balanced(memberships(result, centroids, _WIDTH), one_hot)
            centroids = unit_rows(belongs.T @ directions)
        result = _without_offsets(cells, belongs, one_hot)
    return result


def _balanced(belongs: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Weigh down clusters in which the batch of a cell is too frequent."""
    share, members = one_hot.mean(axis=0), [np.flatnonzero(column) for column in one_hot.T]
    parts = [belongs[rows] for rows in members]
    # What each batch has in each cluster: now, and as an average over the rounds.
    held = np.stack([part.sum(axis=0) for part in parts], axis=1)
    found, scales, penalty = held, list[np.ndarray](), np.ones_like(held)
    for _ in range(_BALANCING_ROUNDS):
        expected = held.sum(axis=1)[:, None] * share
        penalty = ((expected + 1) / (found + 1)) ** _DIVERSITY
        scales = [1 / (part @ weights) for part, weights in zip(parts, penalty.T)]
        held = penalty * np.stack([scale @ part for part, scale in zip(parts, scales)], axis=1)
        # Half a step: full ones would throw a batch from one cluster into the next and back.
        found = 0.5 * (found + held)
    result = np.empty_like(belongs)
    for rows, part, scale, weights in zip(members, parts, scales, penalty.T):
        result[rows] = part * weights * scale[:, None]
    return result


def _without_offsets(cells: np.ndarray, belongs: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Subtract what the batch adds within each cluster, by ridge regression with a free intercept."""
    n_batches, n_clusters = one_hot.shape[1], belongs.shape[1]
    members = [np.flatnonzero(column) for column in one_hot.T]
    counts = belongs.T @ one_hot
    sums = np.stack([belongs[rows].T @ cells[rows] for rows in members], axis=1)
    totals = counts.sum(axis=1)
    normal = np.zeros((n_clusters, n_batches + 1, n_batches + 1))
    normal[:, 0, 0] = totals
    normal[:, 0, 1:] = normal[:, 1:, 0] = counts
    diagonal = np.arange(1, n_batches + 1)
    normal[:, diagonal, diagonal] = counts + _SHRINKAGE * totals[:, None] * one_hot.mean(axis=0) + 1e-9
    right = np.concatenate([sums.sum(axis=1, keepdims=True), sums], axis=1)
    offsets = np.linalg.solve(normal, right)[:, 1:]
    result = cells.copy()
    for batch, rows in enumerate(members):
        result[rows] -= belongs[rows] @ offsets[:, batch]
    return result
