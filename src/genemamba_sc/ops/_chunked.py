"""The scan as matrix products over chunks of tokens (SSD form), in plain torch: any device, any dtype."""

import torch
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc._types import ScanDecay, ScanInput, ScanProjection, ScanStep


def ssd_chunked(
    x: ScanInput,
    dt: ScanStep,
    A: ScanDecay,
    B: ScanProjection,
    C: ScanProjection,
    D: ScanDecay | None = None,
    *,
    chunk_size: int = 32,
) -> ScanInput:
    """Compute what :func:`ssd_reference` computes, chunk by chunk (arXiv 2405.21060, section 6)."""
    b, l, h, p = x.shape
    g, n = B.shape[2:]
    work = torch.promote_types(x.dtype, torch.float32)
    q = min(chunk_size, l)
    c = -(-l // q)
    pad = c * q - l
    X, dt_, B_, C_ = (F.pad(t.to(work), (0, 0) * (t.ndim - 2) + (0, pad)) for t in (x, dt, B, C))
    steps = dt_.view(b, c, q, h).permute(0, 1, 3, 2)
    total = torch.cumsum(steps * A.to(work)[:, None], dim=-1)
    U = X.view(b, c, q, h, p).permute(0, 1, 3, 2, 4) * steps[..., None]
    B_ = B_.view(b, c, q, g, n).permute(0, 1, 3, 2, 4)
    C_ = C_.view(b, c, q, g, n).permute(0, 1, 3, 2, 4)
    upper = torch.ones(q, q, dtype=torch.bool, device=x.device).triu(1)
    decay = (total[..., :, None] - total[..., None, :]).masked_fill(upper, -torch.inf).exp()
    scores = (C_ @ B_.transpose(-1, -2)).repeat_interleave(h // g, 2) * decay
    y = scores @ U
    end = total[..., -1:]
    Bh = B_.repeat_interleave(h // g, 2) * (end - total).exp()[..., None]
    Ch = C_.repeat_interleave(h // g, 2) * total.exp()[..., None]
    local = Bh.transpose(-1, -2) @ U
    carry = end.exp()[..., None]
    state = torch.zeros_like(local[:, 0])
    states: list[Tensor] = []
    for i in range(c):
        states.append(state)
        state = carry[:, i] * state + local[:, i]
    y = y + Ch @ torch.stack(states, 1)
    y = y.permute(0, 1, 3, 2, 4).reshape(b, c * q, h, p)[:, :l]
    if D is not None:
        y = y + D.to(work)[:, None] * x.to(work)
    return y.to(x.dtype)
