"""The Mamba-2 mixer: projection, convolution, scan, gated norm, projection."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc._types import Hidden, Mask, ScanStep
from genemamba_sc.ops import conv_silu, gated_rms_norm, ssd_scan

# Ranges of mamba_ssm.Mamba2 for a new mixer: decay -A uniform in [1, 16], step sizes log-uniform in [0.001, 0.1].
_DECAY_RANGE = (1.0, 16.0)
_STEP_RANGE = (1e-3, 1e-1)
_STEP_FLOOR = 1e-4

Inner = Float[Tensor, "b l d_inner"]
Convolved = Float[Tensor, "b l d_xbc"]  # x, B and C side by side


class GatedRMSNorm(nn.Module):
    """``RMSNorm(y * silu(z)) * weight``, the mean of squares taken within each of ``n_groups`` groups of channels.

    Parameters
    ----------
    d_inner
        Channels.
    n_groups
        Groups of channels with a norm of their own.
    """

    def __init__(self, d_inner: int, n_groups: int = 1) -> None:
        super().__init__()
        self.n_groups = n_groups
        self.weight = nn.Parameter(torch.ones(d_inner))

    def forward(self, y: Inner, z: Inner) -> Inner:
        """Gate ``y`` by ``z``, then normalise; all (b, l, d_inner)."""
        return gated_rms_norm(y, z, self.weight, groups=self.n_groups, eps=1e-5)


class Mamba2Mixer(nn.Module):
    """One Mamba-2 mixer, with the parameter names, shapes and initialisation of ``mamba_ssm.Mamba2``.

    Dao & Gu 2024, arXiv 2405.21060. ``in_proj`` gives [z | x | B | C | dt].

    Parameters
    ----------
    d_model
        Width of the tokens.
    d_state
        Width of the state, n.
    d_conv
        Tokens the causal convolution sees.
    expand
        The inner width is ``expand * d_model``.
    headdim
        Width of a head, p; divides the inner width.
    ngroups
        Groups of heads that share B and C; divides the number of heads.
    backend
        Implementation of the scan, see :func:`genemamba_sc.ops.choose_backend`.

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
        # Holds the weights under their known names; the convolution itself is ops.conv_silu.
        self.conv1d = nn.Conv1d(d_xbc, d_xbc, d_conv, groups=d_xbc, padding=d_conv - 1)
        self.dt_bias = nn.Parameter(_initial_dt_bias(self.n_heads))
        self.A_log = nn.Parameter(torch.empty(self.n_heads).uniform_(*_DECAY_RANGE).log())
        self.D = nn.Parameter(torch.ones(self.n_heads))
        self.norm = GatedRMSNorm(self.d_inner, ngroups)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def forward(self, x: Hidden, mask: Mask) -> Hidden:
        """Mix left to right: (b, l, d) -> (b, l, d). Pads (``mask`` False) change nothing and come out as 0."""
        z, xbc, dt = self._project(x, mask)
        return self.out_proj(self.norm(self._read(xbc, dt, reverse=False), z))

    def both_ways(self, x: Hidden, mask: Mask) -> tuple[Inner, Inner]:
        """Mix left to right and right to left with the same weights, up to but without ``out_proj``.

        Projections act on each token alone, so ``in_proj`` runs once for both directions, and a caller who adds them
        needs ``out_proj`` once. The right-to-left reading starts with the last real token of each cell: pads are 0
        with a step of 0, and leave both the convolution and the state as if they were not there.

        Returns
        -------
        The gated and normed output of each direction, (b, l, d_inner), aligned with ``x``; 0 at pads.
        """
        z, xbc, dt = self._project(x, mask)
        return self.norm(self._read(xbc, dt, reverse=False), z), self.norm(self._read(xbc, dt, reverse=True), z)

    def _project(self, x: Hidden, mask: Mask) -> tuple[Inner, Convolved, ScanStep]:
        """Gate, input of the convolution, and step sizes (0 at pads)."""
        # in_proj has no bias: a pad that enters as 0 leaves as 0, for the gate and for the convolution.
        projected = self.in_proj(x.masked_fill(~mask[..., None], 0))
        sizes = [self.d_inner, self.conv1d.in_channels, self.n_heads]
        z, xbc, dt = projected.split(sizes, dim=-1)
        # Steps multiply over hundreds of tokens: never in half precision.
        work = torch.promote_types(dt.dtype, torch.float32)
        return z, xbc, F.softplus(dt.to(work) + self.dt_bias.to(work)) * mask[..., None]

    def _read(self, xbc: Convolved, dt: ScanStep, *, reverse: bool) -> Inner:
        """Convolve and scan in one direction."""
        bias = self.conv1d.bias
        assert bias is not None  # torch types it as optional; here it is always there
        xbc = conv_silu(xbc, self.conv1d.weight[:, 0], bias, reverse=reverse)
        width = self.ngroups * self.d_state
        x, B, C = xbc.split([self.d_inner, width, width], dim=-1)
        y = ssd_scan(
            x.unflatten(-1, (self.n_heads, self.headdim)),
            dt,
            -self.A_log.exp(),
            B.unflatten(-1, (self.ngroups, self.d_state)),
            C.unflatten(-1, (self.ngroups, self.d_state)),
            self.D,
            reverse=reverse,
            backend=self.backend,
        )
        return y.flatten(2)


def _initial_dt_bias(n_heads: int) -> Float[Tensor, "h"]:
    """Inverse softplus of log-uniform step sizes."""
    low, high = (math.log(bound) for bound in _STEP_RANGE)
    dt = torch.empty(n_heads).uniform_(low, high).exp().clamp(min=_STEP_FLOOR)
    return dt + torch.log(-torch.expm1(-dt))
