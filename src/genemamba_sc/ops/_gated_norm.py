"""Compute the gated RMSNorm at the end of a Mamba-2 mixer."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from genemamba_sc._types import Hidden
from genemamba_sc.ops._slabs import slabs


def gated_rms_norm(y: Hidden, z: Hidden, weight: Float[Tensor, "d"], *, groups: int = 1, eps: float = 1e-5) -> Hidden:
    """Compute ``RMSNorm(y silu(z)) weight``, with a mean of squares per group of channels; once differentiable.

    Parameters
    ----------
    y, z
        Values and gate, (b, l, d).
    weight
        Weight per channel, (d,).
    groups
        Number of groups of channels with a norm of their own.
    eps
        Number that is added to the mean of squares.

    Returns
    -------
    The output, (b, l, d), in the dtype of ``y``.
    """
    return _GatedNorm.apply(y, z, weight, groups, eps)


class _GatedNorm(torch.autograd.Function):
    """Compute the norm slab by slab; only the inputs are kept."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor, groups: int, eps: float) -> Tensor:
        ctx.save_for_backward(y, z, weight)
        ctx.groups, ctx.eps = groups, eps
        out = torch.empty(y.shape, dtype=y.dtype, device=y.device)
        work = torch.promote_types(y.dtype, torch.float32)
        for rows in slabs(y):
            gated = F.silu(z[rows].to(work)).mul_(y[rows])
            _, scale = _grouped_scale(gated, groups, eps)
            gated.unflatten(-1, (groups, -1)).mul_(scale)
            torch.mul(gated, weight.to(work), out=gated)
            out[rows] = gated
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        y, z, weight = ctx.saved_tensors
        work = torch.promote_types(y.dtype, torch.float32)
        dy, dz = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (y, z))
        dweight = torch.zeros_like(weight, dtype=work)
        for rows in slabs(y):
            values, gate = y[rows].to(work), z[rows].to(work)
            opened = F.silu(gate)
            grouped, scale = _grouped_scale(values * opened, ctx.groups, ctx.eps)
            normed = grouped.mul_(scale)
            dslab = dout[rows].to(work)
            dweight += (dslab * normed.flatten(-2)).sum((0, 1))
            dgated = (dslab * weight.to(work)).unflatten(-1, (ctx.groups, -1))
            along = (dgated * normed).mean(-1, keepdim=True)
            dgated = dgated.addcmul_(normed, along, value=-1).mul_(scale).flatten(-2)
            torch.mul(dgated, opened, out=opened)
            dy[rows] = opened
            dz[rows] = torch.ops.aten.silu_backward(dgated.mul_(values), gate)
        return dy, dz, dweight.to(weight.dtype), None, None


def _grouped_scale(gated: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Return ``gated`` as (s, l, groups, width), and 1 / RMS of each group."""
    grouped = gated.unflatten(-1, (groups, -1))
    return grouped, grouped.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
