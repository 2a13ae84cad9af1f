"""What results with effects beside simple predictions have in common."""

from typing import Any

from genemamba_sc._described import Described


class Drawn(Described):
    """Draw what ``compared()`` of a result gives; a subclass has that method."""

    def plot(self, **arguments: Any) -> Any:
        """Draw the largest effects beside what :meth:`compared` sets beside them.

        Parameters
        ----------
        **arguments
            As in :func:`genemamba_sc.pl.perturbation`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from genemamba_sc.pl import perturbation

        result: Any = self
        return perturbation(result, **arguments)
