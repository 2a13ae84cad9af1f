"""Implement the Mamba-2 mixer: projection, convolution, scan, gated norm, projection."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genemamba_sc._types import Hidden, Mask
from genemamba_sc.ops import MixerWeights, read_tokens

# A new mixer starts in the ranges of mamba_ssm.Mamba2: decay -A uniform in [1, 16], steps log-uniform in [0.001, 0.1].
DECAY_RANGE = (1.0, 16.0)
STEP_RANGE = (1e-3, 1e-1)
_STEP_FLOOR = 1e-4

Inner = Float[Tensor, "b l d_inner"]
BothWays = Float[Tensor, "2 b l d_inner"]

_EPS = 1e-5


class GatedNormWeight(nn.Module):
    """Hold the weight of ``RMSNorm(y silu(z)) weight`` under its known name.

    Parameters
    ----------
    d_inner
        Number of channels.
    """

    def __init__(self, d_inner: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_inner))


class Mamba2Mixer(nn.Module):
    """Read tokens with a Mamba-2 mixer; names, shapes and initialisation are those of ``mamba_ssm.Mamba2``.

    Dao & Gu 2024, arXiv 2405.21060. ``in_proj`` gives [z | x | B | C | dt].

    Parameters
    ----------
    d_model
        Width of the tokens.
    d_state
        Width of the state, n.
    d_conv
        Number of tokens that the causal convolution sees.
    expand
        The inner width is ``expand * d_model``.
    headdim
        Width of a head, p; divides the inner width.
    ngroups
        Groups of heads that share B and C; divides the number of heads.
    backend
        Implementation; see :func:`genemamba_sc.ops.choose_backend`.

    Raises
    ------
    ValueError
        If ``headdim`` does not divide the inner width.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        d_conv: int = 4,
        expand: int = 2,
        headdim: int = 64,
        ngroups: int = 1,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.d_inner = expand * d_model
        if self.d_inner % headdim:
            raise ValueError(
                f"headdim must divide expand * d_model = {self.d_inner}. Got headdim={headdim}. "
                f"Choose one of its divisors, for example headdim={math.gcd(self.d_inner, headdim)}."
            )
        self.headdim, self.n_heads = headdim, self.d_inner // headdim
        self.ngroups, self.d_state, self.backend = ngroups, d_state, backend
        d_xbc = self.d_inner + 2 * ngroups * d_state
        self.in_proj = nn.Linear(d_model, self.d_inner + d_xbc + self.n_heads, bias=False)
        # This holds the weights under their known names; ops.read_tokens computes with them.
        self.conv1d = nn.Conv1d(d_xbc, d_xbc, d_conv, groups=d_xbc, padding=d_conv - 1)
        self.dt_bias = nn.Parameter(_initial_dt_bias(self.n_heads))
        self.A_log = nn.Parameter(torch.empty(self.n_heads).uniform_(*DECAY_RANGE).log())
        self.D = nn.Parameter(torch.ones(self.n_heads))
        self.norm = GatedNormWeight(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def forward(self, x: Hidden, mask: Mask) -> Hidden:
        """Mix left to right: (b, l, d) -> (b, l, d). Pads (``mask`` False) change nothing and come out as 0."""
        return self.out_proj(self._read(x, mask, "forward"))

    def both_ways(self, x: Hidden, mask: Mask) -> BothWays:
        """Mix left to right and right to left with the same weights, up to ``out_proj`` but without it.

        Projections act on each token alone, so ``in_proj`` runs once for both directions. The right-to-left reading
        starts with the last real token of each cell.

        Returns
        -------
        The gated and normed output of each direction, (2, b, l, d_inner), aligned with ``x``; 0 at pads.
        """
        return self._read(x, mask, "pair")

    def sum_of_ways(self, x: Hidden, mask: Mask) -> Inner:
        """Add the two readings of :meth:`both_ways`, (b, l, d_inner): ``out_proj`` is linear and needs only the sum."""
        return self._read(x, mask, "sum")

    def weights(self) -> MixerWeights:
        """Return the weights between the projections, as :func:`genemamba_sc.ops.read_tokens` takes them."""
        bias = self.conv1d.bias
        assert bias is not None  # torch types it as optional; here it is always there
        return MixerWeights(
            self.conv1d.weight[:, 0],
            bias,
            self.dt_bias,
            -self.A_log.exp(),
            self.D,
            self.norm.weight,
            n_groups=self.ngroups,
            d_state=self.d_state,
            eps=_EPS,
        )

    def _read(self, x: Hidden, mask: Mask, directions: Literal["forward", "sum", "pair"]) -> Tensor:
        # in_proj has no bias: a pad that enters as 0 leaves as 0.
        projected = self.in_proj(x.masked_fill(~mask[..., None], 0))
        return read_tokens(projected, mask, self.weights(), directions=directions, backend=self.backend)


def _initial_dt_bias(n_heads: int) -> Float[Tensor, "h"]:
    """Compute the inverse softplus of log-uniform step sizes."""
    low, high = (math.log(bound) for bound in STEP_RANGE)
    dt = torch.empty(n_heads).uniform_(low, high).exp().clamp(min=_STEP_FLOOR)
    return dt + torch.log(-torch.expm1(-dt))
