"""Decide whether the Triton kernels run on a device. Triton comes with PyTorch where that is built for GPUs."""

import functools
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from genemamba_sc._types import Mask
from genemamba_sc.ops import _mamba_ssm
from genemamba_sc.ops._chunked import ssd_chunked
from genemamba_sc.ops._composed import read_composed
from genemamba_sc.ops._core import Directions, MixerWeights, Projected, Read
from genemamba_sc.ops._precision import products

# Largest relative error that the self-test allows, of values and of gradients: in float32, in TF32 and in bfloat16.
_MOST_ERROR = {(torch.float32, False): 1e-4, (torch.float32, True): 2e-2, (torch.bfloat16, False): 2e-2}
# Widest heads and states; blocks of wider ones do not fit in registers.
_WIDEST = 128
# Channels of a head and of a state by default. Other widths are other kernels, and are tried when they are first used.
_USUAL = (64, 16)


def read_triton(projected: Projected, mask: Mask, weights: MixerWeights, directions: Directions) -> Read:
    """Compute what :func:`genemamba_sc.ops.read_tokens` describes; once differentiable.

    Warns
    -----
    UserWarning
        If the kernels do not run for heads or states as wide as these; another scan reads them then.
    """
    widths = len(weights.norm) // len(weights.A), weights.d_state
    if _why_not_so_wide(projected.device, projected.dtype, *widths) is not None:
        usable = _mamba_ssm.why_not(projected.device, projected.dtype) is None
        return read_composed(_mamba_ssm.ssd_mamba_ssm if usable else ssd_chunked, projected, mask, weights, directions)
    return read_with_kernels(projected, mask, weights, directions)


def read_with_kernels(projected: Projected, mask: Mask, weights: MixerWeights, directions: Directions) -> Read:
    """Run the kernels, whatever the self-test says."""
    from genemamba_sc.ops._gpu import _read

    return _read.read_with_kernels(projected, mask, weights, directions)


@functools.cache
def why_not(device: torch.device, dtype: torch.dtype) -> str | None:
    """Compile the kernels and compare them with plain PyTorch, forward and backward, once per process.

    Returns
    -------
    ``None`` if they run and agree, otherwise the reason why they are not used.
    """
    if device.type != "cuda":
        return f"the Triton kernels are for GPUs, this device is {str(device)!r}"
    if (dtype, False) not in _MOST_ERROR:
        return f"the Triton kernels work in float32 and bfloat16, not in {dtype}"
    if find_spec("triton") is None:
        return "Triton is not installed"
    return _why_wrong(device, dtype, *_USUAL)


@functools.cache
def _why_not_so_wide(device: torch.device, dtype: torch.dtype, p: int, n: int) -> str | None:
    """Try the kernels for heads of p and states of n channels; warn once where they do not serve."""
    if (p, n) == _USUAL:
        return None
    too_wide = f"heads and states may have {_WIDEST} channels" if max(p, n) > _WIDEST else None
    reason = too_wide or _why_wrong(device, dtype, p, n)
    if reason is not None:
        message = (
            f"The Triton kernels do not read heads of {p} and states of {n} channels: {reason}. A slower scan does."
        )
        warnings.warn(message, UserWarning, stacklevel=2)
    return reason


def _why_wrong(device: torch.device, dtype: torch.dtype, p: int, n: int) -> str | None:
    for (kind, tf32), allowed in _MOST_ERROR.items():
        if kind != dtype:
            continue
        try:
            error = _self_test(device, dtype, p, n, tf32)
        except torch.OutOfMemoryError:
            raise  # it says nothing of the kernels, and must not be remembered
        except Exception as failure:  # noqa: BLE001  whatever a compiler on another machine raises, none may stop us
            return f"the Triton kernels do not run on {str(device)!r}: {type(failure).__name__}: {failure}"
        if not error < allowed:
            return f"the Triton kernels are off by {error:.1e} of what plain PyTorch gives"
    return None


def _self_test(device: torch.device, dtype: torch.dtype, p: int, n: int, tf32: bool) -> float:
    """Compute the largest relative error of one small batch, values and gradients, both directions."""
    # The first who asks may be in inference mode, in which nothing can be differentiated.
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        return _largest_error(device, dtype, p, n, tf32)


def _largest_error(device: torch.device, dtype: torch.dtype, p: int, n: int, tf32: bool) -> float:
    generator = torch.Generator("cpu").manual_seed(0)
    heads, l, k = 2, 70, 4
    x = heads * p + 2 * n
    shapes = [(2, l, heads * p + x + heads), (x, k), (x,), (heads,), (heads,), (heads,), (heads * p,)]
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu") for shape in shapes]
    drawn[3] -= 2  # steps of about 0.1
    drawn[4] = -drawn[4].exp()
    leaves = [t.to(device).requires_grad_() for t in drawn]
    taps, bias, dt_bias, A, D, norm = leaves[1:]
    mask = torch.arange(l, device=device) < torch.tensor([[l], [7]], device=device)

    def results(read: Callable[..., Read], kind: torch.dtype) -> tuple[Tensor, ...]:
        projected = leaves[0].to(dtype).to(kind)  # both read the same tokens
        y = read(projected, mask, MixerWeights(taps, bias, dt_bias, A, D, norm, n_groups=1, d_state=n), "sum")
        return y.detach(), *torch.autograd.grad(y.float().square().sum(), leaves)

    with products(tf32=tf32):
        found = results(read_with_kernels, dtype)
    with products(tf32=False):
        truth = results(functools.partial(read_composed, ssd_chunked), torch.float32)
    return max(float((value - right).norm() / right.norm()) for value, right in zip(found, truth))
