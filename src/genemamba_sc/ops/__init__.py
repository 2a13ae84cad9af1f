"""Compute what a Mamba-2 mixer does between its projections: one entry point, several implementations.

The rest of the package calls ``read_tokens``; ``ssd_scan`` is the recurrence alone. ``choose_backend`` decides which
implementation runs, and says why.
"""

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from genemamba_sc._types import Mask, ScanDecay, ScanInput, ScanProjection, ScanStep
from genemamba_sc.ops import _fused, _mamba_ssm, _triton
from genemamba_sc.ops._chunked import ssd_chunked
from genemamba_sc.ops._composed import read_composed
from genemamba_sc.ops._conv import conv_silu
from genemamba_sc.ops._core import (
    Directions,
    MixerWeights,
    Projected,
    Read,
    as_read,
    check_directions,
    check_shapes,
    n_readings,
)
from genemamba_sc.ops._fused import read_compiled
from genemamba_sc.ops._gated_norm import gated_rms_norm
from genemamba_sc.ops._mamba_ssm import ssd_mamba_ssm
from genemamba_sc.ops._pooled import Pools, TokenPooler, TokenTable
from genemamba_sc.ops._precision import allows_tf32
from genemamba_sc.ops._reference import reference_scan
from genemamba_sc.ops._triton import read_triton

__all__ = [
    "Backend",
    "Choice",
    "MixerWeights",
    "Pools",
    "TokenPooler",
    "TokenTable",
    "allows_tf32",
    "available_backends",
    "backend_info",
    "choose_backend",
    "conv_silu",
    "gated_rms_norm",
    "read_tokens",
    "ssd_scan",
]

logger = logging.getLogger(__name__)

Backend = Literal["auto", "reference", "chunked", "compiled", "triton", "mamba_ssm"]
MAX_CHUNK = 64


@dataclass(frozen=True)
class Choice:
    """A backend, and why it was taken."""

    name: str
    reason: str


_SCANS: dict[str, Callable[..., torch.Tensor]] = {
    "reference": reference_scan,
    "chunked": ssd_chunked,
    "mamba_ssm": ssd_mamba_ssm,
}
_FUSED: dict[str, Callable[[Projected, Mask, MixerWeights, Directions], Read]] = {
    "compiled": read_compiled,
    "triton": read_triton,
}
_NAMES = ("reference", "chunked", "compiled", "triton", "mamba_ssm")
_WHY_NOT = {"compiled": _fused.why_not, "triton": _triton.why_not, "mamba_ssm": _mamba_ssm.why_not}
_PASSES = "its kernels pass their self-test here"
_RUNS = {"compiled": _PASSES, "triton": _PASSES, "mamba_ssm": "its kernels run here"}
_LEAVE_IT = "Leave it at 'auto' to take the fastest one that runs on the device"
_WAY_OUT = {
    "compiled": "Use backend='auto', or float32 tensors on a CPU",
    "triton": "Use backend='auto', or float32 or bfloat16 tensors on a GPU, with the PyTorch that is built for it",
    "mamba_ssm": "Install genemamba-sc[cuda] on a machine with an NVIDIA GPU, or use backend='auto'",
}


def available_backends(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[str, ...]:
    """Name the backends that run on ``device`` in ``dtype`` (kernels are tried, not only imported)."""
    device = torch.device(device)
    return tuple(name for name in _NAMES if name not in _WHY_NOT or _WHY_NOT[name](device, dtype) is None)


def choose_backend(device: torch.device | str, dtype: torch.dtype, requested: str = "auto") -> Choice:
    """Decide which implementation runs.

    Parameters
    ----------
    device, dtype
        Where and in which precision.
    requested
        ``"auto"`` takes the compiled kernels on a CPU and the Triton kernels on a GPU where they pass their self-test;
        otherwise, on a GPU, mamba-ssm where a real forward and backward pass succeeds, and ``"chunked"`` where nothing
        else runs. The environment variable ``GENEMAMBA_BACKEND`` names what ``"auto"`` takes instead. A name takes that
        backend.

    Raises
    ------
    ValueError
        If no backend has that name.
    RuntimeError
        If the requested backend does not run here.
    """
    device, by_whom, otherwise = torch.device(device), "", ""
    if requested == "auto" and os.environ.get("GENEMAMBA_BACKEND"):
        requested, by_whom = os.environ["GENEMAMBA_BACKEND"], " by GENEMAMBA_BACKEND"
        otherwise = "Unset the environment variable GENEMAMBA_BACKEND, or name a backend that runs here"
    if requested == "auto":
        return _automatic(device, dtype)
    if requested not in _NAMES:
        raise ValueError(
            f"The backend must be one of {['auto', *_NAMES]}. Got {requested!r}{by_whom}. {otherwise or _LEAVE_IT}."
        )
    reason = _WHY_NOT[requested](device, dtype) if requested in _WHY_NOT else None
    if reason is not None:
        raise RuntimeError(
            f"The backend {requested!r}, asked for{by_whom}, needs its kernels. Got: {reason}. "
            f"{otherwise or _WAY_OUT[requested]}."
        )
    return Choice(requested, f"asked for{by_whom}")


def backend_info(device: torch.device | str | None = None, dtype: torch.dtype = torch.float32) -> Choice:
    """Say which backend scans on a device, and why.

    Parameters
    ----------
    device
        Device that scans; ``None`` takes the current CUDA GPU where there is one, otherwise the CPU.
    dtype
        Precision of the scan.

    Returns
    -------
    The choice: ``name`` and ``reason``.

    Examples
    --------
    >>> gm.backend_info("cpu").name
    'compiled'
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return choose_backend(device, dtype)


@functools.cache
def _automatic(device: torch.device, dtype: torch.dtype) -> Choice:
    # The choice is cached, so that it is made and logged once per device and dtype, not once per batch.
    reasons: dict[str, str] = {}
    for name in ("compiled",) if device.type == "cpu" else ("triton", "mamba_ssm"):
        reason = _WHY_NOT[name](device, dtype)
        if reason is None:
            choice = Choice(name, _RUNS[name])
            break
        reasons[name] = reason
    else:
        choice = Choice("chunked", "; ".join(reasons.values()))
    logger.info("Backend on %s in %s: %s (%s).", device, dtype, choice.name, choice.reason)
    return choice


def read_tokens(
    projected: Projected,
    mask: Mask,
    weights: MixerWeights,
    *,
    directions: Directions = "sum",
    backend: str = "auto",
) -> Read:
    """Read cells with a Mamba-2 mixer, from the output of ``in_proj`` to the input of ``out_proj``.

    The steps are convolution and SiLU on [x | B | C], step sizes ``softplus(dt + dt_bias)``, the scan of
    :func:`ssd_scan`, and ``RMSNorm(y silu(z)) norm`` (Dao & Gu 2024, arXiv 2405.21060; ``mamba_ssm.Mamba2``).

    Parameters
    ----------
    projected
        [z | x | B | C | dt] of each token, (b, l, width).
    mask
        True at real tokens, (b, l). Pads change nothing, whatever they hold, and the output is 0 there.
    weights
        Weights of the mixer.
    directions
        ``"forward"`` reads left to right; ``"sum"`` adds the reading from right to left, with the same weights;
        ``"pair"`` stacks the two. The reading from right to left starts with the last real token.
    backend
        ``"auto"``, ``"reference"``, ``"chunked"``, ``"compiled"``, ``"triton"`` or ``"mamba_ssm"``, see
        :func:`choose_backend`.

    Returns
    -------
    The output, (b, l, d_inner), for ``"pair"`` (2, b, l, d_inner), aligned with ``projected`` and in its dtype.

    Raises
    ------
    ValueError
        If ``projected``, ``mask`` and ``weights`` do not fit each other, or there are no such ``directions``.
    ValueError, RuntimeError
        If :func:`choose_backend` raises it.
    """
    check_directions(directions)
    check_shapes(projected, mask, weights)
    name = choose_backend(projected.device, projected.dtype, backend).name
    if not projected.shape[1]:
        return as_read([projected[..., : len(weights.norm)]] * n_readings(directions), directions)
    if name in _FUSED:
        return _FUSED[name](projected, mask, weights, directions)
    return read_composed(_SCANS[name], projected, mask, weights, directions)


def ssd_scan(
    x: ScanInput,
    dt: ScanStep,
    A: ScanDecay,
    B: ScanProjection,
    C: ScanProjection,
    D: ScanDecay | None = None,
    *,
    chunk_size: int = 32,
    reverse: bool = False,
    backend: str = "auto",
) -> ScanInput:
    """Scan a batch of sequences with the selective state-space recurrence of Mamba-2.

    ``state_t = exp(dt_t A) state_{t-1} + dt_t x_t B_t^T``, ``y_t = state_t C_t + D x_t`` per head
    (Dao & Gu 2024, arXiv 2405.21060).

    Parameters
    ----------
    x
        Input, (b, l, h, p).
    dt
        Step sizes after softplus, (b, l, h); pads have 0 and then change nothing.
    A
        Decay per head, (h,), negative.
    B, C
        What enters the state and what reads it, (b, l, g, n); heads share them in g groups.
    D
        Weight of the direct connection per head, (h,).
    chunk_size
        Tokens per matrix product, at most 64: longer running sums lose digits in the gradient of ``A``.
    reverse
        Whether to read right to left: ``y_t`` then depends on the tokens from t on. Pads (``dt`` 0) may stand on either
        side.
    backend
        ``"auto"`` (mamba-ssm where it runs, otherwise chunked), ``"reference"``, ``"chunked"`` or ``"mamba_ssm"``. The
        fused backends are not among them: where ``GENEMAMBA_BACKEND`` names one, it is ``"auto"`` here.

    Returns
    -------
    The output, (b, l, h, p), in the dtype of ``x``.

    Raises
    ------
    ValueError
        If ``chunk_size`` is out of range, the groups do not divide the heads, or the backend is unknown.
    """
    if not 1 <= chunk_size <= MAX_CHUNK:
        raise ValueError(
            f"chunk_size must lie between 1 and {MAX_CHUNK}: longer running sums of the decay lose digits in the "
            f"gradient of A. Got chunk_size={chunk_size}. Use 32 or 64."
        )
    if x.shape[2] % B.shape[2]:
        raise ValueError(
            f"The number of groups must divide the number of heads. Got {B.shape[2]} groups and {x.shape[2]} heads. "
            "Choose ngroups among the divisors of expand * d_model / headdim."
        )
    scan = _SCANS[_scan_name(x.device, x.dtype, backend)]
    return scan(x, dt, A, B, C, D, chunk_size=chunk_size, reverse=reverse) if x.shape[1] else x.clone()


def _scan_name(device: torch.device, dtype: torch.dtype, requested: str) -> str:
    """Choose among the scans; fused kernels are none of them, because they know only the whole mixer."""
    if requested in _FUSED:
        raise ValueError(
            f"The backend of a scan alone must be one of {['auto', *_SCANS]}. Got {requested!r}, which fuses the scan "
            "with the rest of the mixer. Use 'auto', or read_tokens."
        )
    name = choose_backend(device, dtype, requested).name
    if name == "triton":
        return "chunked" if _mamba_ssm.why_not(torch.device(device), dtype) else "mamba_ssm"
    return "chunked" if name == "compiled" else name
