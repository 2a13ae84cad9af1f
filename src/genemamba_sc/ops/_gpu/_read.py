"""Read cells with the kernels: convolution, scan, gate and norm, in either direction or both, with their gradient."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from genemamba_sc._types import Mask
from genemamba_sc.ops._core import Directions, MixerWeights, Projected, Read, n_readings
from genemamba_sc.ops._gpu._conv import convolve, convolve_gradient
from genemamba_sc.ops._gpu._norm import gate_and_norm, gate_and_norm_gradient
from genemamba_sc.ops._gpu._scan import Scanned, scan
from genemamba_sc.ops._gpu._scan_gradient import scan_gradient


def read_with_kernels(projected: Projected, mask: Mask, weights: MixerWeights, directions: Directions) -> Read:
    """Compute what :func:`genemamba_sc.ops.read_tokens` describes; once differentiable."""
    options = _Options(weights.n_groups, weights.d_state, weights.eps, directions)
    tensors = (t.float().contiguous() for t in weights.tensors)
    return _KernelRead.apply(mask, options, projected.contiguous(), *tensors)


class _Options(NamedTuple):
    n_groups: int
    d_state: int
    eps: float
    directions: Directions


class _Weights(NamedTuple):
    """Hold the weights in float32, ordered as :attr:`MixerWeights.tensors`."""

    taps: Tensor
    conv_bias: Tensor
    dt_bias: Tensor
    A: Tensor
    D: Tensor
    norm: Tensor


class _KernelRead(torch.autograd.Function):
    """Keep the inputs alone; the backward pass computes again what it needs of the forward pass."""

    @staticmethod
    def forward(ctx: Any, mask: Tensor, options: _Options, projected: Tensor, *tensors: Tensor) -> Tensor:
        weights = _Weights(*tensors)
        ctx.save_for_backward(mask, projected, *tensors)
        ctx.options = options
        with torch.cuda.device_of(projected):
            bits, scanned = _prepare(mask, options, projected, weights)
            y = _new_y(scanned)
            scan(scanned, y)
            out = y.new_empty((2 if options.directions == "pair" else 1, *y.shape[1:]))
            gate_and_norm(projected, bits, y, weights.norm, options.n_groups, options.eps, out)
        return out if options.directions == "pair" else out[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        mask, projected, *tensors = ctx.saved_tensors
        weights, options = _Weights(*tensors), ctx.options
        dout = dout.contiguous() if options.directions == "pair" else dout.contiguous()[None]
        with torch.cuda.device_of(projected):
            bits, scanned = _prepare(mask, options, projected, weights)
            y, states = _new_y(scanned), scanned.new_states()
            scan(scanned, y, states)
            dprojected = torch.empty_like(projected)
            of_norm = (weights.norm, options.n_groups, options.eps)
            dnorm = gate_and_norm_gradient(projected, bits, y, *of_norm, dout, dprojected)
            dconv = torch.empty_like(scanned.conv)
            gradients = scan_gradient(scanned, states, y, dconv)  # y holds its gradient now
            of_conv = (weights.taps, weights.conv_bias, len(weights.norm))
            dtaps, dconv_bias = convolve_gradient(projected, bits, *of_conv, dconv, dprojected)
        heads = len(weights.A)
        steps = torch.sigmoid(projected[..., -heads:].float() + weights.dt_bias)
        draw = (gradients.dt.sum(0) * steps).masked_fill_(~mask[..., None], 0)
        dprojected[..., -heads:] = draw
        return None, None, dprojected, dtaps, dconv_bias, draw.sum((0, 1)), gradients.A, gradients.D, dnorm


def _prepare(mask: Tensor, options: _Options, projected: Tensor, weights: _Weights) -> tuple[Tensor, Scanned]:
    """Return the mask as bytes, and what the scans read."""
    (b, l, _), heads = projected.shape, len(weights.A)
    bits = mask.contiguous().view(torch.uint8)
    # Steps multiply over hundreds of tokens, so they are never in half precision.
    dt = F.softplus(projected[..., -heads:].float() + weights.dt_bias).masked_fill_(~mask[..., None], 0)
    after = torch.arange(1, l + 1, dtype=torch.int32, device=mask.device)
    last = (bits * after).amax(1) if b and l else after.new_zeros(b)
    conv = projected.new_empty((n_readings(options.directions), b, l, len(weights.conv_bias)))
    convolve(projected, bits, weights.taps, weights.conv_bias, len(weights.norm), conv)
    return bits, Scanned(conv, dt, weights.A, weights.D, last, options.n_groups, options.d_state)


def _new_y(scanned: Scanned) -> Tensor:
    return scanned.conv.new_empty((*scanned.conv.shape[:3], scanned.d_inner))
