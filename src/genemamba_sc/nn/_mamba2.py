"""The Mamba-2 mixer: projection, convolution, scan, gated norm, projection."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc._types import Hidden, Lengths, Mask
from genemamba_sc.ops import ssd_scan

# Ranges of mamba_ssm.Mamba2 for a new mixer: decay A in -[1, 16], step sizes log-uniform in [0.001, 0.1].
_A_RANGE = (1.0, 16.0)
_DT_RANGE = (1e-3, 1e-1)
_DT_FLOOR = 1e-4
_EPS = 1e-5


def reverse_valid(x: Float[Tensor, "b l *rest"], lengths: Lengths) -> Float[Tensor, "b l *rest"]:
    """Reverse the first ``lengths[i]`` positions of row ``i`` and leave the pads where they are.

    Its own inverse.
    """
    position = torch.arange(x.shape[1], device=x.device)
    mirrored = lengths[:, None].long() - 1 - position
    source: Int[Tensor, "b l"] = torch.where(mirrored >= 0, mirrored, position)
    return torch.take_along_dim(x, source.view(*source.shape, *[1] * (x.ndim - 2)), dim=1)


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

    def forward(self, y: Hidden, z: Hidden) -> Hidden:
        """Gate ``y`` (b, l, d) by ``z``, then normalise."""
        gated = y * F.silu(z)
        if self.n_groups == 1:
            return F.rms_norm(gated, (gated.shape[-1],), self.weight, _EPS)
        grouped = gated.unflatten(-1, (self.n_groups, -1))
        return F.rms_norm(grouped, (grouped.shape[-1],), None, _EPS).flatten(-2) * self.weight


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
        Groups of heads that share B and C.
    backend
        Implementation of the scan, see :func:`genemamba_sc.ops.choose_backend`.
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
        self.ngroups, self.d_state, self.d_conv, self.backend = ngroups, d_state, d_conv, backend
        d_xbc = self.d_inner + 2 * ngroups * d_state
        self.in_proj = nn.Linear(d_model, self.d_inner + d_xbc + self.n_heads, bias=False)
        self.conv1d = nn.Conv1d(d_xbc, d_xbc, d_conv, groups=d_xbc, padding=d_conv - 1)
        self.dt_bias = nn.Parameter(_initial_dt_bias(self.n_heads))
        self.A_log = nn.Parameter(torch.empty(self.n_heads).uniform_(*_A_RANGE).log())
        self.D = nn.Parameter(torch.ones(self.n_heads))
        self.norm = GatedRMSNorm(self.d_inner, ngroups)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=False)

    def forward(self, x: Hidden, mask: Mask) -> Hidden:
        """Mix left to right: (b, l, d) -> (b, l, d). Pads (``mask`` False) change nothing and come out as 0."""
        z, xbc, dt = self._project(x, mask)
        return self.out_proj(self.norm(self._scan(xbc, dt), z))

    def both_ways(self, x: Hidden, lengths: Lengths, mask: Mask) -> tuple[Hidden, Hidden]:
        """Mix left to right and right to left with the same weights, up to but without ``out_proj``.

        Projections act on each token alone, so they commute with the reversal: ``in_proj`` runs once here, and a
        caller who adds the directions needs ``out_proj`` once. Convolution and scan run as one batch of 2b.

        Returns
        -------
        The gated and normed output of each direction, (b, l, d_inner), aligned with ``x``.
        """
        z, xbc, dt = self._project(x, mask)
        xbc, dt = (torch.cat([t, reverse_valid(t, lengths)]) for t in (xbc, dt))
        forwards, backwards = self._scan(xbc, dt).chunk(2)
        return self.norm(forwards, z), self.norm(reverse_valid(backwards, lengths), z)

    def _project(self, x: Hidden, mask: Mask) -> tuple[Hidden, Hidden, Hidden]:
        """Split the projection into gate, input of the convolution, and step sizes (0 at pads)."""
        # in_proj has no bias: a pad that enters as 0 leaves as 0, for the gate and for the convolution.
        projected = self.in_proj(x.masked_fill(~mask[..., None], 0))
        sizes = [self.d_inner, projected.shape[-1] - self.d_inner - self.n_heads, self.n_heads]
        z, xbc, dt = projected.split(sizes, dim=-1)
        steps = (
            F.softplus(dt.float() + self.dt_bias.float())
            if dt.dtype != torch.float64
            else F.softplus(dt + self.dt_bias)
        )
        return z, xbc, steps * mask[..., None]

    def _scan(self, xbc: Hidden, dt: Hidden) -> Hidden:
        """Convolve causally and scan: (b, l, d_inner + 2gn) -> (b, l, d_inner)."""
        b, l, _ = xbc.shape
        xbc = F.silu(self.conv1d(xbc.transpose(1, 2))[..., :l].transpose(1, 2))
        width = self.ngroups * self.d_state
        x, B, C = xbc.split([self.d_inner, width, width], dim=-1)
        y = ssd_scan(
            x.unflatten(-1, (self.n_heads, self.headdim)),
            dt,
            -self.A_log.exp(),
            B.unflatten(-1, (self.ngroups, self.d_state)),
            C.unflatten(-1, (self.ngroups, self.d_state)),
            self.D,
            backend=self.backend,
        )
        return y.flatten(2)


def _initial_dt_bias(n_heads: int) -> Float[Tensor, "h"]:
    """Inverse softplus of log-uniform step sizes."""
    low, high = (math.log(bound) for bound in _DT_RANGE)
    dt = torch.empty(n_heads).uniform_(low, high).exp().clamp(min=_DT_FLOOR)
    return dt + torch.log(-torch.expm1(-dt))
