"""Compute the gradient of a Mamba-2 mixer between its two projections, compiled, one cell in one direction.

Two passes run, and neither keeps a state. The first, in the order of reading, computes the states again for the
gradient of C. The second, against it, runs the gradient of the state from the end for the gradients of u and B. The
gradient of the decay needs no state: with ``G_t`` the product of a state and its gradient, ``G_t = dlog_t + u_t . du_t
= dlog_{t+1} + y_t . dy_t``, where ``dlog_t`` is the gradient of ``dt_t A``; it is a running sum of the differences.
"""

import numpy as np

from genemamba_sc.ops._fused_arrays import Batch, Block, Cell, Gradients, Mixer, Room, Space
from genemamba_sc.ops._fused_forward import CHUNK, cell_of, columns, new_room
from genemamba_sc.ops._fused_gradients import (
    anchor,
    convolve_back,
    gate_gradient,
    head_products,
    input_gradient,
    silu_gradient,
    step_gradient,
    taps_gradient,
)
from genemamba_sc.ops._fused_parts import convolve, copy, enter, fill_window, place, silu
from genemamba_sc.ops._fused_scan import scan_back, scan_queries
from genemamba_sc.ops._numba import compiled, inlined

# Number of tokens after which the running sum is corrected.
ANCHOR = 4 * CHUNK


@inlined
def new_space(longest: int, mixer: Mixer, room: Room) -> Space:
    """Allocate working memory for the gradients of cells of at most ``longest`` tokens."""
    d_inner, heads, queries = mixer.norm.size, mixer.A.size, mixer.groups * mixer.n
    return Space(
        np.empty((longest, mixer.bias.size), dtype=np.float32),
        np.empty((longest, d_inner), dtype=np.float32),
        np.empty((longest, queries), dtype=np.float32),
        np.empty((longest, heads), dtype=np.float32),
        np.empty((-(-longest // ANCHOR), *room.state.shape), dtype=np.float32),
        np.empty((CHUNK, d_inner), dtype=np.float32),
        np.empty((CHUNK, queries), dtype=np.float32),
        np.empty(heads),
    )


@inlined
def chunk_length(cell: Cell, m: int) -> int:
    """Count the tokens of the chunk that begins with the ``m``-th."""
    return min(CHUNK, cell.way.last - cell.way.first - m)


@inlined
def gate_chunk_back(
    cell: Cell, m: int, mixer: Mixer, y: np.ndarray, dout: np.ndarray, gradients: Gradients, space: Space, room: Room
) -> None:
    """Convolve a chunk again, and take ``dout`` back through norm and gate to the scan's output ``y``."""
    projected, way, dprojected, add = cell.projected, cell.way, gradients.projected, gradients.add
    taps, bias, D, norm, groups, eps = mixer.taps, mixer.bias, mixer.D, mixer.norm, mixer.groups, mixer.eps
    dy, products, dD, dnorm = space.dy, space.products, gradients.D, gradients.norm
    q, opened, d_inner = chunk_length(cell, m), room.opened, norm.size
    before, v, window = space.before[m : m + q], room.v[:q], room.window[: q + taps.shape[0] - 1]
    fill_window(cell, m + q - 1, d_inner, window)
    convolve(window, taps, bias, before)
    silu(before, v)
    for i in range(q):
        t = place(m + i, way)
        vt, yt, dyt = v[i], y[m + i], dy[m + i]
        z, dz = projected[t][:d_inner], dprojected[t][:d_inner]
        gate_gradient(yt, z, norm, groups, eps, dout[t], add, dyt, dz, dnorm, opened)
        head_products(yt, vt, dyt, D, products[m + i], dD)


@inlined
def open_block(index: int, cell: Cell, m: int, mixer: Mixer, space: Space, room: Room) -> Block:
    """Compute decays and inputs of a block of channels over a chunk; ``room.y`` gets the gradient of its output."""
    q, d_inner, width, n = chunk_length(cell, m), mixer.norm.size, room.u.shape[1], mixer.n
    g, dy, lo = room.y[:q], space.dy, index * width
    at, at_b, at_c = columns(lo, d_inner, mixer.groups, n)
    block = Block(room.state[index * n : (index + 1) * n], room.a[:q], room.u[:q], room.v[:q], at, at_b, at_c)
    enter(cell, m, mixer, lo, block, g)  # what it writes to g is not needed here
    for i in range(q):
        copy(dy[m + i][lo : lo + width], g[i])
    return block


@inlined
def scan_chunk_again(cell: Cell, m: int, mixer: Mixer, space: Space, room: Room) -> None:
    """Compute the states of a chunk again and add the gradient of C."""
    q = chunk_length(cell, m)
    g, dC = room.y[:q], space.dC[m : m + q]
    for index in range(mixer.norm.size // g.shape[1]):
        scan_queries(open_block(index, cell, m, mixer, space, room), g, dC)


@inlined
def scan_chunk_back(cell: Cell, m: int, mixer: Mixer, space: Space, room: Room) -> None:
    """Take the gradient of the state back through a chunk and compute those of u and B."""
    q = chunk_length(cell, m)
    g, du_block, du, dB = room.y[:q], room.du[:q], space.du, space.dB[:q]
    width = g.shape[1]
    dB[:] = 0
    for index in range(mixer.norm.size // width):
        du_block[:] = 0
        scan_back(open_block(index, cell, m, mixer, space, room), g, du_block, dB)
        for i in range(q):
            copy(du_block[i], du[i][index * width : (index + 1) * width])


@inlined
def convolve_chunk_back(cell: Cell, m: int, mixer: Mixer, gradients: Gradients, space: Space, room: Room) -> None:
    """Take the gradients of dt, x, B and C of a chunk back through decay, SiLU and convolution, last token first."""
    projected, dt, way = cell.projected, cell.dt, cell.way
    A, D, taps, d_inner, queries = mixer.A, mixer.D, mixer.taps, mixer.norm.size, mixer.groups * mixer.n
    dprojected, ddt, add, dtaps = gradients.projected, gradients.dt, gradients.add, gradients.taps
    dbias, dA, dy, dC, products = gradients.bias, gradients.A, space.dy, space.dC, space.products
    du, dB, dlog, v = space.du, space.dB, space.dlog, room.v
    before = space.before[: way.last - way.first]  # the gradient of the convolution ends with the cell
    for i in range(chunk_length(cell, m) - 1, -1, -1):
        t, anchored = place(m + i, way), i == 0 and m % ANCHOR == 0
        if anchored:
            anchor(room.state, space.anchors[m // ANCHOR], mixer.n, d_inner // A.size, dlog)
        xbc, vt, dut, dtt = before[m + i], v[i], du[i], dt[t]
        step_gradient(dut, vt, dtt, A, products[m + i], anchored, dlog, add, ddt[t], dA)
        input_gradient(dut, dtt, D, dy[m + i], vt)
        copy(dB[i], vt[d_inner : d_inner + queries])
        copy(dC[m + i], vt[d_inner + queries :])
        silu_gradient(xbc, vt)
        copy(vt, xbc)
        taps_gradient(projected, t, way, d_inner, vt, dtaps, dbias)
        convolve_back(before, m + i, taps, add, dprojected[t][d_inner : d_inner + dbias.size])


@inlined
def cell_gradient(
    cell: Cell, mixer: Mixer, y: np.ndarray, dout: np.ndarray, gradients: Gradients, space: Space, room: Room
) -> None:
    """Compute the gradient of :func:`read_cell`; ``y`` is what that function kept."""
    length = cell.way.last - cell.way.first
    room.state[:] = 0
    space.dC[:length] = 0
    for m in range(0, length, CHUNK):
        gate_chunk_back(cell, m, mixer, y, dout, gradients, space, room)
        if m % ANCHOR == 0:
            for row in range(room.state.shape[0]):
                copy(room.state[row], space.anchors[m // ANCHOR, row])
        scan_chunk_again(cell, m, mixer, space, room)
    room.state[:] = 0  # from here on its gradient
    space.dlog[:] = 0
    for m in range((length - 1) // CHUNK * CHUNK, -1, -CHUNK):
        q = chunk_length(cell, m)
        silu(space.before[m : m + q], room.v[:q])
        scan_chunk_back(cell, m, mixer, space, room)
        convolve_chunk_back(cell, m, mixer, gradients, space, room)


@inlined
def gradients_of(gradients: Gradients, index: int) -> Gradients:
    """Take the gradients of one cell of a batch; those of the weights belong to all cells."""
    projected, dt, add, taps, bias, A, D, norm = gradients
    return Gradients(projected[index], dt[index], add, taps, bias, A, D, norm)


@compiled
def cell_gradients(batch: Batch, mixer: Mixer, y: np.ndarray, dout: np.ndarray, gradients: Gradients) -> None:
    """Compute the gradient of :func:`read_cells`; it is 0 at pads."""
    longest = 0
    for index in range(batch.first, batch.last):
        longest = max(longest, batch.spans[index, 1] - batch.spans[index, 0])
    room = new_room(mixer)
    space = new_space(longest, mixer, room)
    for index in range(batch.first, batch.last):
        cell, own = cell_of(batch, index), gradients_of(gradients, index)
        if not own.add:
            for rows in (own.projected, own.dt):
                rows[: cell.way.first] = 0
                rows[cell.way.last :] = 0
        if cell.way.first < cell.way.last:
            cell_gradient(cell, mixer, y[index], dout[index], own, space, room)
