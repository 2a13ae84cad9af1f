"""Run the recurrence step by step, one token at a time: slow on purpose, the reference that tests every backend."""

import torch

from genemamba_sc._types import ScanDecay, ScanInput, ScanProjection, ScanStep


def ssd_reference(
    x: ScanInput,
    dt: ScanStep,
    A: ScanDecay,
    B: ScanProjection,
    C: ScanProjection,
    D: ScanDecay | None = None,
    *,
    reverse: bool = False,
) -> ScanInput:
    """Run the state-space recurrence of Mamba-2 literally.

    For every head: ``state_t = exp(dt_t A) state_{t-1} + dt_t x_t B_t^T`` and ``y_t = state_t C_t + D x_t``
    (Dao & Gu 2024, arXiv 2405.21060, eq. 1-2 with scalar ``A``). Differentiable by autograd.

    Parameters
    ----------
    x
        Input, (b, l, h, p).
    dt
        Step sizes after softplus, (b, l, h); 0 keeps the state.
    A
        Decay per head, (h,), negative.
    B, C
        What enters the state and what reads it, (b, l, g, n); g divides h.
    D
        Weight of the direct connection per head, (h,).
    reverse
        Whether to read right to left.

    Returns
    -------
    The output, (b, l, h, p), in the dtype of ``x``; half precisions are computed in float32.
    """
    work = torch.promote_types(x.dtype, torch.float32)
    per_group = x.shape[2] // B.shape[2]
    steps, weight = dt.to(work), x.to(work)
    enters = B.to(work).repeat_interleave(per_group, dim=2)
    read = C.to(work).repeat_interleave(per_group, dim=2)
    decay = torch.exp(steps * A.to(work))
    state = weight.new_zeros(x.shape[0], x.shape[2], x.shape[3], B.shape[3])
    outputs = [state.sum(-1)] * x.shape[1]
    for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
        entering = (steps[:, t, :, None] * weight[:, t])[..., None] * enters[:, t, :, None, :]
        state = decay[:, t, :, None, None] * state + entering
        outputs[t] = (state * read[:, t, :, None, :]).sum(-1)
    y = torch.stack(outputs, dim=1)
    if D is not None:
        y = y + D.to(work)[:, None] * weight
    return y.to(x.dtype)


def reference_scan(
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
    """Give the reference the signature of the others; it has no chunks."""
    del chunk_size
    return ssd_reference(x, dt, A, B, C, D, reverse=reverse)
