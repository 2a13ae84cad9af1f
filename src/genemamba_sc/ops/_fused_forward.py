"""Compute the forward pass of a Mamba-2 mixer between its two projections, compiled, one cell in one direction.

Convolution, SiLU, decay, scan, gate and norm pass over the cell once, a chunk of tokens at a time, so that intermediate
values stay in a cache. Rows of ``projected`` are [z | x | B | C | dt].

The same cell gives the same bits wherever its arrays lie in memory. Where two arrays lie close together, compiled code
falls back from vectors to one number at a time, and sums in another order. So loops that sum write nothing, or work
within one allocation, whose parts always lie the same.
"""

import numpy as np

from genemamba_sc.ops._fused_arrays import Batch, Block, Cell, Mixer, Room, Way
from genemamba_sc.ops._fused_parts import convolve, copy, enter, fill_window, gate, open_gates, silu
from genemamba_sc.ops._fused_scan import scan
from genemamba_sc.ops._numba import compiled, inlined, part

CHUNK = 16
# Number of state entries that fit in a first-level cache beside the rows that stream through it: 32 KiB.
_STATE_ELEMENTS = 8192


@part
def block_width(p: int, n: int) -> int:
    """Choose how many channels of a head are updated together: as many as fit, in blocks of equal width."""
    width = max(1, min(p, _STATE_ELEMENTS // n))
    while p % width:
        width -= 1
    return width


@part
def aligned_zeros(size: int) -> np.ndarray:
    """Allocate zeros that begin with a line of the cache: vectors that straddle two lines cost a fifth of the scan."""
    line = 16
    raw = np.zeros(size + line, dtype=np.float32)
    skipped = -(raw.ctypes.data // raw.itemsize) % line
    return raw[skipped : skipped + size]


@part
def new_room(mixer: Mixer) -> Room:
    """Allocate working memory, with the states at 0."""
    d_inner, n, channels = mixer.norm.size, mixer.n, mixer.bias.size
    width = block_width(d_inner // mixer.A.size, n)
    states = d_inner // width * n
    n_rows = states + 3 * CHUNK
    room = aligned_zeros(n_rows * width).reshape(n_rows, width)
    rows = room[states:]
    return Room(
        room[:states],
        np.empty(CHUNK, dtype=np.float32),
        rows[:CHUNK],
        rows[CHUNK : 2 * CHUNK],
        rows[2 * CHUNK :],
        np.empty((CHUNK + mixer.taps.shape[0] - 1, channels), dtype=np.float32),
        np.empty((CHUNK, channels), dtype=np.float32),
        np.empty((CHUNK, channels), dtype=np.float32),
        np.empty((CHUNK, d_inner), dtype=np.float32),
        np.empty((CHUNK, d_inner), dtype=np.float32),
        np.empty(d_inner, dtype=np.float32),
    )


@inlined
def cell_of(batch: Batch, index: int) -> Cell:
    """Take one cell of a batch."""
    way = Way(batch.spans[index, 0], batch.spans[index, 1], -1 if batch.reverse else 1)
    return Cell(batch.projected[index], batch.dt[index], way)


@inlined
def columns(lo: int, d_inner: int, groups: int, n: int) -> tuple[int, int, int]:
    """Return where B and C of channel ``lo`` begin: among those of all groups, and both in [x | B | C]."""
    at = lo // (d_inner // groups) * n
    return at, d_inner + at, d_inner + at + groups * n


@inlined
def read_chunk(cell: Cell, mixer: Mixer, m: int, room: Room, y: np.ndarray) -> None:
    """Write the scan's output of a chunk, the ``m``-th token and those after it, into ``y`` (q, d_inner)."""
    q, d_inner, n, width = len(y), mixer.norm.size, mixer.n, room.u.shape[1]
    before, v, read = room.before[:q], room.v[:q], room.y[:q]
    window = room.window[: q + mixer.taps.shape[0] - 1]
    fill_window(cell, m + q - 1, d_inner, window)
    convolve(window, mixer.taps, mixer.bias, before)
    silu(before, v)
    for index in range(d_inner // width):
        lo = index * width
        at, at_b, at_c = columns(lo, d_inner, mixer.groups, n)
        block = Block(room.state[index * n : (index + 1) * n], room.a[:q], room.u[:q], v, at, at_b, at_c)
        enter(cell, m, mixer, lo, block, read)
        scan(block, read)
        for i in range(q):
            copy(read[i], y[i, lo : lo + width])


@part
def read_cell(cell: Cell, mixer: Mixer, room: Room, add: bool, out: np.ndarray, kept: np.ndarray) -> None:
    """Read a cell and write, or add, the gated and normed output into ``out`` (l, d_inner).

    If ``out`` has one row, it receives the sum over the tokens. ``kept`` (l, d_inner) receives the scan's output in the
    order of reading, for the gradient; if it has no rows, the output is not kept.
    """
    length = cell.way.last - cell.way.first
    room.state[:] = 0
    for m in range(0, length, CHUNK):
        q = min(CHUNK, length - m)
        y = kept[m : m + q] if kept.shape[0] else room.own[:q]
        read_chunk(cell, mixer, m, room, y)
        opened = room.gates[:q]
        open_gates(cell, m, opened)
        gate(y, opened, cell, m, mixer, add, out)


@compiled
def read_cells(batch: Batch, mixer: Mixer, add: bool, out: np.ndarray, kept: np.ndarray) -> None:
    """Read cells of a batch; the output is 0 at pads."""
    room = new_room(mixer)
    for index in range(batch.first, batch.last):
        cell = cell_of(batch, index)
        if not add:
            out[index, : cell.way.first] = 0
            out[index, cell.way.last :] = 0
        read_cell(cell, mixer, room, add, out[index], kept[index])
