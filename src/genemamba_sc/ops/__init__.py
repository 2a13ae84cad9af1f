"""The scan: one door, several implementations.

``ssd_scan`` is the only function the rest of the package calls; which implementation runs is decided by
``choose_backend``, which says why.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from genemamba_sc._types import ScanDecay, ScanInput, ScanProjection, ScanStep
from genemamba_sc.ops import _mamba_ssm
from genemamba_sc.ops._chunked import ssd_chunked
from genemamba_sc.ops._conv import conv_silu
from genemamba_sc.ops._gated_norm import gated_rms_norm
from genemamba_sc.ops._mamba_ssm import ssd_mamba_ssm
from genemamba_sc.ops._reference import ssd_reference

__all__ = [
    "Backend",
    "Choice",
    "available_backends",
    "backend_info",
    "choose_backend",
    "conv_silu",
    "gated_rms_norm",
    "ssd_scan",
]

logger = logging.getLogger(__name__)

Backend = Literal["auto", "reference", "chunked", "mamba_ssm"]
MAX_CHUNK = 64


@dataclass(frozen=True)
class Choice:
    """A backend, and why it was taken."""

    name: str
    reason: str


def _reference(
    x: ScanInput,
    dt: ScanStep,
    A: ScanDecay,
    B: ScanProjection,
    C: ScanProjection,
    D: ScanDecay | None = None,
    *,
    chunk_size: int = MAX_CHUNK,
    reverse: bool = False,
) -> ScanInput:
    """Give the reference the signature of the others; it has no chunks."""
    del chunk_size
    return ssd_reference(x, dt, A, B, C, D, reverse=reverse)


_BACKENDS: dict[str, Callable[..., torch.Tensor]] = {
    "reference": _reference,
    "chunked": ssd_chunked,
    "mamba_ssm": ssd_mamba_ssm,
}


def available_backends(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[str, ...]:
    """Names of the backends that run on ``device`` in ``dtype`` (mamba-ssm is tried, not only imported)."""
    usable = _mamba_ssm.why_not(torch.device(device), dtype) is None
    return tuple(name for name in _BACKENDS if name != "mamba_ssm" or usable)


def choose_backend(device: torch.device | str, dtype: torch.dtype, requested: str = "auto") -> Choice:
    """Decide which implementation scans.

    Parameters
    ----------
    device, dtype
        Where and in which precision the scan runs.
    requested
        ``"auto"`` takes mamba-ssm where a real forward and backward on the device succeed, otherwise ``"chunked"``.
        A name takes that one.

    Raises
    ------
    ValueError
        If no backend has that name.
    RuntimeError
        If mamba-ssm is asked for and does not run here.
    """
    device = torch.device(device)
    if requested == "auto":
        return _automatic(device, dtype)
    if requested not in _BACKENDS:
        raise ValueError(
            f"The backend must be one of {['auto', *_BACKENDS]}. Got {requested!r}. "
            "Leave it at 'auto' to take the fastest one that runs on the device."
        )
    reason = _mamba_ssm.why_not(device, dtype) if requested == "mamba_ssm" else None
    if reason is not None:
        raise RuntimeError(
            f"The backend 'mamba_ssm' needs its CUDA kernels. Got: {reason}. "
            "Install genemamba-sc[cuda] on a machine with an NVIDIA GPU, or use backend='auto'."
        )
    return Choice(requested, "asked for")


def backend_info(device: torch.device | str | None = None, dtype: torch.dtype = torch.float32) -> Choice:
    """Say which backend scans on a device, and why.

    Parameters
    ----------
    device
        ``None``: the current CUDA GPU where there is one, otherwise the CPU.
    dtype
        Precision of the scan.

    Returns
    -------
    The choice: ``name`` and ``reason``.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return choose_backend(device, dtype)


@functools.cache
def _automatic(device: torch.device, dtype: torch.dtype) -> Choice:
    # Cached, so that the choice is made and logged once per device and dtype, not once per batch.
    reason = _mamba_ssm.why_not(device, dtype)
    choice = Choice("mamba_ssm", "its kernels run here") if reason is None else Choice("chunked", reason)
    logger.info("Scan backend on %s in %s: %s (%s).", device, dtype, choice.name, choice.reason)
    return choice


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
        Step sizes after softplus, (b, l, h); 0 at pads, which then change nothing.
    A
        Decay per head, (h,), negative.
    B, C
        What enters and what is read from the state, (b, l, g, n); heads share them in g groups.
    D
        Weight of the direct connection per head, (h,).
    chunk_size
        Tokens per matrix product, at most 64: longer running sums lose digits in the gradient of ``A``.
    reverse
        Read right to left: ``y_t`` then depends on the tokens from t on. Pads (``dt`` 0) may stand on either side.
    backend
        ``"auto"``, ``"reference"``, ``"chunked"`` or ``"mamba_ssm"``, see :func:`choose_backend`.

    Returns
    -------
    Output (b, l, h, p) in the dtype of ``x``.

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
    name = choose_backend(x.device, x.dtype, backend).name
    return _BACKENDS[name](x, dt, A, B, C, D, chunk_size=chunk_size, reverse=reverse)
