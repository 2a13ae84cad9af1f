"""Keep the strongest pairs of each column while the rows of a table come block by block."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64


@dataclass(frozen=True, eq=False)
class StrongestRows:
    """Hold up to ``k`` rows of each of ``c`` columns, in no order.

    Parameters
    ----------
    rows
        Numbers of the genes of the rows, shape (k, c).
    scores, above
        The score of each pair, and how far it lies above matched ones, shape (k, c).
    """

    rows: Int64[np.ndarray, "k c"]
    scores: Float32[np.ndarray, "k c"]
    above: Float32[np.ndarray, "k c"]

    @classmethod
    def empty(cls, n_columns: int) -> "StrongestRows":
        """Start with no row."""
        shape = (0, n_columns)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def with_rows(
        self,
        rows: Int64[np.ndarray, "b"],
        scores: Float32[np.ndarray, "b c"],
        above: Float32[np.ndarray, "b c"],
        n: int,
    ) -> "StrongestRows":
        """Return the ``n`` strongest rows of each column among those held and those of another block.

        Parameters
        ----------
        rows
            Numbers of the genes of the block, shape (b,).
        scores, above
            Their scores, and how far these lie above matched ones, shape (b, c).
        n
            Number of rows to keep of each column.
        """
        named = np.broadcast_to(rows[:, None], scores.shape)
        held = ((self.rows, named), (self.scores, scores), (self.above, above))
        parts = [np.concatenate(pair) for pair in held]
        if len(parts[0]) > n:
            best = np.argpartition(-parts[2], n - 1, axis=0)[:n]
            parts = [np.take_along_axis(part, best, axis=0) for part in parts]
        return StrongestRows(*parts)

    def pairs(self, columns: Int64[np.ndarray, "c"], least: float) -> Float64[np.ndarray, "m 4"]:
        """Return row, column, score and height of each pair that is held and high enough, shape (m, 4).

        Parameters
        ----------
        columns
            Numbers of the genes of the columns.
        least
            The smallest height.
        """
        at, place = np.nonzero(self.above >= least)
        return np.stack([self.rows[at, place], columns[place], self.scores[at, place], self.above[at, place]], axis=1)
