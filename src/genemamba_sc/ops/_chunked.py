"""Compute the scan as matrix products over chunks of tokens, in plain torch: any device, any dtype.

Within a chunk of q tokens, with ``u = dt x`` and ``r_t`` the running sum of ``dt A`` from the chunk's start to t,

* ``y_t = sum_{s <= t} (C_t . B_s) exp(r_t - r_s) u_s  +  exp(r_t) C_t state_in``,
* ``state_out = exp(r_end) state_in + sum_s exp(r_end - r_s) B_s u_s``

(Dao & Gu 2024, arXiv 2405.21060, section 6). Every exponent is at most 0. Right to left the formulas are the same, with
``r_t`` summed from t to the chunk's end, ``s >= t``, and the chunks in the other order: no reversed copy is made.

The gradient is written out, because autograd would keep every (q, q) intermediate. Only the inputs are kept, and the
backward pass computes again what it needs of the forward pass. The batch is cut into slabs whose temporaries fit in a
cache.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from genemamba_sc._types import ScanDecay, ScanInput, ScanProjection, ScanStep
from genemamba_sc.ops._slabs import slabs

_LOG2E = math.log2(math.e)


def ssd_chunked(
    x: ScanInput,
    dt: ScanStep,
    A: ScanDecay,
    B: ScanProjection,
    C: ScanProjection,
    D: ScanDecay | None = None,
    *,
    chunk_size: int = 32,
    reverse: bool = False,
) -> ScanInput:
    """Compute what :func:`ssd_reference` computes, chunk by chunk; once differentiable, memory linear in l."""
    D = x.new_zeros(x.shape[2]) if D is None else D
    return _ChunkedScan.apply(x, dt, A, B, C, D, min(chunk_size, x.shape[1]), reverse)


class _Scan(NamedTuple):
    """Hold what is scanned: the tensors of :func:`ssd_chunked`, of all cells or of a slab of them."""

    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor

    def of(self, rows: slice) -> "_Scan":
        """Return the scan of some cells."""
        return _Scan(self.x[rows], self.dt[rows], self.A, self.B[rows], self.C[rows], self.D)


class _Chunks(NamedTuple):
    """Hold a slab cut into chunks; k = chunks x cells x heads, chunks outermost, and kg has groups for heads."""

    u: Float[Tensor, "k q p"]
    steps: Float[Tensor, "c s h q"]
    B: Float[Tensor, "kg q n"]
    C: Float[Tensor, "kg q n"]
    from_start: Float[Tensor, "c s h q"]  # exp(r_t): what is left of the state that entered
    to_end: Float[Tensor, "c s h q"]  # exp(r_end - r_t)
    across: Float[Tensor, "c s h 1"]  # exp(r_end)
    within: Float[Tensor, "c s h q q"]  # exp(r_t - r_s), 0 where s is not yet read
    scores: Float[Tensor, "c s g 1 q q"]  # C_t . B_s


class _ChunkedScan(torch.autograd.Function):
    """Compute the chunked scan and its gradient, slab by slab."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, q: int, reverse: bool
    ) -> Tensor:
        ctx.save_for_backward(x, dt, A, B, C, D)
        ctx.q, ctx.reverse = q, reverse
        scan, y = _Scan(x, dt, A, B, C, D), torch.empty(x.shape, dtype=x.dtype, device=x.device)
        with _without_autocast(x.device):
            for rows in slabs(x):
                _forward_slab(y[rows], scan.of(rows), q, reverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        scan = _Scan(*ctx.saved_tensors)
        x, dt, A, B, C, D = scan
        gradients = tuple(torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (x, dt, B, C))
        work = torch.promote_types(x.dtype, torch.float32)
        dA, dD = (torch.zeros(t.shape, dtype=work, device=t.device) for t in (A, D))
        with _without_autocast(x.device):
            for rows in slabs(x):
                parts = tuple(t[rows] for t in gradients)
                dA_slab, dD_slab = _backward_slab(parts, dy[rows], scan.of(rows), ctx.q, ctx.reverse)
                dA += dA_slab
                dD += dD_slab
        dx, ddt, dB, dC = gradients
        return dx, ddt, dA.to(A.dtype), dB, dC, dD.to(D.dtype), None, None


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


def _cut(t: Tensor, q: int) -> Tensor:
    """Cut (s, l, heads, ...) into (chunks, s, heads, q, ...); zeros fill up l."""
    pad = -t.shape[1] % q
    if pad:
        t = F.pad(t, (0, 0) * (t.ndim - 2) + (0, pad))
    return t.unflatten(1, (-1, q)).movedim(1, 0).transpose(2, 3)


def _put(out: Tensor, t: Tensor) -> None:
    """Write (chunks, s, heads, q, ...) into ``out`` (s, l, heads, ...), without the filling zeros."""
    q = t.shape[3]
    if out.shape[1] % q:
        out.copy_(t.transpose(2, 3).movedim(0, 1).flatten(1, 2)[:, : out.shape[1]])
    else:
        _cut(out, q).copy_(t)


def _running(t: Tensor, reverse: bool) -> Tensor:
    return t.flip(-1).cumsum(-1).flip(-1) if reverse else t.cumsum(-1)


def _prepare(scan: _Scan, q: int, reverse: bool) -> _Chunks:
    x, dt, A, B, C, _ = scan
    work = torch.promote_types(x.dtype, torch.float32)
    steps = _cut(dt.to(work), q).contiguous()
    cells = _cut(x.to(work), q)
    # exp2 is several times faster than exp on common CPUs.
    log_decay = _running(steps * (A.to(work) * _LOG2E)[:, None], reverse)
    end = log_decay[..., :1] if reverse else log_decay[..., -1:]
    within = log_decay[..., :, None] - log_decay[..., None, :]
    within = within.exp2_().triu_() if reverse else within.exp2_().tril_()
    keys, queries = (_cut(t.to(work), q).reshape(-1, q, t.shape[-1]) for t in (B, C))
    scores = torch.bmm(queries, keys.transpose(1, 2))
    return _Chunks(
        u=torch.mul(
            cells, steps[..., None], out=torch.empty_like(cells, memory_format=torch.contiguous_format)
        ).flatten(0, 2),
        steps=steps,
        B=keys,
        C=queries,
        from_start=log_decay.exp2(),
        to_end=(end - log_decay).exp2_(),
        across=end.exp2(),
        within=within,
        scores=scores.view(*steps.shape[:2], B.shape[2], 1, q, q),
    )


def _per_head(t: Tensor, weight: Tensor) -> Tensor:
    """Multiply rows (kg, q, n) of each group by a weight per head (c, s, h, q) -> (k, q, n)."""
    c, s, h, q = weight.shape
    g = t.shape[0] // (c * s)
    return (t.view(c, s, g, 1, q, -1) * weight.view(c, s, g, h // g, q, 1)).view(c * s * h, q, -1)


def _per_group(t: Tensor, heads: int) -> Tensor:
    """Sum over the heads of each group: (k, q, m) -> (kg, q, m)."""
    return t if heads == 1 else t.unflatten(0, (-1, heads)).sum(1)


def _carry(local: Tensor, across: Tensor, reverse: bool) -> None:
    """Run ``local[i] += across[i] * local[the chunk before]`` over the chunks, in place."""
    chunks = list(zip(local.view(len(across), -1, local.shape[1] * local.shape[2]).unbind(0), across.flatten(1, 2)))
    before = None
    for here, decay in reversed(chunks) if reverse else chunks:
        if before is not None:
            here.addcmul_(decay, before)
        before = here


def _states(chunks: _Chunks, reverse: bool) -> tuple[Tensor, Tensor]:
    """Compute the state after each chunk (k, n, p), and the rows that were written to it (k, q, n)."""
    written = _per_head(chunks.B, chunks.to_end)
    states = torch.bmm(written.transpose(1, 2), chunks.u)
    _carry(states, chunks.across, reverse)
    return states, written


def _neighbours(chunks: _Chunks, reverse: bool) -> tuple[slice, slice]:
    """Return two slices of k: chunks that have one before them in reading order, and the chunks before those."""
    step = chunks.steps.shape[1] * chunks.steps.shape[2]
    later, earlier = slice(step, None), slice(0, max(chunks.u.shape[0] - step, 0))
    return (earlier, later) if reverse else (later, earlier)


def _mixing(chunks: _Chunks) -> Tensor:
    """Compute ``scores * within`` for each head, (k, q, q)."""
    c, s, h, q = chunks.steps.shape
    g = chunks.scores.shape[2]
    return (chunks.within.view(c, s, g, h // g, q, q) * chunks.scores).view(c * s * h, q, q)


def _forward_slab(out: Tensor, scan: _Scan, q: int, reverse: bool) -> None:
    chunks = _prepare(scan, q, reverse)
    states, _ = _states(chunks, reverse)
    later, earlier = _neighbours(chunks, reverse)
    y = torch.bmm(_mixing(chunks), chunks.u)
    y[later].baddbmm_(_per_head(chunks.C, chunks.from_start)[later], states[earlier])
    y = y.view(*chunks.steps.shape, -1)
    _put(out, y.addcmul_(_cut(scan.x, q), scan.D[:, None, None].to(y.dtype)))


def _backward_slab(out: tuple[Tensor, ...], dy: Tensor, scan: _Scan, q: int, reverse: bool) -> tuple[Tensor, Tensor]:
    chunks = _prepare(scan, q, reverse)
    work, shape, groups = chunks.u.dtype, chunks.steps.shape, scan.B.shape[2]
    g, cells = _cut(dy.to(work), q).contiguous(), _cut(scan.x, q)
    du, dB, dC, dlog = _chunk_gradients(chunks, g.flatten(0, 2), groups, reverse)
    du = du.view(g.shape)
    ddt = (du * cells).sum(-1).add_(dlog * scan.A.to(work)[:, None])
    dD = (g * cells).sum((0, 1, 3, 4))
    dx = du.mul_(chunks.steps[..., None]).addcmul_(g, scan.D[:, None, None].to(work))
    cut = (*shape[:2], groups, q, -1)
    for whole, part in zip(out, (dx, ddt, dB.view(cut), dC.view(cut)), strict=True):
        _put(whole, part)
    return (dlog * chunks.steps).sum((0, 1, 3)), dD


def _chunk_gradients(chunks: _Chunks, g: Tensor, groups: int, reverse: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute gradients of u (k, q, p), B and C (kg, q, n), ``dt A`` (c, s, h, q) from that of y, ``g`` (k, q, p)."""
    states, written = _states(chunks, reverse)
    later, earlier = _neighbours(chunks, reverse)
    read = _per_head(chunks.C, chunks.from_start)

    # First the gradient of the state that enters each chunk, then that of u.
    dstates = torch.bmm(read.transpose(1, 2), g)
    _carry(dstates, chunks.across, not reverse)
    du = torch.bmm(_mixing(chunks).transpose(1, 2), g)
    du[earlier].baddbmm_(written[earlier], dstates[later])

    dread, dwritten = torch.zeros_like(read), torch.zeros_like(written)
    torch.bmm(g[later], states[earlier].transpose(1, 2), out=dread[later])
    torch.bmm(chunks.u[earlier], dstates[later].transpose(1, 2), out=dwritten[earlier])
    dwithin = torch.bmm(g, chunks.u.transpose(1, 2)).mul_(chunks.within.flatten(0, 2))
    dlog = _decay_gradient(
        chunks,
        dwithin=dwithin,
        dread=dread * read,
        dwritten=dwritten * written,
        states=states,
        dstates=dstates,
        reverse=reverse,
    )

    n_heads = chunks.steps.shape[2]
    dscores, dread, dwritten = (
        _per_group(t, n_heads // groups)
        for t in (
            dwithin,
            dread.mul_(chunks.from_start.flatten(0, 2)[..., None]),
            dwritten.mul_(chunks.to_end.flatten(0, 2)[..., None]),
        )
    )
    dB = torch.bmm(dscores.transpose(1, 2), chunks.C).add_(dwritten)
    return du, dB, torch.bmm(dscores, chunks.B).add_(dread), dlog


def _decay_gradient(
    chunks: _Chunks,
    *,
    dwithin: Tensor,
    dread: Tensor,
    dwritten: Tensor,
    states: Tensor,
    dstates: Tensor,
    reverse: bool,
) -> Tensor:
    """Compute the gradient of ``dt A``, (c, s, h, q)."""
    c, s, h, q = chunks.steps.shape
    g = chunks.scores.shape[2]
    # The diagonal does not depend on the decay: if it stayed in, it would cancel only up to rounding.
    pairs = (dwithin.view(c, s, g, h // g, q, q) * chunks.scores).view(c, s, h, q, q)
    pairs.diagonal(dim1=-2, dim2=-1).zero_()
    leaving = dwritten.sum(-1).view(c, s, h, q)
    drunning = pairs.sum(-1) - pairs.sum(-2) + dread.sum(-1).view(c, s, h, q) - leaving
    dend = leaving.sum(-1, keepdim=True)
    if c > 2:
        after, before = dstates.view(c, s, h, -1), states.view(c, s, h, -1)
        after, before = (after[:-2], before[2:]) if reverse else (after[2:], before[:-2])
        dend[1:-1] += chunks.across[1:-1] * (after * before).sum(-1, keepdim=True)
    return _running(drunning, not reverse) + dend
