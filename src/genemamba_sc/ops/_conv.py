"""Compute the short convolution of Mamba with its SiLU, in either direction."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from genemamba_sc._types import Hidden
from genemamba_sc.ops._slabs import slabs


def conv_silu(x: Hidden, weight: Float[Tensor, "d k"], bias: Float[Tensor, "d"], *, reverse: bool = False) -> Hidden:
    """Convolve each channel over the last k tokens and apply SiLU; once differentiable.

    Parameters
    ----------
    x
        Tokens, (b, l, d), 0 at pads.
    weight
        Taps per channel, (d, k); the last tap belongs to the current token.
    bias
        Bias per channel, (d,).
    reverse
        Whether to use the next k tokens instead; the last tap again belongs to the current one.

    Returns
    -------
    The output, (b, l, d), in the dtype of ``x``. Zeros stand beyond both ends.
    """
    return _ConvSilu.apply(x, weight, bias, reverse)


class _ConvSilu(torch.autograd.Function):
    """Compute k multiply-adds of shifted views, slab by slab, without transposition; only the input is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.reverse = reverse
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        work = torch.promote_types(x.dtype, torch.float32)
        taps = weight.to(work).T.contiguous()
        for rows in slabs(x):
            y[rows] = F.silu(_convolve(x[rows].to(work), taps, bias.to(work), reverse), inplace=True)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        work = torch.promote_types(x.dtype, torch.float32)
        taps = weight.to(work).T.contiguous()
        dtaps, dbias = torch.zeros_like(taps), torch.zeros_like(bias, dtype=work)
        dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        for rows in slabs(x):
            part = x[rows].to(work)
            before = _convolve(part, taps, bias.to(work), ctx.reverse)
            dbefore = torch.ops.aten.silu_backward(dy[rows].to(work), before)
            dbias += dbefore.sum((0, 1))
            dpart = dbefore * taps[-1]
            dtaps[-1] += (dbefore * part).sum((0, 1))
            for tap, here, there in _shifts(taps, x.shape[1], ctx.reverse):
                dpart[:, there].addcmul_(dbefore[:, here], taps[tap])
                dtaps[tap] += (dbefore[:, here] * part[:, there]).sum((0, 1))
            dx[rows] = dpart
        return dx, dtaps.T.to(weight.dtype), dbias.to(bias.dtype), None


def _shifts(taps: Tensor, l: int, reverse: bool) -> list[tuple[int, slice, slice]]:
    """Yield which tap joins which tokens to which others, without the tap of the current token."""
    last = len(taps) - 1
    pairs = [(last - j, slice(j, None), slice(None, l - j)) for j in range(1, min(last, l - 1) + 1)]
    return [(tap, there, here) for tap, here, there in pairs] if reverse else pairs


def _convolve(x: Tensor, taps: Tensor, bias: Tensor, reverse: bool) -> Tensor:
    y = torch.addcmul(bias, x, taps[-1])
    for tap, here, there in _shifts(taps, x.shape[1], reverse):
        y[:, here].addcmul_(x[:, there], taps[tap])
    return y
