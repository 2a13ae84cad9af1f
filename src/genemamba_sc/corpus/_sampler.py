"""Decide which cells share a batch, and which process gets which batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Integer

# Number of batches whose cells are sorted by length together: enough that few tokens are padded, few enough that the
# order of cells stays random.
_WINDOW_BATCHES = 256


@dataclass(frozen=True)
class Place:
    """Mark a place in the stream of batches.

    Parameters
    ----------
    epoch
        Number of the pass over the cells, from 0.
    batch
        Number of the batch in the pass, from 0.
    """

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """Plan one endless stream of batches, the same for everyone: a function of the lengths, the budget and the seed.

    Each pass takes every cell once, in a new order. Cells of similar length share a batch, which holds as many cells as
    the budget allows. The batches of a pass come in random order. Processes take turns in the stream (process ``r`` of
    ``w`` takes batches r, r + w, r + 2w, ...), so their parts are disjoint, they run for equally many batches, and
    ``w`` processes learn what one process learns that accumulates ``w`` batches.

    Parameters
    ----------
    lengths
        Number of tokens of every cell, shape ``(n,)``.
    cells
        The cells to draw from.
    token_budget
        Largest number of padded tokens (cells × longest cell) of a batch; a batch has at least one cell.
    seed
        Seed of the order.
    """

    lengths: Int32[np.ndarray, "n"]
    cells: Integer[np.ndarray, "m"]
    token_budget: int
    seed: int

    def __post_init__(self) -> None:
        if not len(self.cells):
            raise ValueError("Batches need cells to draw from; got none. Hold out fewer cells for validation.")

    def epoch(self, epoch: int) -> list[Integer[np.ndarray, "b"]]:
        """Return the batches of one pass, as arrays of cell numbers.

        Parameters
        ----------
        epoch
            Number of the pass.
        """
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.cells)
        mean = max(1.0, float(self.lengths[self.cells].mean()))
        window = max(1, int(_WINDOW_BATCHES * self.token_budget / mean))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), window):
            batches += self._cut(order[start : start + window])
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, cells: np.ndarray) -> Iterator[np.ndarray]:
        """Cut a window into batches, with the longest cells first."""
        cells = cells[np.argsort(-self.lengths[cells], kind="stable")]
        lengths = self.lengths[cells].tolist()
        start = 0
        while start < len(cells):
            stop = start + max(1, self.token_budget // max(1, lengths[start]))
            yield cells[start:stop]
            start = stop

    def stream(self, place: Place) -> Iterator[tuple[Integer[np.ndarray, "b"], Place]]:
        """Yield batches from a place on, without end, each with the place that follows it."""
        epoch, batch = place.epoch, place.batch
        while True:
            batches = self.epoch(epoch)
            while batch < len(batches):
                batch += 1
                yield batches[batch - 1], Place(epoch, batch)
            epoch, batch = epoch + 1, batch - len(batches)

    def shared(self, place: Place, rank: int, world_size: int) -> Iterator[tuple[Integer[np.ndarray, "b"], Place]]:
        """Yield the batches of one process, each with the place where *all* processes continue after their turn.

        Parameters
        ----------
        place
            The place where all processes start.
        rank, world_size
            Number of the process, and of all processes.
        """
        stream = self.stream(place)
        while True:
            turn = [next(stream) for _ in range(world_size)]
            yield turn[rank][0], turn[-1][1]


def fixed_batches(
    lengths: Int32[np.ndarray, "n"], cells: Integer[np.ndarray, "m"], token_budget: int, rank: int, world_size: int
) -> list[Integer[np.ndarray, "b"]]:
    """Return batches of validation cells in a fixed order, equally many for each process.

    Parameters
    ----------
    lengths, cells, token_budget
        As in :class:`BatchPlan`.
    rank, world_size
        Number of the process, and of all processes. Up to ``world_size - 1`` batches at the end are left out.
    """
    batches = list(BatchPlan(lengths, cells, token_budget, 0)._cut(np.sort(cells)))
    return batches[: len(batches) // world_size * world_size][rank::world_size]
