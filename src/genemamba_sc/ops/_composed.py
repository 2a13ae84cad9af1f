"""Compute the mixer as a convolution, a scan and a gated norm, one after the other: any device, any scan."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc._types import Mask, ScanStep
from genemamba_sc.ops._conv import conv_silu
from genemamba_sc.ops._core import Directions, MixerWeights, Projected, Read, as_read, n_readings
from genemamba_sc.ops._gated_norm import gated_rms_norm


def read_composed(
    scan: Callable[..., Tensor], projected: Projected, mask: Mask, weights: MixerWeights, directions: Directions
) -> Read:
    """Compute what :func:`genemamba_sc.ops.read_tokens` describes with ``scan``."""
    z, xbc, raw = projected.split(weights.sizes, dim=-1)
    # A pad of 0 stays 0 in the convolution, and a step of 0 keeps the state. What a pad holds is cleared before it is
    # made a step: a gradient of 0 through a step that is not a number would be none either.
    z, xbc, raw = (t.masked_fill(~mask[..., None], 0) for t in (z, xbc, raw))
    dt = _steps(raw, weights.dt_bias).masked_fill(~mask[..., None], 0)
    readings = [_read(scan, z, xbc, dt, weights, bool(reverse)) for reverse in range(n_readings(directions))]
    return as_read(readings, directions)


def _steps(raw: ScanStep, bias: Tensor) -> ScanStep:
    # Steps multiply over hundreds of tokens, so they are never in half precision.
    work = torch.promote_types(raw.dtype, torch.float32)
    return F.softplus(raw.to(work) + bias.to(work))


def _read(
    scan: Callable[..., Tensor], z: Tensor, xbc: Tensor, dt: ScanStep, weights: MixerWeights, reverse: bool
) -> Tensor:
    d_inner, _, heads = weights.sizes
    width = weights.n_groups * weights.d_state
    x, B, C = conv_silu(xbc, weights.taps, weights.conv_bias, reverse=reverse).split([d_inner, width, width], dim=-1)
    B, C = (t.unflatten(-1, (weights.n_groups, weights.d_state)) for t in (B, C))
    y = scan(x.unflatten(-1, (heads, -1)), dt, weights.A, B, C, weights.D, reverse=reverse)
    return gated_rms_norm(y.flatten(2), z, weights.norm, groups=weights.n_groups, eps=weights.eps)
