"""Random draws, from a generator or from the global stream."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Draws:
    """Random numbers for tensors on a device.

    Parameters
    ----------
    device
        Where the numbers are needed.
    generator
        Source of the numbers; ``None`` takes the global stream of the device. One of another device works: the
        numbers are then moved.
    """

    def __init__(self, device: torch.device, generator: torch.Generator | None = None) -> None:
        self.device = device
        self.generator = generator
        self._source = device if generator is None else generator.device

    def uniform(self, shape: Sequence[int]) -> Float[Tensor, "..."]:
        """Uniform numbers in [0, 1).

        Parameters
        ----------
        shape
            How many.
        """
        return torch.rand(tuple(shape), generator=self.generator, device=self._source).to(self.device)

    def integers(self, low: int, high: int, shape: Sequence[int]) -> Int[Tensor, "..."]:
        """Whole numbers in [low, high).

        Parameters
        ----------
        low, high
            The first, and the one after the last.
        shape
            How many.
        """
        return torch.randint(low, high, tuple(shape), generator=self.generator, device=self._source).to(self.device)

    def subset(self, n: int, limit: int) -> Int[Tensor, "k"] | slice:
        """Index of ``limit`` different ones of ``n``, each as likely as any other; all of them where n is no more.

        Parameters
        ----------
        n
            Number of things.
        limit
            Most of them to keep.
        """
        if n <= limit:
            return slice(None)
        return torch.randperm(n, generator=self.generator, device=self._source)[:limit].to(self.device)
