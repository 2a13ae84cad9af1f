"""Define what lies between the two projections of a Mamba-2 mixer: its weights, and how often it reads."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from genemamba_sc._types import ScanDecay

Directions = Literal["forward", "sum", "pair"]
"""Left to right; the sum of both directions; or both, stacked in front."""

Projected = Float[Tensor, "b l width"]  # [z | x | B | C | dt]
Read = Float[Tensor, "*directions b l d_inner"]


@dataclass(frozen=True, eq=False)
class MixerWeights:
    """Hold the weights of a Mamba-2 mixer between its projections.

    ``taps`` (x + B + C channels, k) and ``conv_bias`` belong to the convolution, with the current token last;
    ``dt_bias``, ``A`` (negative) and ``D`` are per head; ``norm`` is per inner channel. ``n_groups`` is the number of
    groups of heads that share B and C of ``d_state`` channels, and of groups of channels with a norm of their own;
    ``eps`` belongs to the norm.
    """

    taps: Float[Tensor, "x k"]
    conv_bias: Float[Tensor, "x"]
    dt_bias: ScanDecay
    A: ScanDecay
    D: ScanDecay
    norm: Float[Tensor, "d_inner"]
    n_groups: int
    d_state: int
    eps: float = 1e-5

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The six tensors, in the order of the fields."""
        return self.taps, self.conv_bias, self.dt_bias, self.A, self.D, self.norm

    @property
    def sizes(self) -> list[int]:
        """Widths of the gate, of [x | B | C] and of dt in a projected token."""
        return [len(self.norm), len(self.conv_bias), len(self.A)]


def n_readings(directions: Directions) -> int:
    """Return how often a cell is read: once, or once in each direction."""
    return 1 if directions == "forward" else 2


def as_read(readings: list[Tensor], directions: Directions) -> Read:
    """Combine the readings as ``directions`` asks."""
    if directions == "pair":
        return torch.stack(readings)
    return readings[0] if len(readings) == 1 else readings[0] + readings[1]
