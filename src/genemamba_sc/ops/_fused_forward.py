"""Compute the forward pass of a Mamba-2 mixer between its two projections, compiled, one cell in one direction.

Convolution, SiLU, decay, scan, gate and norm pass over the cell once, a chunk of tokens at a time, so that intermediate
values stay in a cache. Rows of ``projected`` are [z | x | B | C | dt].

The same cell gives the same bits wherever its arrays lie in memory. Where two arrays lie close together, compiled code
falls back from vectors to one number at a time, and sums in another order. So loops that sum write nothing, or work
within one allocation, whose parts always lie the same.
"""

import numpy as np

from genemamba_sc.ops._fused_arrays import Batch, Block, Cell, Mixer, Room, Way
from genemamba_sc.ops._fused_parts import connect, convolve, decays, gate, silu_
from genemamba_sc.ops._fused_scan import scan
from genemamba_sc.ops._numba import compiled, inlined

CHUNK = 16
# Number of state entries that fit in a first-level cache beside the rows that stream through it: 32 KiB.
_STATE_ELEMENTS = 8192


@compiled
def block_width(channels: int, n: int) -> int:
    """Choose how many channels are updated together: as many as fit, in blocks of equal width where that divides."""
    width = max(1, min(channels, _STATE_ELEMENTS // n))
    while channels % width:
        width -= 1
    return width


@compiled
def new_room(mixer: Mixer) -> Room:
    """Allocate working memory, with the states at 0."""
    d_inner, n = mixer.norm.size, mixer.n
    width = block_width(d_inner // mixer.groups, n)
    states = d_inner // width * n
    room = np.zeros((states + 4 * CHUNK, width), dtype=np.float32)
    rows = room[states:]
    return Room(
        room[:states],
        rows[:CHUNK],
        rows[CHUNK : 2 * CHUNK],
        rows[2 * CHUNK : 3 * CHUNK],
        rows[3 * CHUNK :],
        np.empty((CHUNK, mixer.bias.size), dtype=np.float32),
        np.empty(d_inner, dtype=np.float32),
    )


@compiled
def cell_of(batch: Batch, index: int) -> Cell:
    """Take one cell of a batch."""
    way = Way(batch.spans[index, 0], batch.spans[index, 1], -1 if batch.reverse else 1)
    return Cell(batch.projected[index], batch.dt[index], way)


@inlined
def place(m: int, way: Way) -> int:
    """Return the position of the ``m``-th token that is read."""
    return way.first + m if way.back == 1 else way.last - 1 - m


@inlined
def columns(lo: int, d_inner: int, groups: int, n: int) -> tuple[int, int, int]:
    """Return where B and C of channel ``lo`` begin: among those of all groups, and both in [x | B | C]."""
    at = lo // (d_inner // groups) * n
    return at, d_inner + at, d_inner + at + groups * n


@compiled
def read_cell(cell: Cell, mixer: Mixer, add: bool, out: np.ndarray, kept: np.ndarray) -> None:
    """Read a cell and write, or add, the gated and normed output into ``out`` (l, d_inner).

    ``kept`` (l, d_inner) receives the scan's output in the order of reading, for the gradient; if it has no rows, the
    output is not kept.
    """
    projected, dt, way = cell
    taps, bias, A, D, norm, groups, n, eps = mixer
    length, d_inner, p = way.last - way.first, norm.size, norm.size // A.size
    state, a, u, read, _, v, opened = new_room(mixer)
    width = u.shape[1]
    own = np.empty((CHUNK, d_inner), dtype=np.float32)
    for m in range(0, length, CHUNK):
        q = min(CHUNK, length - m)
        y = kept[m : m + q] if kept.shape[0] else own[:q]
        for i in range(q):
            convolve(projected, place(m + i, way), way, d_inner, taps, bias, v[i])
            silu_(v[i])
        for index in range(d_inner // width):
            lo = index * width
            for i in range(q):
                decays(dt[place(m + i, way)], A, p, v[i], lo, a[i], u[i])
            read[:q] = 0
            at, at_b, at_c = columns(lo, d_inner, groups, n)
            scan(Block(state[index * n : (index + 1) * n], a[:q], u[:q], v[:q], at, at_b, at_c), read[:q])
            for i in range(q):
                connect(read[i], D, p, v[i], lo, y[i])
        for i in range(q):
            t = place(m + i, way)
            gate(y[i], projected[t][:d_inner], norm, groups, eps, opened, add, out[t])


@compiled
def read_cells(batch: Batch, mixer: Mixer, add: bool, out: np.ndarray, kept: np.ndarray) -> None:
    """Read cells of a batch; the output is 0 at pads."""
    for index in range(batch.first, batch.last):
        cell = cell_of(batch, index)
        if not add:
            out[index, : cell.way.first] = 0
            out[index, cell.way.last :] = 0
        read_cell(cell, mixer, add, out[index], kept[index])
