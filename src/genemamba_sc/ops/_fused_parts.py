"""Provide compiled loops over one chunk of tokens, of which the fused mixer consists.

Rows are contiguous and loops run over channels, so that each is one stream of vector instructions. ``v`` holds
[x | B | C] after convolution and SiLU.
"""

import numpy as np

from genemamba_sc.ops._fused_arrays import Block, Cell, Mixer, Way
from genemamba_sc.ops._numba import exp2, inlined, part, sigmoid

_LOG2E = np.float32(1.4426950408889634)


@inlined
def place(m: int, way: Way) -> int:
    """Return the position of the ``m``-th token that is read."""
    return way.first + m if way.back == 1 else way.last - 1 - m


@part
def fill_window(cell: Cell, m: int, lo: int, out: np.ndarray) -> None:
    """Copy tokens in the order of reading, the last of them the ``m``-th, from channel ``lo`` on; 0 before the first.

    A chunk is convolved from a window of its own and the k - 1 tokens read before it: from there on no function asks in
    which direction a cell is read, nor where it begins.
    """
    rows, _, way = cell
    q, width = out.shape
    for i in range(q):
        at, row = m - (q - 1 - i), out[i]
        if at < 0:
            row[:] = 0
        else:
            token = rows[place(at, way)][lo : lo + width]
            for c in range(row.size):
                row[c] = token[c]


@part
def convolve(window: np.ndarray, taps: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """Convolve a chunk, without SiLU: (q + k - 1, channels) to (q, channels); ``taps`` have the current token last."""
    k = taps.shape[0]
    if k == 4:
        for i in range(out.shape[0]):
            for c in range(out.shape[1]):
                early = window[i, c] * taps[0, c] + window[i + 1, c] * taps[1, c]
                out[i, c] = bias[c] + early + (window[i + 2, c] * taps[2, c] + window[i + 3, c] * taps[3, c])
        return
    for i in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[i, c] = bias[c]
        for j in range(k):
            for c in range(out.shape[1]):
                out[i, c] += window[i + j, c] * taps[j, c]


@part
def silu(x: np.ndarray, out: np.ndarray) -> None:
    """Compute ``out = x sigmoid(x)`` of a chunk, (q, channels)."""
    for i in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[i, c] = x[i, c] * sigmoid(x[i, c])


@part
def enter(cell: Cell, m: int, mixer: Mixer, lo: int, block: Block, y: np.ndarray) -> None:
    """Fill in decays ``exp(dt A)`` and inputs ``dt x`` of the block from channel ``lo`` on, and ``y = D x`` (q, w)."""
    a, u, v = block.a, block.u, block.v
    h = lo // (mixer.norm.size // mixer.A.size)
    weight, rate = mixer.D[h], mixer.A[h] * _LOG2E
    for i in range(a.size):
        step = cell.dt[place(m + i, cell.way), h]
        a[i] = exp2(step * rate)
        new, through = u[i], y[i]
        x = v[i, lo : lo + new.size]
        for c in range(new.size):
            new[c] = step * x[c]
            through[c] = weight * x[c]


@part
def open_gates(cell: Cell, m: int, out: np.ndarray) -> None:
    """Compute ``silu(z)`` of a chunk, (q, d_inner)."""
    projected, _, way = cell
    for i in range(out.shape[0]):
        opened = out[i]
        z = projected[place(m + i, way)][: opened.size]
        for c in range(opened.size):
            opened[c] = z[c] * sigmoid(z[c])


@part
def gate(y: np.ndarray, opened: np.ndarray, cell: Cell, m: int, mixer: Mixer, add: bool, out: np.ndarray) -> None:
    """Write ``RMSNorm(y opened) weight`` of a chunk to the rows of its tokens in ``out``, or add it there.

    Each group of channels has a norm of its own. ``out`` of a single row receives the sum of all tokens.
    """
    way, norm, eps = cell.way, mixer.norm, np.float32(mixer.eps)
    width = norm.size // mixer.groups
    share = np.float32(1) / np.float32(width)
    for i in range(y.shape[0]):
        t = min(place(m + i, way), out.shape[0] - 1)
        for lo in range(0, norm.size, width):
            hi = lo + width
            yg, zg, wg, og = y[i, lo:hi], opened[i, lo:hi], norm[lo:hi], out[t, lo:hi]
            squares = np.float32(0)
            for c in range(yg.size):
                squares += (yg[c] * zg[c]) * (yg[c] * zg[c])
            scale = np.float32(1) / np.sqrt(squares * share + eps)
            if add:
                for c in range(yg.size):
                    og[c] += yg[c] * zg[c] * scale * wg[c]
            else:
                for c in range(yg.size):
                    og[c] = yg[c] * zg[c] * scale * wg[c]


@part
def copy(x: np.ndarray, out: np.ndarray) -> None:
    """Copy ``out = x``; numba's own assignment looks for overlaps first, which takes as long as copying a short row."""
    for c in range(out.size):
        out[c] = x[c]
