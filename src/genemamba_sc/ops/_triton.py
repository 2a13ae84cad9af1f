"""Decide whether the Triton kernels run on a device. Triton comes with PyTorch where that is built for GPUs."""

import functools
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from genemamba_sc._types import Mask
from genemamba_sc.ops._chunked import ssd_chunked
from genemamba_sc.ops._composed import read_composed
from genemamba_sc.ops._core import Directions, MixerWeights, Projected, Read

# Largest relative error that the self-test allows, of values and of gradients.
_MOST_ERROR = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
# Largest widths of a head and of a state whose blocks were tried: larger ones may not fit in a GPU's registers.
_WIDEST = 128


def read_triton(projected: Projected, mask: Mask, weights: MixerWeights, directions: Directions) -> Read:
    """Compute what :func:`genemamba_sc.ops.read_tokens` describes; once differentiable.

    A mixer with heads or states wider than 128 runs in plain PyTorch.
    """
    if max(len(weights.norm) // len(weights.A), weights.d_state) > _WIDEST:
        return read_composed(ssd_chunked, projected, mask, weights, directions)
    from genemamba_sc.ops._gpu._read import read_with_kernels

    return read_with_kernels(projected, mask, weights, directions)


@functools.cache
def why_not(device: torch.device, dtype: torch.dtype) -> str | None:
    """Compile the kernels and compare them with plain PyTorch, forward and backward, once per process.

    Returns
    -------
    ``None`` if they run and agree, otherwise the reason why they are not used.
    """
    if device.type != "cuda":
        return f"the Triton kernels are for GPUs, this device is {str(device)!r}"
    if dtype not in _MOST_ERROR:
        return f"the Triton kernels work in float32 and bfloat16, not in {dtype}"
    if find_spec("triton") is None:
        return "Triton is not installed"
    try:
        error = _self_test(device, dtype)
    except Exception as failure:  # noqa: BLE001  whatever a compiler on another machine raises, none may stop us
        return f"the Triton kernels do not run on {str(device)!r}: {type(failure).__name__}: {failure}"
    allowed = _MOST_ERROR[dtype]
    return None if error < allowed else f"the Triton kernels are off by {error:.1e} of what plain PyTorch gives"


def _self_test(device: torch.device, dtype: torch.dtype) -> float:
    """Compute the largest relative error of one small batch, values and gradients, both directions."""
    # The first who asks may be in inference mode, in which nothing can be differentiated.
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        return _largest_error(device, dtype)


def _largest_error(device: torch.device, dtype: torch.dtype) -> float:
    generator = torch.Generator("cpu").manual_seed(0)
    heads, p, n, l, k = 2, 16, 16, 70, 4
    x = heads * p + 2 * n
    shapes = [(2, l, heads * p + x + heads), (x, k), (x,), (heads,), (heads,), (heads,), (heads * p,)]
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu") for shape in shapes]
    drawn[4] = -drawn[4].exp()
    leaves = [t.to(device).requires_grad_() for t in drawn]
    taps, bias, dt_bias, A, D, norm = leaves[1:]
    mask = torch.arange(l, device=device) < torch.tensor([[l], [7]], device=device)

    def results(read: Callable[..., Read], kind: torch.dtype) -> tuple[Tensor, ...]:
        projected = leaves[0].to(dtype).to(kind)  # both read the same tokens
        y = read(projected, mask, MixerWeights(taps, bias, dt_bias, A, D, norm, n_groups=1, d_state=n), "sum")
        return y.detach(), *torch.autograd.grad(y.float().square().sum(), leaves)

    found = results(read_triton, dtype)
    truth = results(functools.partial(read_composed, ssd_chunked), torch.float32)
    return max(float((value - right).norm() / right.norm()) for value, right in zip(found, truth))
