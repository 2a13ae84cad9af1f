"""Define what lies between the two projections of a Mamba-2 mixer: its weights, and how often it reads."""

from dataclasses import dataclass
from typing import Literal, get_args

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


def check_shapes(projected: Projected, mask: Tensor, weights: MixerWeights) -> None:
    """Refuse what kernels would read beyond their arrays.

    Raises
    ------
    ValueError
        If tokens, mask and weights do not fit each other.
    """
    d_inner, channels, heads = weights.sizes
    groups, width = weights.n_groups, d_inner + channels + heads
    expected = {
        "projected tokens": (projected.shape[-1], width),
        "tokens of the mask": (tuple(mask.shape), tuple(projected.shape[:2])),
        "channels of x, B and C": (channels, d_inner + 2 * groups * weights.d_state),
        "channels with taps": (len(weights.taps), channels),
        "channels of the last head": (d_inner % heads, 0),
        "heads of the last group": (heads % groups, 0),
    }
    for what, (found, right) in expected.items():
        if found != right:
            raise ValueError(f"A mixer's {what} must be {right} here. Got {found}. Pass the weights of one mixer.")


def check_directions(directions: str) -> None:
    """Refuse another way to read: kernels would take it for one of theirs.

    Raises
    ------
    ValueError
        If there is no such way.
    """
    if directions not in get_args(Directions):
        raise ValueError(f"directions must be one of {list(get_args(Directions))}. Got {directions!r}. Choose one.")


def n_readings(directions: Directions) -> int:
    """Return how often a cell is read: once, or once in each direction."""
    return 1 if directions == "forward" else 2


def as_read(readings: list[Tensor], directions: Directions) -> Read:
    """Combine the readings as ``directions`` asks."""
    if directions == "pair":
        return torch.stack(readings)
    return readings[0] if len(readings) == 1 else readings[0] + readings[1]
