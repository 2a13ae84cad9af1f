"""The compiled forward pass of a Mamba-2 mixer between its two projections, one cell in one direction.

Convolution, SiLU, decay, scan, gate and norm pass over the cell once, a chunk of tokens at a time, and what lies
between them stays in a cache. Rows of ``projected`` are [z | x | B | C | dt].

The same cell gives the same bits wherever its arrays happen to lie in memory. Where two arrays lie close, compiled
code falls back from vectors to one number at a time, and takes a sum in another order: so loops that sum write nothing,
or work within one allocation, whose parts always lie the same.
"""

import numpy as np

from genemamba_sc.ops._fused_parts import convolve, decays, scan, silu_
from genemamba_sc.ops._numba import compiled, inlined, sigmoid

CHUNK = 16
# Entries of a state that stay in a first-level cache beside the rows that are streamed through it: 32 KiB.
_STATE_ELEMENTS = 8192


@compiled
def block_width(channels: int, n: int) -> int:
    """Channels whose states are updated together: as many as fit, in blocks of equal width where that divides."""
    width = max(1, min(channels, _STATE_ELEMENTS // n))
    while channels % width:
        width -= 1
    return width


@inlined
def place(m: int, span: tuple[int, int], reverse: bool) -> int:
    """Where the ``m``-th token read stands."""
    return span[1] - 1 - m if reverse else span[0] + m


@compiled
def connect(read: np.ndarray, D: np.ndarray, p: int, x: np.ndarray, lo: int, y: np.ndarray) -> None:
    """``y = read + D x`` of one token, for the channels from ``lo`` on."""
    done = 0
    while done < read.size:
        h = (lo + done) // p
        upto = min(read.size, (h + 1) * p - lo)
        weight = D[h]
        rh, xh, yh = read[done:upto], x[lo + done : lo + upto], y[lo + done : lo + upto]
        for c in range(rh.size):
            yh[c] = rh[c] + weight * xh[c]
        done = upto


@compiled
def gate(
    y: np.ndarray,
    z: np.ndarray,
    weight: np.ndarray,
    groups: int,
    eps: float,
    opened: np.ndarray,
    add: bool,
    out: np.ndarray,
) -> None:
    """``RMSNorm(y silu(z)) weight`` of one token, groups of channels apart; written to ``out`` or added to it.

    ``opened`` is a row to work in.
    """
    width = y.size // groups
    for g in range(groups):
        lo, hi = g * width, (g + 1) * width
        yg, zg, wg, og, gated = y[lo:hi], z[lo:hi], weight[lo:hi], out[lo:hi], opened[lo:hi]
        for c in range(width):
            gated[c] = yg[c] * zg[c] * sigmoid(zg[c])
        squares = np.float32(0)
        for c in range(width):
            squares += gated[c] * gated[c]
        scale = np.float32(1 / np.sqrt(squares / width + eps))
        if add:
            for c in range(width):
                og[c] += gated[c] * scale * wg[c]
        else:
            for c in range(width):
                og[c] = gated[c] * scale * wg[c]


@compiled
def read_cell(
    projected: np.ndarray,
    dt: np.ndarray,
    span: tuple[int, int],
    reverse: bool,
    taps: np.ndarray,
    bias: np.ndarray,
    A: np.ndarray,
    D: np.ndarray,
    weight: np.ndarray,
    groups: int,
    n: int,
    eps: float,
    add: bool,
    out: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Read the tokens of ``span`` and write, or add, the gated and normed output into ``out`` (l, d_inner).

    ``kept`` (l, d_inner) receives the scan's output in the order of reading, for the gradient; with no rows it is
    not kept.
    """
    first, last = span
    d_inner, heads = weight.size, A.size
    p, share = d_inner // heads, d_inner // groups
    width = block_width(share, n)
    back = -1 if reverse else 1
    n_blocks = d_inner // width
    room = np.zeros((n_blocks * n + 3 * CHUNK, width), dtype=np.float32)
    state, rest = room[: n_blocks * n], room[n_blocks * n :]
    a, u, read = rest[:CHUNK], rest[CHUNK : 2 * CHUNK], rest[2 * CHUNK :]
    v = np.empty((CHUNK, bias.size), dtype=np.float32)
    own, opened = np.empty((CHUNK, d_inner), dtype=np.float32), np.empty(d_inner, dtype=np.float32)
    for m in range(0, last - first, CHUNK):
        q = min(CHUNK, last - first - m)
        y = kept[m : m + q] if kept.shape[0] else own[:q]
        for i in range(q):
            convolve(projected, place(m + i, span, reverse), span, back, d_inner, taps, bias, v[i])
            silu_(v[i])
        for block in range(n_blocks):
            lo = block * width
            at_b = d_inner + lo // share * n
            for i in range(q):
                decays(dt[place(m + i, span, reverse)], A, p, v[i], lo, a[i], u[i])
            read[:q] = 0
            scan(state[block * n : (block + 1) * n], a[:q], u[:q], v[:q], at_b, at_b + groups * n, read[:q])
            for i in range(q):
                connect(read[i], D, p, v[i], lo, y[i])
        for i in range(q):
            t = place(m + i, span, reverse)
            gate(y[i], projected[t][:d_inner], weight, groups, eps, opened, add, out[t])


@compiled
def read_cells(
    projected: np.ndarray,
    dt: np.ndarray,
    spans: np.ndarray,
    taps: np.ndarray,
    bias: np.ndarray,
    A: np.ndarray,
    D: np.ndarray,
    weight: np.ndarray,
    groups: int,
    n: int,
    eps: float,
    first: int,
    last: int,
    reverse: bool,
    add: bool,
    out: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Read the cells from ``first`` to ``last`` of a batch; pads come out as 0."""
    for cell in range(first, last):
        span = (spans[cell, 0], spans[cell, 1])
        if not add:
            out[cell, : span[0]] = 0
            out[cell, span[1] :] = 0
        read_cell(
            projected[cell],
            dt[cell],
            span,
            reverse,
            taps,
            bias,
            A,
            D,
            weight,
            groups,
            n,
            eps,
            add,
            out[cell],
            kept[cell],
        )
