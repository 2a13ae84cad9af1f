"""The convolution of a mixer with its SiLU, and its gradient.

In reading direction ``way`` (0 left to right, 1 right to left) a token sees itself and the k - 1 tokens before it in
that direction. Pads count as 0.
"""

# mypy: disable-error-code="no-untyped-def"

import triton
from torch import Tensor
from triton import language as tl

from genemamba_sc.ops._gpu._kernel import kernel

_TOKENS, _CHANNELS = 32, 128
_PROGRAMS = 64  # of the weights' gradient, for each block of channels and each direction


def convolve(projected: Tensor, mask: Tensor, taps: Tensor, bias: Tensor, first: int, out: Tensor) -> None:
    """Write the convolved channels of each direction to ``out`` (ways, b, l, x).

    ``projected`` (b, l, width) holds the channels from ``first`` on; ``mask`` is (b, l), ``taps`` (x, k) with the
    current token last, ``bias`` (x,).
    """
    ways, b, l, x = out.shape
    grid = (b * triton.cdiv(l, _TOKENS), triton.cdiv(x, _CHANNELS), ways)
    sizes = (b, l, x, projected.shape[2], first)
    _convolve[grid](projected, mask, taps, bias, out, *sizes, taps.shape[1], _TOKENS, _CHANNELS)


def convolve_gradient(
    projected: Tensor, mask: Tensor, taps: Tensor, bias: Tensor, first: int, dout: Tensor, dprojected: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``taps`` and ``bias``, and write that of the channels to ``dprojected`` (b, l, width).

    ``dout`` (ways, b, l, x) is the gradient of what :func:`convolve` writes; it is overwritten. Its pads may hold
    anything.
    """
    ways, b, l, x = dout.shape
    k, n_blocks = taps.shape[1], b * triton.cdiv(l, _TOKENS)
    programs = min(_PROGRAMS, n_blocks)
    sums = taps.new_empty((ways * programs, k + 1, x))
    sizes = (b, l, x, projected.shape[2], first)
    columns = triton.cdiv(x, _CHANNELS)
    _before_silu[programs, columns, ways](
        projected, mask, taps, bias, dout, sums, *sizes, n_blocks, k, _TOKENS, _CHANNELS, triton.next_power_of_2(k + 1)
    )
    _spread[n_blocks, columns](mask, taps, dout, dprojected, *sizes, ways, k, _TOKENS, _CHANNELS)
    total = sums.sum(0)
    return total[:k].T.contiguous(), total[k]


@kernel
def _neighbour(
    projected, mask, cell, there, channel, l, x, width, first,
):  # fmt: skip
    """Load the channels of some tokens of a cell, 0 at pads and beyond both ends."""
    inside = (there >= 0) & (there < l)
    real = tl.load(mask + cell * l + there, mask=inside, other=0) != 0
    token = projected + (cell * l + there)[:, None] * width + first
    return tl.load(token + channel[None, :], mask=real[:, None] & (channel < x)[None, :], other=0.0).to(tl.float32)


@kernel
def _preactivation(
    projected, mask, taps, bias, cell, token, channel, sign, l, x, width, first, K: tl.constexpr,
):  # fmt: skip
    total = tl.load(bias + channel, mask=channel < x, other=0.0)[None, :]
    for j in tl.static_range(K):
        tap = tl.load(taps + channel * K + (K - 1 - j), mask=channel < x, other=0.0)
        total += tap[None, :] * _neighbour(projected, mask, cell, token - j * sign, channel, l, x, width, first)
    return total


@kernel
def _convolve(
    projected, mask, taps, bias, out, b, l, x, width, first, K: tl.constexpr, T: tl.constexpr, X: tl.constexpr,
):  # fmt: skip
    per_cell = tl.cdiv(l, T)
    cell = (tl.program_id(0) // per_cell).to(tl.int64)
    token = (tl.program_id(0) % per_cell) * T + tl.arange(0, T)
    channel = tl.program_id(1) * X + tl.arange(0, X)
    way = tl.program_id(2)
    before = _preactivation(projected, mask, taps, bias, cell, token, channel, 1 - 2 * way, l, x, width, first, K)
    here = out + ((way * b + cell) * l + token)[:, None] * x + channel[None, :]
    tl.store(here, before * tl.sigmoid(before), mask=(token < l)[:, None] & (channel < x)[None, :])


@kernel
def _before_silu(
    projected, mask, taps, bias, dout, sums, b, l, x, width, first, n_blocks, K: tl.constexpr, T: tl.constexpr,
    X: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """Replace ``dout`` by the gradient before the SiLU, 0 at pads, and sum the gradients of the weights."""
    per_cell = tl.cdiv(l, T)
    channel = tl.program_id(1) * X + tl.arange(0, X)
    known = channel < x
    way = tl.program_id(2)
    sign = 1 - 2 * way
    weight = tl.arange(0, W)[:, None]  # the taps, then the bias
    total = tl.zeros((W, X), tl.float32)
    for block in range(tl.program_id(0), n_blocks, tl.num_programs(0)):
        cell = (block // per_cell).to(tl.int64)
        token = (block % per_cell) * T + tl.arange(0, T)
        real = tl.load(mask + cell * l + token, mask=token < l, other=0) != 0
        before = _preactivation(projected, mask, taps, bias, cell, token, channel, sign, l, x, width, first, K)
        here = dout + ((way * b + cell) * l + token)[:, None] * x + channel[None, :]
        gradient = tl.load(here, mask=real[:, None] & known[None, :], other=0.0).to(tl.float32)
        opened = tl.sigmoid(before)
        gradient *= opened * (1 + before * (1 - opened))
        tl.store(here, gradient, mask=(token < l)[:, None] & known[None, :])
        for j in tl.static_range(K):
            shifted = _neighbour(projected, mask, cell, token - j * sign, channel, l, x, width, first)
            total += tl.where(weight == K - 1 - j, tl.sum(gradient * shifted, 0)[None, :], 0.0)
        total += tl.where(weight == K, tl.sum(gradient, 0)[None, :], 0.0)
    row = sums + (way * tl.num_programs(0) + tl.program_id(0)) * (K + 1) * x
    tl.store(row + weight * x + channel[None, :], total, mask=(weight <= K) & known[None, :])


@kernel
def _spread(
    mask, taps, dbefore, dprojected, b, l, x, width, first, ways, K: tl.constexpr, T: tl.constexpr, X: tl.constexpr,
):  # fmt: skip
    """Bring the gradient of each token back to those that it has seen, of all directions together."""
    per_cell = tl.cdiv(l, T)
    cell = (tl.program_id(0) // per_cell).to(tl.int64)
    token = (tl.program_id(0) % per_cell) * T + tl.arange(0, T)
    channel = tl.program_id(1) * X + tl.arange(0, X)
    real = tl.load(mask + cell * l + token, mask=token < l, other=0) != 0
    total = tl.zeros((T, X), tl.float32)
    for way in range(ways):
        for j in tl.static_range(K):
            seen_by = token + j * (1 - 2 * way)
            inside = (seen_by >= 0) & (seen_by < l)
            place = dbefore + ((way * b + cell) * l + seen_by)[:, None] * x + channel[None, :]
            gradient = tl.load(place, mask=inside[:, None] & (channel < x)[None, :], other=0.0).to(tl.float32)
            total += gradient * tl.load(taps + channel * K + (K - 1 - j), mask=channel < x, other=0.0)[None, :]
    total = tl.where(real[:, None], total, 0.0)
    here = dprojected + (cell * l + token)[:, None] * width + first + channel[None, :]
    tl.store(here, total, mask=(token < l)[:, None] & (channel < x)[None, :])
