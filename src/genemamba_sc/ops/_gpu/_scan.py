"""The scan of a mixer: each program reads some channels of one head of a cell, chunk by chunk, and keeps their state.

The formulas are those of :mod:`genemamba_sc.ops._chunked`. The tokens of a chunk stand in reading order, so that both
directions are one code, and a cell ends with its last token, not with the batch.
"""

# mypy: disable-error-code="no-untyped-def"

from typing import NamedTuple

import torch
import triton
from torch import Tensor
from triton import language as tl

from genemamba_sc.ops._gpu._kernel import kernel, padded, product_precision


class Tile(NamedTuple):
    """Say how much a program holds: tokens of a chunk, and channels of a head. More would not stay in registers."""

    tokens: int
    channels: int


# Seen to be the fastest on an H100 with heads and states of 64 channels.
_READING = {torch.float32: Tile(32, 64), torch.bfloat16: Tile(64, 64)}
DIFFERENTIATING = {torch.float32: Tile(16, 32), torch.bfloat16: Tile(64, 64)}
# Eight warps read beyond their shared memory where a tile is 16 wide (Triton 3.6, found by compute-sanitizer).
WARPS = 4
_STAGES = 2
_LOG2E: tl.constexpr = tl.constexpr(1.4426950408889634)


class Scanned(NamedTuple):
    """Hold what the scans read.

    ``conv`` (ways, b, l, x) is [x | B | C] of each direction, ``dt`` (b, l, h) has no bias any more and is 0 at pads,
    ``last`` (b,) is the position after the last token of each cell.
    """

    conv: Tensor
    dt: Tensor
    A: Tensor
    D: Tensor
    last: Tensor
    n_groups: int
    d_state: int

    @property
    def d_inner(self) -> int:
        """Number of channels of x."""
        return self.conv.shape[3] - 2 * self.n_groups * self.d_state

    @property
    def headdim(self) -> int:
        """Number of channels of a head."""
        return self.d_inner // self.dt.shape[2]

    def slices(self, tile: Tile) -> int:
        """Return the number of programs that share a head."""
        return triton.cdiv(self.headdim, tile.channels)

    def sizes(self, tile: Tile) -> tuple[int, ...]:
        """Sizes for every kernel: b, l, channels, heads, heads per group, slices, chunks, p, n; then its blocks."""
        (_, b, l, x), heads = self.conv.shape, self.dt.shape[2]
        counts = (b, l, x, heads, heads // self.n_groups, self.slices(tile), triton.cdiv(l, tile.tokens))
        channels = min(tile.channels, padded(self.headdim))
        return *counts, self.headdim, self.d_state, channels, padded(self.d_state), tile.tokens

    def new_states(self) -> Tensor:
        """Make room for the state before each chunk, (ways, b, h, chunks, p, n)."""
        ways, b, l, _ = self.conv.shape
        chunks = triton.cdiv(l, DIFFERENTIATING[self.conv.dtype].tokens)
        return self.conv.new_empty((ways, b, self.dt.shape[2], chunks, self.headdim, self.d_state))


def scan(scanned: Scanned, y: Tensor, states: Tensor | None = None) -> None:
    """Write the output to ``y`` (ways, b, l, d_inner), and the state before each chunk to ``states`` where given.

    Positions from ``last`` on are not written.
    """
    conv, dt, A, D, last, _, _ = scanned
    tile = (_READING if states is None else DIFFERENTIATING)[conv.dtype]
    _scan[dt.shape[0] * dt.shape[2] * scanned.slices(tile), len(conv)](
        conv, dt, A, D, last, y, y if states is None else states, *scanned.sizes(tile),
        states is not None, product_precision(), num_warps=WARPS, num_stages=_STAGES,
    )  # fmt: skip


@kernel
def chunk_decay(start, n_read, way, dt, A, heads, Q: tl.constexpr):
    """Return positions, which of them are tokens, steps, running sums of the decay's base-2 log, and its total."""
    order = start + tl.arange(0, Q)
    known = order < n_read
    token = tl.where(way == 0, order, n_read - 1 - order)
    step = tl.load(dt + token * heads, mask=known, other=0.0)
    log_decay = step * (A * _LOG2E)
    return token, known, step, tl.cumsum(log_decay, 0), tl.sum(log_decay, 0)


@kernel
def decay_within(running, Q: tl.constexpr):
    """Return what token s has left at token t, (t, s); 0 where s comes after t."""
    order = tl.arange(0, Q)
    reached = order[:, None] >= order[None, :]
    return tl.where(reached, tl.exp2(tl.where(reached, running[:, None] - running[None, :], 0.0)), 0.0)


@kernel
def load_rows(rows, token, stride, channel, n_channels, known):
    """Load channels of some tokens, 0 beyond both."""
    return tl.load(
        rows + token[:, None] * stride + channel[None, :],
        mask=known[:, None] & (channel < n_channels)[None, :],
        other=0.0,
    )


@kernel
def _scan(
    conv, dt, A, D, last, y, states, b, l, x, heads, per_group, slices, chunks, p, n, P: tl.constexpr, N: tl.constexpr,
    Q: tl.constexpr, KEEP: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    at_p = (tl.program_id(0) % slices) * P + tl.arange(0, P)
    head = (tl.program_id(0) // slices) % heads
    cell = (tl.program_id(0) // (slices * heads)).to(tl.int64)
    way = tl.program_id(1)
    n_read = tl.load(last + cell)
    row = (way * b + cell) * l
    d_inner = heads * p
    groups = heads // per_group
    values = conv + row * x + head * p
    keys = conv + row * x + d_inner + (head // per_group) * n
    out = y + row * d_inner + head * p
    kept = states + ((way * b + cell) * heads + head) * chunks * p * n
    steps = dt + cell * l * heads + head
    decay, direct = tl.load(A + head), tl.load(D + head)
    at_n = tl.arange(0, N)
    within_state = (at_p < p)[:, None] & (at_n < n)[None, :]
    state = tl.zeros((P, N), tl.float32)
    for start in range(0, n_read, Q):
        token, known, step, running, total = chunk_decay(start, n_read, way, steps, decay, heads, Q)
        if KEEP:
            place = kept + (start // Q) * p * n + at_p[:, None] * n + at_n[None, :]
            tl.store(place, state, mask=within_state)
        value = load_rows(values, token, x, at_p, p, known)
        B = load_rows(keys, token, x, at_n, n, known)
        C = load_rows(keys + groups * n, token, x, at_n, n, known)
        mixing = tl.dot(C, tl.trans(B), input_precision=DOT) * decay_within(running, Q) * step[None, :]
        result = tl.dot(mixing.to(value.dtype), value, input_precision=DOT)
        read = tl.dot(C, tl.trans(state.to(value.dtype)), input_precision=DOT)
        result += tl.exp2(running)[:, None] * read + direct * value
        tl.store(out + token[:, None] * d_inner + at_p[None, :], result, mask=known[:, None] & (at_p < p)[None, :])
        written = value * (step * tl.exp2(total - running))[:, None]
        state = tl.exp2(total) * state + tl.dot(tl.trans(written.to(value.dtype)), B, input_precision=DOT)
