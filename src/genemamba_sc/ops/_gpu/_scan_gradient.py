"""The gradient of the scan: each program goes back through some channels of a head, from its last chunk."""

# mypy: disable-error-code="no-untyped-def"

from typing import NamedTuple

from torch import Tensor
from triton import language as tl

from genemamba_sc.ops._gpu._kernel import kernel, product_precision
from genemamba_sc.ops._gpu._scan import DIFFERENTIATING, WARPS, Scanned, chunk_decay, decay_within, load_rows


class ScanGradients(NamedTuple):
    """Hold the gradients: of ``dt`` (parts, b, l, h), to be summed and not written after a cell; of A and D (h,)."""

    dt: Tensor
    A: Tensor
    D: Tensor


def scan_gradient(scanned: Scanned, states: Tensor, dy: Tensor, dconv: Tensor) -> ScanGradients:
    """Write the gradient of ``scanned.conv`` to ``dconv``, and return the others.

    Every program adds to the gradients of dt and of B and C of its group. Each writes its part, and the parts are
    summed in a fixed order, so that the same input gives the same bits.
    """
    conv, dt, A, D, last, groups, n = scanned
    (ways, b, l, _), heads, d_inner = conv.shape, dt.shape[2], scanned.d_inner
    tile = DIFFERENTIATING[conv.dtype]
    slices = scanned.slices(tile)
    dB, dC = (conv.new_empty((ways, b, heads * slices, l, n)) for _ in range(2))
    ddt = dt.new_empty((slices, ways, b, l, heads))
    dA, dD = (dt.new_empty((ways * b, heads, slices)) for _ in range(2))
    _scan_gradient[b * heads * slices, ways](
        conv, dt, A, D, last, states, dy, dconv, dB, dC, ddt, dA, dD, *scanned.sizes(tile),
        product_precision(), num_warps=WARPS, num_stages=1,
    )  # fmt: skip
    for i, parts in enumerate((dB, dC)):
        place = dconv[..., d_inner + i * groups * n :][..., : groups * n].unflatten(-1, (groups, n))
        place.copy_(parts.unflatten(2, (groups, -1)).sum(3, dtype=dt.dtype).transpose(2, 3))
    return ScanGradients(ddt.flatten(0, 1), dA.sum((0, 2)), dD.sum((0, 2)))


@kernel
def _scan_gradient(
    conv, dt, A, D, last, states, dy, dconv, dB, dC, ddt, dA, dD, b, l, x, heads, per_group, slices, chunks, p, n,
    P: tl.constexpr, N: tl.constexpr, Q: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0) % slices
    at_p = part * P + tl.arange(0, P)
    head = (tl.program_id(0) // slices) % heads
    cell = (tl.program_id(0) // (slices * heads)).to(tl.int64)
    way = tl.program_id(1)
    n_read = tl.load(last + cell)
    row = (way * b + cell) * l
    d_inner = heads * p
    groups = heads // per_group
    values = conv + row * x + head * p
    keys = conv + row * x + d_inner + (head // per_group) * n
    scan = (way * b + cell) * heads + head
    steps = dt + cell * l * heads + head
    decay, direct = tl.load(A + head), tl.load(D + head)
    at_n, order = tl.arange(0, N), tl.arange(0, Q)
    within_state = (at_p < p)[:, None] & (at_n < n)[None, :]
    dstate = tl.zeros((P, N), tl.float32)
    ddecay, ddirect = 0.0, 0.0
    n_chunks = tl.cdiv(n_read, Q)
    for back in range(0, n_chunks):
        chunk = n_chunks - 1 - back
        token, known, step, running, total = chunk_decay(chunk * Q, n_read, way, steps, decay, heads, Q)
        place = states + (scan * chunks + chunk) * p * n + at_p[:, None] * n + at_n[None, :]
        state = tl.load(place, mask=within_state, other=0.0)
        value = load_rows(values, token, x, at_p, p, known)
        B = load_rows(keys, token, x, at_n, n, known)
        C = load_rows(keys + groups * n, token, x, at_n, n, known)
        g = load_rows(dy + row * d_inner + head * p, token, d_inner, at_p, p, known)
        kind: tl.constexpr = value.dtype
        from_start, to_end, across = tl.exp2(running), tl.exp2(total - running), tl.exp2(total)
        entering = (value * step[:, None]).to(kind)
        dstate_kind = dstate.to(kind)

        within = decay_within(running, Q)
        mixing = tl.dot(C, tl.trans(B), input_precision=DOT) * within
        dentering = tl.dot(tl.trans(mixing.to(kind)), g, input_precision=DOT)
        dentering += to_end[:, None] * tl.dot(B, tl.trans(dstate_kind), input_precision=DOT)
        dmixing = tl.dot(g, tl.trans(entering), input_precision=DOT)
        # The diagonal does not depend on the decay: if it stayed in, it would cancel only up to rounding.
        pairs = tl.where(order[:, None] == order[None, :], 0.0, dmixing * mixing)
        dscores = (dmixing * within).to(kind)
        read = from_start[:, None] * tl.dot(g, state, input_precision=DOT)
        written = to_end[:, None] * tl.dot(entering, dstate_kind, input_precision=DOT)
        leaving = tl.sum(B * written, 1)
        drunning = tl.sum(pairs, 1) - tl.sum(pairs, 0) + tl.sum(C * read, 1) - leaving
        dlog = tl.cumsum(drunning, 0, reverse=True) + tl.sum(leaving, 0) + across * tl.sum(state * dstate)

        of_head = ((scan * slices + part) * l + token)[:, None] * n + at_n[None, :]
        kept = known[:, None] & (at_n < n)[None, :]
        tl.store(dC + of_head, read + tl.dot(dscores, B, input_precision=DOT), mask=kept)
        tl.store(dB + of_head, written + tl.dot(tl.trans(dscores), C, input_precision=DOT), mask=kept)
        tl.store(
            dconv + row * x + head * p + token[:, None] * x + at_p[None, :],
            dentering * step[:, None] + direct * g,
            mask=known[:, None] & (at_p < p)[None, :],
        )
        here = part * tl.num_programs(1) * b * l + row + token
        tl.store(ddt + here * heads + head, dlog * decay + tl.sum(dentering * value, 1), mask=known)
        ddecay += tl.sum(dlog * step)
        ddirect += tl.sum(g.to(tl.float32) * value)
        dstate = across * dstate + tl.dot(tl.trans((g * from_start[:, None]).to(kind)), C, input_precision=DOT)
    tl.store(dA + scan * slices + part, ddecay)
    tl.store(dD + scan * slices + part, ddirect)
