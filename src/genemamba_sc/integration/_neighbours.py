"""Find cells of different batches that are each other's nearest neighbours."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

# A link is a pair of cells; this many per cell and other batch are looked at, at most, however many batches there are.
_MOST_ENTRIES = 8_000_000
# Neighbours are at most this share of a batch: beyond, cells of a small batch would be partners of every type.
MOST_OF_BATCH = 0.1
# Number of the neighbour in the own batch that tells how close cells lie there.
_TENTH = 10
# A batch that keeps less than this share of its links lies far from all others.
_FEW = 0.5
# Added to distances, for a sparse matrix does not hold zeros.
_APART = 1e-6


@dataclass(frozen=True)
class Closeness:
    """Choose how close partners must lie, as multiples of other distances.

    Partners lie close by ``to_own``, and either by ``to_usual`` or by ``to_nearest``.

    Parameters
    ----------
    to_own
        Of the distance to the farthest of the neighbours that one of the two has in its own batch. A type that a batch
        lacks then has no partner there.
    to_usual
        Of what is usual between partners, as a multiple of the distance to the tenth neighbour in the own batch, for
        both of the two. A cell that lies by itself is then no partner of a rare type that its batch lacks. What is
        usual is the median over all links, but for a batch that would lose most of its links, which lies far off,
        over its own. 0 lets only ``to_nearest`` decide.
    to_nearest
        Of the distance to the nearest cell in the batch of the other, for both of the two. Batches that lie far apart
        keep their shortest links by it. A rare cell has few of its own kind there, and the next ones, which are of
        other kinds, are much farther.

    Raises
    ------
    ValueError
        If no link can be close.
    """

    to_own: float = 2.0
    to_usual: float = np.inf
    to_nearest: float = 0.0

    def __post_init__(self) -> None:
        if self.to_usual == 0 and self.to_nearest < 1:
            raise ValueError(f"Where to_usual is 0, to_nearest must be at least 1. Got {self.to_nearest!r}.")

    @property
    def asks_own(self) -> bool:
        """Whether distances in the own batch matter."""
        return self.to_own < np.inf or 0 < self.to_usual < np.inf

    @property
    def asks_nearest(self) -> bool:
        """Whether the distance to the nearest cell matters."""
        return self.to_usual < np.inf and self.to_nearest > 0


ANY_DISTANCE = Closeness(to_own=np.inf)


def mutual_neighbours(
    cells: Float[np.ndarray, "n d"],
    batches: Integer[np.ndarray, "n"],
    n_neighbours: int,
    labels: Integer[np.ndarray, "n"] | None = None,
    most_of_batch: float = MOST_OF_BATCH,
    *,
    closeness: Closeness = Closeness(),
) -> sparse.csr_array:
    """Link cells of different batches that are among each other's nearest neighbours.

    Parameters
    ----------
    cells
        Embedding, shape (n, d). Neighbours are those of the largest cosine.
    batches
        Batch of each cell, shape (n,), codes from 0.
    n_neighbours
        How many neighbours a cell has in each other batch. With many batches fewer are taken, at least 1.
    labels
        Codes of the cell types, shape (n,), -1 where unknown. A cell with a label then looks among the cells of its
        label and among those without; no link joins two labels.
    most_of_batch
        Share of a batch that may be neighbours, but at least one cell; cells of one label are not limited by it.
    closeness
        How close partners must lie; those of one label may lie anywhere.

    Returns
    -------
    Symmetric matrix of shape (n, n) with a 1 for each link.

    Notes
    -----
    Mutual neighbours are matched as by Haghverdi et al. (2018), doi 10.1038/nbt.4091.
    """
    # Single precision takes half the time; a link that hangs on the eighth digit says nothing.
    directions = unit_rows(cells).astype(np.float32)
    n_batches = int(batches.max()) + 1
    n_neighbours = max(1, min(n_neighbours, _MOST_ENTRIES // max(1, len(cells) * n_batches)))
    links = _linked(directions, batches, n_neighbours, most_of_batch, closeness)
    if labels is None or (labels < 0).all():
        return links
    links = _without_conflicts(links, labels)
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        found = _linked(directions[rows], batches[rows], n_neighbours, 1.0, ANY_DISTANCE)
        links = links + _placed(found, rows, len(cells))
    return links.astype(bool).astype(np.float64)


def unit_rows(cells: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Scale each row to length 1; rows of zeros stay."""
    return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-12)


def partner_means(
    cells: Float[np.ndarray, "n d"], batches: Integer[np.ndarray, "n"], links: sparse.csr_array
) -> tuple[Float[np.ndarray, "n d"], Bool[np.ndarray, "n"]]:
    """Average each cell with the mean of its partners in every batch where it has any.

    Parameters
    ----------
    cells, batches
        As in :func:`mutual_neighbours`.
    links
        The links.

    Returns
    -------
    The averages, shape (n, d), in which every batch weighs alike, and whether a cell has a partner, shape (n,).
    """
    total, n_terms = cells.copy(), np.ones(len(cells))
    for batch in np.unique(batches):
        members = np.flatnonzero(batches == batch)
        to_batch = links[:, members]
        n_partners = np.asarray(to_batch.sum(axis=1)).ravel()
        has = n_partners > 0
        total[has] += (to_batch @ cells[members])[has] / n_partners[has, None]
        n_terms += has
    return total / n_terms[:, None], n_terms > 1


def _linked(
    directions: np.ndarray, batches: np.ndarray, n_neighbours: int, most: float, closeness: Closeness
) -> sparse.csr_array:
    n = len(directions)
    # Of the neighbours that a cell has in each batch, and of those that are hardly farther than the nearest.
    lengths, shortest = (sparse.csr_array((n, n), dtype=directions.dtype) for _ in range(2))
    # How far a cell has the tenth, and the farthest, of its neighbours in its own batch.
    tenth, farthest = np.zeros((2, n), dtype=directions.dtype)
    present, sizes = np.unique(batches, return_counts=True)
    waiting = np.ones(n, dtype=bool)
    # A link needs both directions, so who was found by none need not ask. Small batches ask large ones first, for then
    # few cells are found.
    for batch in present[np.argsort(-sizes, kind="stable")]:
        members = np.flatnonzero(batches == batch)
        waiting[members] = False
        k = min(n_neighbours, math.ceil(most * len(members)))
        found = NearestNeighbors(n_neighbors=k).fit(directions[members])
        asking = waiting.copy()
        asking[(lengths if closeness.to_usual > 0 else shortest)[members].indices] = True
        if asking.any():
            rows = np.flatnonzero(asking)
            apart, nearest = found.kneighbors(directions[rows])
            if closeness.to_usual > 0:
                lengths = lengths + _one_way(apart, members[nearest], rows, n)
            if closeness.asks_nearest:
                kept = apart <= closeness.to_nearest * apart[:, :1]
                shortest = shortest + _one_way(apart, members[nearest], rows, n, kept)
        if closeness.asks_own and len(members) > 1:
            # Of its own batch a cell has neighbours beside itself.
            own = found.kneighbors(n_neighbors=min(k, len(members) - 1))[0]
            tenth[members], farthest[members] = own[:, :_TENTH][:, -1], own[:, -1]
    links = _not_far(_mutual(lengths), farthest, closeness.to_own)
    if closeness.to_usual < np.inf:
        links = _usual(links, tenth, batches, closeness.to_usual)
    if closeness.asks_nearest:
        links = links + _not_far(_mutual(shortest), farthest, closeness.to_own)
    return links.astype(bool).astype(np.float64).tocsr()


def _one_way(
    lengths: np.ndarray, neighbours: np.ndarray, cells: np.ndarray, n: int, kept: np.ndarray | None = None
) -> sparse.csr_array:
    """Give the distances from some of n cells to their neighbours, each a little more than 0."""
    kept = np.ones(lengths.shape, dtype=bool) if kept is None else kept
    rows = np.broadcast_to(cells[:, None], lengths.shape)
    return sparse.csr_array((lengths[kept] + _APART, (rows[kept], neighbours[kept])), shape=(n, n))


def _mutual(lengths: sparse.csr_array) -> sparse.coo_array:
    """Keep the distances of cells that have found each other."""
    return lengths.astype(bool).multiply(lengths.T).tocoo()


def _kept(links: sparse.coo_array, is_kept: Bool[np.ndarray, "m"]) -> sparse.coo_array:
    return sparse.coo_array((links.data[is_kept], tuple(axis[is_kept] for axis in links.coords)), shape=links.shape)


def _not_far(links: sparse.coo_array, farthest: np.ndarray, to_own: float) -> sparse.coo_array:
    """Keep links that are short beside the distance to the farthest neighbour in the own batch of one of the two."""
    first, second = links.coords
    if to_own == np.inf:
        return _kept(links, links.data > 0)
    reach = to_own * np.maximum(farthest[first], farthest[second])
    return _kept(links, (links.data > 0) & (links.data - _APART <= reach))


def _usual(links: sparse.coo_array, tenth: np.ndarray, batches: np.ndarray, to_usual: float) -> sparse.coo_array:
    """Keep links that are short beside the others, each divided by how close cells lie in the own batch."""
    if not links.nnz:
        return links
    first, second = links.coords
    # The same cells in both batches have no distance at all.
    relative = (links.data - _APART) / np.maximum(np.minimum(tenth[first], tenth[second]), _APART)
    is_usual = relative <= to_usual * np.median(relative) + _APART
    n_links, n_usual = np.bincount(batches[first]), np.bincount(batches[first], is_usual)
    for batch in np.flatnonzero((n_links > 0) & (n_usual < _FEW * n_links)):
        own = (batches[first] == batch) | (batches[second] == batch)
        is_usual |= own & (relative <= to_usual * np.median(relative[own]) + _APART)
    return _kept(links, is_usual)


def _without_conflicts(links: sparse.csr_array, labels: np.ndarray) -> sparse.csr_array:
    """Leave out the links between two labelled cells: those of one label are found among themselves."""
    pairs = links.tocoo()
    kept = (labels[pairs.coords[0]] < 0) | (labels[pairs.coords[1]] < 0)
    entries = tuple(axis[kept] for axis in pairs.coords)
    return sparse.csr_array((pairs.data[kept], entries), shape=links.shape)


def _placed(links: sparse.csr_array, rows: np.ndarray, n: int) -> sparse.csr_array:
    """Give links among some cells the numbers of these cells among all."""
    pairs = links.tocoo()
    return sparse.csr_array((pairs.data, (rows[pairs.coords[0]], rows[pairs.coords[1]])), shape=(n, n))
