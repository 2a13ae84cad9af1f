"""Average what the steps of an epoch say, so that the logger is called once an epoch and not four times a step."""

from collections.abc import Mapping

from torch import Tensor


class EpochMeans:
    """Means over the cells of an epoch, by name; Lightning's own cost a fifth of a step of a small model."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._cells: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor], n_cells: int) -> None:
        """Count the values of a minibatch, each a mean over its cells.

        Parameters
        ----------
        values
            Numbers by name; a name may be missing in some minibatches, which then do not count for it.
        n_cells
            Number of cells of the minibatch.
        """
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach() * n_cells
            self._cells[name] = self._cells.get(name, 0) + n_cells

    def take(self) -> dict[str, tuple[Tensor, int]]:
        """Return each mean with its number of cells, and begin again."""
        means = {name: (total / self._cells[name], self._cells[name]) for name, total in self._sums.items()}
        self._sums, self._cells = {}, {}
        return means
