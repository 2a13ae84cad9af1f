"""Compute gradients for one token each, compiled: those of the loops that the fused mixer consists of."""

import numpy as np

from genemamba_sc.ops._fused_arrays import Way
from genemamba_sc.ops._numba import part, sigmoid

_ONE = np.float32(1)


@part
def gate_gradient(
    y: np.ndarray,
    z: np.ndarray,
    weight: np.ndarray,
    groups: int,
    eps: float,
    dout: np.ndarray,
    add: bool,
    dy: np.ndarray,
    dz: np.ndarray,
    dweight: np.ndarray,
    opened: np.ndarray,
) -> None:
    """Compute the gradient of :func:`gate` for one token: write ``dy``, write or add ``dz``, add to ``dweight``."""
    width = y.size // groups
    for g in range(groups):
        lo, hi = g * width, (g + 1) * width
        yg, zg, wg, og, sg = y[lo:hi], z[lo:hi], weight[lo:hi], dout[lo:hi], opened[lo:hi]
        dyg, dzg, dwg = dy[lo:hi], dz[lo:hi], dweight[lo:hi]
        for c in range(width):
            sg[c] = sigmoid(zg[c])
        squares, along = np.float32(0), np.float32(0)
        for c in range(width):
            gated = yg[c] * zg[c] * sg[c]
            squares += gated * gated
            along += og[c] * wg[c] * gated
        scale = np.float32(1 / np.sqrt(squares / width + eps))
        along *= scale * scale / np.float32(width)
        # Each loop computes one result: with more, the compiler can no longer prove that they do not overlap.
        for c in range(width):
            dwg[c] += og[c] * yg[c] * zg[c] * sg[c] * scale
        for c in range(width):
            dyg[c] = (og[c] * wg[c] - yg[c] * zg[c] * sg[c] * along) * scale  # of y silu(z)
        if add:
            for c in range(width):
                dzg[c] += dyg[c] * yg[c] * (sg[c] * (_ONE + zg[c] * (_ONE - sg[c])))
        else:
            for c in range(width):
                dzg[c] = dyg[c] * yg[c] * (sg[c] * (_ONE + zg[c] * (_ONE - sg[c])))
        for c in range(width):
            dyg[c] *= zg[c] * sg[c]


@part
def silu_gradient(before: np.ndarray, dv: np.ndarray) -> None:
    """Turn ``dv``, the gradient of ``silu(before)``, into that of ``before``."""
    for c in range(before.size):
        x = before[c]
        s = sigmoid(x)
        dv[c] = dv[c] * (s * (_ONE + x * (_ONE - s)))


@part
def add_product(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """Add a product: ``out += x y``."""
    for c in range(out.size):
        out[c] += x[c] * y[c]


@part
def taps_gradient(
    rows: np.ndarray, t: int, way: Way, lo: int, g: np.ndarray, dtaps: np.ndarray, dbias: np.ndarray
) -> None:
    """Add the gradient of taps and bias for one token; ``g`` is that of the convolution's output there."""
    k = dtaps.shape[0]
    first, last, back = way
    for c in range(dbias.size):
        dbias[c] += g[c]
    for j in range(k):
        if first <= t - j * back < last:
            add_product(g, rows[t - j * back][lo : lo + g.size], dtaps[k - 1 - j])


@part
def convolve_back(g: np.ndarray, m: int, taps: np.ndarray, add: bool, out: np.ndarray) -> None:
    """Compute the gradient of the input at the ``m``-th token read, from ``g`` at that token and those read later."""
    k = taps.shape[0]
    row, tap = g[m], taps[k - 1]
    if add:
        for c in range(out.size):
            out[c] += row[c] * tap[c]
    else:
        for c in range(out.size):
            out[c] = row[c] * tap[c]
    for j in range(1, min(k, g.shape[0] - m)):
        row, tap = g[m + j], taps[k - 1 - j]
        for c in range(out.size):
            out[c] += row[c] * tap[c]


@part
def head_products(
    y: np.ndarray, x: np.ndarray, dy: np.ndarray, D: np.ndarray, products: np.ndarray, dD: np.ndarray
) -> None:
    """Compute ``(y - D x) . dy`` of each head of one token, and add ``x . dy`` to ``dD``."""
    p = y.size // D.size
    for h in range(D.size):
        yh, xh, gh = y[h * p : (h + 1) * p], x[h * p : (h + 1) * p], dy[h * p : (h + 1) * p]
        with_y, with_x = np.float32(0), np.float32(0)
        for c in range(p):
            with_y += yh[c] * gh[c]
            with_x += xh[c] * gh[c]
        products[h] = with_y - D[h] * with_x
        dD[h] += with_x


@part
def step_gradient(
    du: np.ndarray,
    x: np.ndarray,
    dt: np.ndarray,
    A: np.ndarray,
    products: np.ndarray,
    anchored: bool,
    dlog: np.ndarray,
    add: bool,
    ddt: np.ndarray,
    dA: np.ndarray,
) -> None:
    """Compute the gradients of dt and A at one token; move ``dlog`` one token on, unless it is anchored there."""
    p = du.size // A.size
    for h in range(A.size):
        uh, xh = du[h * p : (h + 1) * p], x[h * p : (h + 1) * p]
        along = np.float32(0)
        for c in range(p):
            along += uh[c] * xh[c]
        if not anchored:
            dlog[h] += np.float64(products[h]) - np.float64(dt[h]) * along
        dA[h] += dlog[h] * dt[h]
        gradient = np.float32(A[h] * dlog[h]) + along
        ddt[h] = ddt[h] + gradient if add else gradient


@part
def input_gradient(du: np.ndarray, dt: np.ndarray, D: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
    """Compute ``dx = dt du + D dy`` of one token."""
    p = du.size // D.size
    for h in range(D.size):
        uh, gh, xh = du[h * p : (h + 1) * p], dy[h * p : (h + 1) * p], dx[h * p : (h + 1) * p]
        step, direct = dt[h], D[h]
        for c in range(p):
            xh[c] = step * uh[c] + direct * gh[c]


@part
def anchor(dstate: np.ndarray, state: np.ndarray, n: int, p: int, dlog: np.ndarray) -> None:
    """Set ``dlog`` of each head to its definition, the product of the state that enters and its gradient.

    The running sum would carry its rounding errors through the whole cell. Both arrays are (blocks x n, width).
    """
    dlog[:] = 0
    width = state.shape[1]
    for row in range(state.shape[0]):
        lo, done = row // n * width, 0
        while done < width:
            h = (lo + done) // p
            upto = min(width, (h + 1) * p - lo)
            left, right = dstate[row][done:upto], state[row][done:upto]
            product = np.float32(0)
            for c in range(left.size):
                product += left[c] * right[c]
            dlog[h] += product
            done = upto
