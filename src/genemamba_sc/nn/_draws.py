"""Draw random numbers, from a generator or from the global stream."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Draws:
    """Draw random numbers for tensors on a device.

    Parameters
    ----------
    device
        Device that needs the numbers.
    generator
        Source of the numbers; ``None`` takes the global stream of the device. A generator of another device works too:
        the numbers are then moved.
    """

    def __init__(self, device: torch.device, generator: torch.Generator | None = None) -> None:
        self.device = device
        self.generator = generator
        self._source = device if generator is None else generator.device

    def uniform(self, shape: Sequence[int]) -> Float[Tensor, "..."]:
        """Draw uniform numbers in [0, 1).

        Parameters
        ----------
        shape
            Shape of the result.
        """
        return torch.rand(tuple(shape), generator=self.generator, device=self._source).to(self.device)

    def integers(self, low: int, high: int, shape: Sequence[int]) -> Int[Tensor, "..."]:
        """Draw whole numbers in [low, high).

        Parameters
        ----------
        low, high
            The smallest number, and the one after the largest.
        shape
            Shape of the result.
        """
        return torch.randint(low, high, tuple(shape), generator=self.generator, device=self._source).to(self.device)

    def subset(self, n: int, limit: int) -> Int[Tensor, "k"] | slice:
        """Draw the indices of ``limit`` different ones of ``n``, each equally likely; return all where n is no more.

        Parameters
        ----------
        n
            Number of things.
        limit
            Largest number to keep.
        """
        if n <= limit:
            return slice(None)
        return torch.randperm(n, generator=self.generator, device=self._source)[:limit].to(self.device)
