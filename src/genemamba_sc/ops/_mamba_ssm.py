"""Call the CUDA kernels of mamba-ssm, where they are installed and really run. Only this file names ``mamba_ssm``."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from genemamba_sc._types import ScanDecay, ScanInput, ScanProjection, ScanStep

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@functools.cache
def _kernel() -> Callable[..., Tensor]:
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    return mamba_chunk_scan_combined


def ssd_mamba_ssm(
    x: ScanInput,
    dt: ScanStep,
    A: ScanDecay,
    B: ScanProjection,
    C: ScanProjection,
    D: ScanDecay | None = None,
    *,
    chunk_size: int = 64,
    reverse: bool = False,
) -> ScanInput:
    """Run ``mamba_chunk_scan_combined`` of mamba-ssm; shapes as in :func:`genemamba_sc.ops.ssd_scan`."""
    if reverse:
        # Pads have dt = 0: in front of the cell they keep the state at 0, so the whole array may be flipped.
        x, dt, B, C = (t.flip(1) for t in (x, dt, B, C))
    y = _kernel()(x.contiguous(), dt.contiguous(), A, B.contiguous(), C.contiguous(), chunk_size, D=D)
    return y.flip(1) if reverse else y


@functools.cache
def why_not(device: torch.device, dtype: torch.dtype) -> str | None:
    """Try the kernels on ``device``, forward and backward, once per process.

    Returns
    -------
    ``None`` if they run, otherwise the reason why they do not.
    """
    if device.type != "cuda":
        return f"mamba-ssm needs a CUDA device, this one is {str(device)!r}"
    if dtype not in _DTYPES:
        return f"mamba-ssm has no {dtype} kernels"
    try:
        # The first who asks may be in inference mode, in which nothing can be differentiated.
        with torch.inference_mode(False), torch.enable_grad():
            _probe(device, dtype)
    except Exception as error:  # noqa: BLE001  a missing or broken kernel fails in a dozen ways; none may stop us
        return f"mamba-ssm does not run on {str(device)!r}: {type(error).__name__}: {error}"
    return None


def _probe(device: torch.device, dtype: torch.dtype) -> None:
    """Scan one small cell and differentiate; a kernel that only imports, or only runs forward, raises here."""
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(device, dtype).requires_grad_()

    x, dt, B, C = leaf(1, 64, 2, 64), leaf(1, 64, 2), leaf(1, 64, 1, 16), leaf(1, 64, 1, 16)
    A = -torch.ones(2, device=device, requires_grad=True)
    D = torch.ones(2, device=device, requires_grad=True)
    for reverse in (False, True):
        y = ssd_mamba_ssm(x, dt, A, B, C, D, chunk_size=32, reverse=reverse)
        gradients = torch.autograd.grad(y.float().square().sum(), (x, dt, A, B, C, D))
        if not all(bool(t.isfinite().all()) for t in (y, *gradients)):
            raise ArithmeticError("the probe gave values that are not finite")
