"""Map a batch that the reference does not know onto it, without moving the reference."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from genemamba_sc._blas_threads import one_blas_thread
from genemamba_sc.integration._neighbours import ANY_DISTANCE, MOST_OF_BATCH, Closeness, mutual_neighbours
from genemamba_sc.integration._offsets import Offsets, Spreads, fit_offsets

# Cells of the reference that are kept to look for partners among, and cells of a new batch that look.
MOST_CELLS = 10_000
_MOST_QUERY_CELLS = 3_000
# Fewer cells than this do not tell what is common to their batch.
FEWEST_CELLS = 30
_ROUNDS = 3
# What the own cells of a batch and of the reference tell about distances is in the reach of the reference.
_CLOSE = Closeness(to_own=np.inf, to_usual=0.0, to_nearest=1.2)
# Partners may lie this many times as far apart as those of the reference do.
_TOLERANCE = 1.5


@dataclass(frozen=True, eq=False)
class Reference:
    """Hold what a new batch is compared with.

    Parameters
    ----------
    cells
        Integrated coordinates of cells of all batches, shape (m, k).
    reach
        How far partners of different batches lie apart in the reference: 99 % of them lie closer.
    """

    cells: Float[np.ndarray, "m k"]
    reach: float

    @one_blas_thread()
    def moves(
        self, cells: Float[np.ndarray, "n k"], spreads: Spreads, n_neighbours: int
    ) -> tuple[Offsets | Spreads, ...]:
        """Fit the moves of one new batch.

        The whole batch is first moved by the median difference to its partners, then cluster by cluster, by partners
        that are hardly farther than the nearest. Links that are more than half as long again as those of the reference
        do not count: cells of a type that the reference lacks have no say, neither on offsets nor on scales, and follow
        the clusters that are nearest to them. A batch without any such partner is not moved.

        Parameters
        ----------
        cells
            Coordinates along the axes, shape (n, k); of more than 3,000 evenly spaced ones are read.
        spreads
            Clusters and spreads of the reference.
        n_neighbours
            As in :class:`IntegrationConfig`.

        Returns
        -------
        The moves, for which these cells are batch 0.
        """
        if len(cells) > _MOST_QUERY_CELLS:
            cells = cells[np.linspace(0, len(cells) - 1, _MOST_QUERY_CELLS).round().astype(int)]
        batches = np.zeros(len(cells), dtype=np.int64)
        shift, has = self._shifts(cells, n_neighbours, ANY_DISTANCE)
        if not has.any():
            return ()
        whole = np.median(shift[has], axis=0)
        moves: list[Offsets | Spreads] = [Offsets(np.ones((1, cells.shape[1])), whole[None, None], spreads.width)]
        cells = cells + whole
        for _ in range(_ROUNDS):
            shift, has = self._shifts(cells, n_neighbours, _CLOSE)
            moves.append(fit_offsets(cells, batches, cells + shift, has, spreads.centroids, spreads.width))
            cells = moves[-1](cells, batches)
        return (*moves, spreads.of_batch(cells[has]))

    def _shifts(
        self, cells: np.ndarray, n_neighbours: int, closeness: Closeness
    ) -> tuple[Float[np.ndarray, "n k"], Bool[np.ndarray, "n"]]:
        """Tell how far each cell is from the mean of its partners in the reference, and whether it has any in reach."""
        both = np.vstack([cells, self.cells])
        batches = np.repeat([0, 1], [len(cells), len(self.cells)])
        # A tenth of the reference at most; of a small batch more cells may look for the same one.
        k = min(n_neighbours, math.ceil(MOST_OF_BATCH * len(self.cells)))
        links = mutual_neighbours(both, batches, k, most_of_batch=1.0, closeness=closeness)[: len(cells), len(cells) :]
        n_partners = np.asarray(links.sum(axis=1)).ravel()
        means = (links @ self.cells) / np.maximum(n_partners, 1)[:, None]
        shift = np.where(n_partners[:, None] > 0, means - cells, 0.0)
        return shift, (n_partners > 0) & (np.linalg.norm(shift, axis=1) <= _TOLERANCE * self.reach)
