"""Provide compiled loops over one token, of which the fused mixer consists.

Rows are contiguous and loops run over channels, so that each is one stream of vector instructions. ``v`` holds
[x | B | C] after convolution and SiLU.
"""

import numpy as np

from genemamba_sc.ops._fused_arrays import Way
from genemamba_sc.ops._numba import compiled, exp2, sigmoid

_LOG2E = np.float32(1.4426950408889634)


@compiled
def convolve(rows: np.ndarray, t: int, way: Way, lo: int, taps: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """Convolve token ``t`` of ``rows`` (l, ...) with those read before it, without SiLU: the channels from ``lo`` on.

    Zeros stand before the first token read. ``taps`` (k, channels) have the current token last.
    """
    k = taps.shape[0]
    first, last, back = way
    hi = lo + out.size
    far = t - (k - 1) * back
    if k == 4 and first <= far < last:
        r0, r1 = rows[t][lo:hi], rows[t - back][lo:hi]
        r2, r3 = rows[t - 2 * back][lo:hi], rows[far][lo:hi]
        w0, w1, w2, w3 = taps[3], taps[2], taps[1], taps[0]
        for c in range(out.size):
            out[c] = bias[c] + (r0[c] * w0[c] + r1[c] * w1[c]) + (r2[c] * w2[c] + r3[c] * w3[c])
        return
    row, tap = rows[t][lo:hi], taps[k - 1]
    for c in range(out.size):
        out[c] = bias[c] + row[c] * tap[c]
    for j in range(1, k):
        if first <= t - j * back < last:
            row, tap = rows[t - j * back][lo:hi], taps[k - 1 - j]
            for c in range(out.size):
                out[c] += row[c] * tap[c]


@compiled
def silu(x: np.ndarray, out: np.ndarray) -> None:
    """Compute ``out = x sigmoid(x)``; two rows that overlap would be slow, see :func:`silu_`."""
    for c in range(out.size):
        out[c] = x[c] * sigmoid(x[c])


@compiled
def silu_(x: np.ndarray) -> None:
    """Compute ``x sigmoid(x)`` in place."""
    for c in range(x.size):
        x[c] *= sigmoid(x[c])


@compiled
def decays(dt: np.ndarray, A: np.ndarray, p: int, x: np.ndarray, lo: int, a: np.ndarray, u: np.ndarray) -> None:
    """Compute decay ``a = exp(dt A)`` and input ``u = dt x`` of one token: channels from ``lo`` on, heads of ``p``."""
    done = 0
    while done < a.size:
        h = (lo + done) // p
        upto = min(a.size, (h + 1) * p - lo)
        step = dt[h]
        decay = exp2(step * A[h] * _LOG2E)
        ah, uh, xh = a[done:upto], u[done:upto], x[lo + done : lo + upto]
        for c in range(ah.size):
            ah[c] = decay
            uh[c] = step * xh[c]
        done = upto


@compiled
def connect(read: np.ndarray, D: np.ndarray, p: int, x: np.ndarray, lo: int, y: np.ndarray) -> None:
    """Compute ``y = read + D x`` of one token, for the channels from ``lo`` on."""
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
    """Write ``RMSNorm(y silu(z)) weight`` of one token to ``out``, or add it; each group of channels has its norm.

    ``opened`` is a row of working memory.
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
def copy(x: np.ndarray, out: np.ndarray) -> None:
    """Copy ``out = x``; numba's own assignment looks for overlaps first, which takes as long as copying a short row."""
    for c in range(out.size):
        out[c] = x[c]
