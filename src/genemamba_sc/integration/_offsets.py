"""Move cells towards their partners in other batches: one offset per cluster and batch, and one scale."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Integer

from genemamba_sc.integration._clusters import find_centroids, memberships

# A cluster in which a batch has fewer cells than this counts for less than the cells say.
_PRIOR_CELLS = 1.0
_PRIOR_SPREAD = 10.0
# A new batch is stretched or shrunk by no more than this: beyond it scatters for other reasons than depth.
_MOST_STRETCH = 1.5


@dataclass(frozen=True, eq=False)
class Offsets:
    """Hold one round of moves.

    Parameters
    ----------
    centroids
        Of the clusters, shape (k, d).
    offsets
        What is added to a cell of a batch that belongs to a cluster, shape (b, k, d).
    width
        Softness of the clusters.
    """

    centroids: Float[np.ndarray, "k d"]
    offsets: Float[np.ndarray, "b k d"]
    width: float

    def __call__(self, cells: Float[np.ndarray, "n d"], batches: Integer[np.ndarray, "n"]) -> Float[np.ndarray, "n d"]:
        """Move cells.

        Parameters
        ----------
        cells
            Coordinates, shape (n, d).
        batches
            Batch of each cell, shape (n,); -1 leaves a cell where it is.
        """
        moved = cells.copy()
        belongs = memberships(cells, self.centroids, self.width)
        for batch in np.unique(batches[batches >= 0]):
            rows = batches == batch
            moved[rows] += belongs[rows] @ self.offsets[batch]
        return moved


def fit_offsets(
    cells: Float[np.ndarray, "n d"],
    batches: Integer[np.ndarray, "n"],
    targets: Float[np.ndarray, "n d"],
    has_target: Bool[np.ndarray, "n"],
    centroids: Float[np.ndarray, "k d"],
    width: float,
) -> Offsets:
    """Fit the offsets that bring the cells of each batch to their targets, cluster by cluster.

    Parameters
    ----------
    cells, batches
        Coordinates, shape (n, d), and batches, shape (n,).
    targets
        Where cells should be, shape (n, d).
    has_target
        Whether a cell has a partner, shape (n,). The others ask to stay: a cluster without partners does not move.
    centroids, width
        The clusters.
    """
    belongs = memberships(cells, centroids, width)
    offsets = np.zeros((int(batches.max()) + 1, *centroids.shape))
    for batch in np.unique(batches):
        rows = batches == batch
        asked = belongs[rows & has_target].T @ (targets - cells)[rows & has_target]
        offsets[batch] = asked / (belongs[rows].sum(axis=0) + _PRIOR_CELLS)[:, None]
    return Offsets(centroids, offsets, width)


def cluster_targets(targets: Float[np.ndarray, "n d"], n_clusters: int) -> Float[np.ndarray, "k d"]:
    """Find clusters of targets, where batches lie closer together than they do themselves; parameters as above."""
    return find_centroids(targets, max(2, min(n_clusters, len(targets) // 10)))


@dataclass(frozen=True, eq=False)
class Spreads:
    """Hold how much wider the cells of a batch scatter about a cluster than those of other batches.

    Parameters
    ----------
    centroids
        Directions of the clusters, shape (k, d).
    means
        Their means, shape (k, d).
    overall
        Mean square of these distances over all cells, shape (k,).
    aim
        Logarithm of what every batch is brought to, relative to ``overall``, shape (k,).
    factors
        What the distance from the mean is multiplied by, shape (b, k).
    width
        Softness of the clusters.
    """

    centroids: Float[np.ndarray, "k d"]
    means: Float[np.ndarray, "k d"]
    overall: Float[np.ndarray, "k"]
    aim: Float[np.ndarray, "k"]
    factors: Float[np.ndarray, "b k"]
    width: float

    def __call__(self, cells: Float[np.ndarray, "n d"], batches: Integer[np.ndarray, "n"]) -> Float[np.ndarray, "n d"]:
        """Scale the distance of cells from the means of their clusters; parameters as in :class:`Offsets`."""
        belongs = memberships(cells, self.centroids, self.width)
        means = belongs @ self.means
        factor = np.ones(len(cells))
        known = batches >= 0
        factor[known] = (belongs[known] * self.factors[batches[known]]).sum(axis=1)
        return means + (cells - means) * factor[:, None]

    def of_batch(self, cells: Float[np.ndarray, "n d"]) -> "Spreads":
        """Fit the factors of one further batch, whose cells are given; its code is then 0."""
        belongs = memberships(cells, self.centroids, self.width)
        squares = ((cells - belongs @ self.means) ** 2).sum(axis=1)
        logs = _log_ratios(belongs.sum(axis=0), belongs.T @ squares, self.overall)
        factors = np.exp(0.5 * (self.aim - logs)).clip(1 / _MOST_STRETCH, _MOST_STRETCH)
        return replace(self, factors=factors[None])


def fit_spreads(
    cells: Float[np.ndarray, "n d"], batches: Integer[np.ndarray, "n"], n_clusters: int, width: float
) -> Spreads:
    """Fit the factors by which every batch scatters as widely as the geometric mean of the batches does.

    Shallow batches are noisier: their cells lie farther from the centre of their own type.

    Parameters
    ----------
    cells, batches
        Coordinates, shape (n, d), and batches, shape (n,).
    n_clusters, width
        The clusters.
    """
    centroids = find_centroids(cells, max(2, min(n_clusters, len(cells) // 10)))
    belongs = memberships(cells, centroids, width)
    means = belongs.T @ cells / np.maximum(belongs.sum(axis=0), 1e-12)[:, None]
    squares = ((cells - belongs @ means) ** 2).sum(axis=1)
    one_hot = np.eye(int(batches.max()) + 1)[batches]
    counts, sums = one_hot.T @ belongs, one_hot.T @ (belongs * squares[:, None])
    overall = np.maximum(sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1e-12), 1e-12)
    logs, present = _log_ratios(counts, sums, overall), counts > 1
    aim = (logs * present).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    return Spreads(centroids, means, overall, aim, np.exp(0.5 * (aim - logs)), width)


def _log_ratios(counts: np.ndarray, sums: np.ndarray, overall: np.ndarray) -> np.ndarray:
    """Compare the mean square of a batch with that of all cells; few cells are taken for average ones."""
    return np.log((sums / overall + _PRIOR_SPREAD) / (counts + _PRIOR_SPREAD))
