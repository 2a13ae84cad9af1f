"""The gate and the norm at the end of a mixer, of all directions in one pass, and their gradient."""

# mypy: disable-error-code="no-untyped-def"

import torch
import triton
from torch import Tensor
from triton import language as tl

from genemamba_sc.ops._gpu._kernel import kernel, padded

_ELEMENTS = 2048  # of a block: tokens times channels of a group
_PROGRAMS = 512  # of the gradient, for each group


def gate_and_norm(
    projected: Tensor, mask: Tensor, y: Tensor, norm: Tensor, groups: int, eps: float, out: Tensor
) -> None:
    """Write ``RMSNorm(y silu(z)) norm`` of each direction, or their sum if ``out`` has no room for each.

    ``projected`` (b, l, width) holds the gate z first, ``y`` is (ways, b, l, d_inner), ``out`` (ways or 1, b, l,
    d_inner). What ``y`` holds at pads does not matter; the output is 0 there.
    """
    ways, tokens, d_inner = y.shape[0], mask.numel(), y.shape[-1]
    wide, rows = _block(d_inner // groups)
    _gate_and_norm[triton.cdiv(tokens, rows), groups](
        projected, mask, y, norm, out, tokens, d_inner, projected.shape[2], eps,
        d_inner // groups, ways, out.shape[0] == ways, rows, wide,
    )  # fmt: skip


def gate_and_norm_gradient(
    projected: Tensor, mask: Tensor, y: Tensor, norm: Tensor, groups: int, eps: float, dout: Tensor, dprojected: Tensor
) -> Tensor:
    """Return the gradient of ``norm``; write that of y over ``y``, and that of the gate to ``dprojected``."""
    ways, tokens, d_inner = y.shape[0], mask.numel(), y.shape[-1]
    wide, rows = _block(d_inner // groups)
    programs = min(_PROGRAMS, triton.cdiv(tokens, rows))
    sums = torch.empty((programs, d_inner), dtype=torch.float32, device=y.device)
    _gate_and_norm_gradient[programs, groups](
        projected, mask, y, norm, dout, dprojected, sums, tokens, d_inner, projected.shape[2], eps,
        d_inner // groups, ways, dout.shape[0] == ways, rows, wide,
    )  # fmt: skip
    return sums.sum(0)


def _block(width: int) -> tuple[int, int]:
    """Return the channels and the tokens of a block."""
    wide = padded(width)
    return wide, max(1, _ELEMENTS // wide)


@kernel
def _gate_and_norm(
    projected, mask, y, norm, out, tokens, d_inner, width, eps, per_group: tl.constexpr, WAYS: tl.constexpr,
    APART: tl.constexpr, T: tl.constexpr, X: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64) * T + tl.arange(0, T)
    inside = tl.arange(0, X) < per_group
    channel = tl.program_id(1) * per_group + tl.arange(0, X)
    weight = tl.load(norm + channel, mask=inside, other=0.0)[None, :]
    here = (token < tokens)[:, None] & inside[None, :]
    real = (tl.load(mask + token, mask=token < tokens, other=0) != 0)[:, None] & inside[None, :]
    z = tl.load(projected + token[:, None] * width + channel[None, :], mask=real, other=0.0).to(tl.float32)
    gate = z * tl.sigmoid(z)
    total = tl.zeros((T, X), tl.float32)
    for way in tl.static_range(WAYS):
        place = (way * tokens + token)[:, None] * d_inner + channel[None, :]
        gated = tl.load(y + place, mask=real, other=0.0).to(tl.float32) * gate
        scale = tl.rsqrt(tl.sum(gated * gated, 1) / per_group + eps)[:, None]
        if APART:
            tl.store(out + place, gated * scale * weight, mask=here)
        else:
            total += gated * scale * weight
    if not APART:
        tl.store(out + token[:, None] * d_inner + channel[None, :], total, mask=here)


@kernel
def _gate_and_norm_gradient(
    projected, mask, y, norm, dout, dprojected, sums, tokens, d_inner, width, eps, per_group: tl.constexpr,
    WAYS: tl.constexpr, APART: tl.constexpr, T: tl.constexpr, X: tl.constexpr,
):  # fmt: skip
    inside = tl.arange(0, X) < per_group
    channel = tl.program_id(1) * per_group + tl.arange(0, X)
    weight = tl.load(norm + channel, mask=inside, other=0.0)[None, :]
    dweight = tl.zeros((X,), tl.float32)
    for block in range(tl.program_id(0), tl.cdiv(tokens, T), tl.num_programs(0)):
        token = (block * T + tl.arange(0, T)).to(tl.int64)
        here = (token < tokens)[:, None] & inside[None, :]
        real = (tl.load(mask + token, mask=token < tokens, other=0) != 0)[:, None] & inside[None, :]
        of_gate = token[:, None] * width + channel[None, :]
        z = tl.load(projected + of_gate, mask=real, other=0.0).to(tl.float32)
        opened = tl.sigmoid(z)
        dz = tl.zeros((T, X), tl.float32)
        for way in tl.static_range(WAYS):
            place = (way * tokens + token)[:, None] * d_inner + channel[None, :]
            value = tl.load(y + place, mask=real, other=0.0).to(tl.float32)
            gated = value * z * opened
            scale = tl.rsqrt(tl.sum(gated * gated, 1) / per_group + eps)[:, None]
            source = place if APART else token[:, None] * d_inner + channel[None, :]
            gradient = tl.load(dout + source, mask=real, other=0.0).to(tl.float32)
            normed = gated * scale
            dweight += tl.sum(gradient * normed, 0)
            gradient *= weight
            dgated = scale * (gradient - normed * (tl.sum(gradient * normed, 1) / per_group)[:, None])
            tl.store(y + place, dgated * z * opened, mask=here)
            dz += dgated * value
        tl.store(dprojected + of_gate, dz * opened * (1 + z * (1 - opened)), mask=here)
    tl.store(sums + tl.program_id(0) * d_inner + channel, dweight, mask=inside)
