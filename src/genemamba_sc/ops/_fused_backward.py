"""The compiled gradient of a Mamba-2 mixer between its two projections, one cell in one direction.

Two passes, both without a state that is kept. In the order of reading, the states are computed again for the
gradient of C; against it, the gradient of the state runs from the end for those of u and B. That of the decay needs no
state: with ``G_t`` the product of a state and its gradient, ``G_t = dlog_t + u_t . du_t = dlog_{t+1} + y_t . dy_t``,
where ``dlog_t`` is the gradient of ``dt_t A``; it is a running sum of the differences.
"""

import numpy as np

from genemamba_sc.ops._fused_forward import CHUNK, block_width, place
from genemamba_sc.ops._fused_parts import convolve, decays, scan_back, scan_queries, silu
from genemamba_sc.ops._numba import compiled, sigmoid

# Tokens after which the running sum is set right.
ANCHOR = 4 * CHUNK

_ONE = np.float32(1)


@compiled
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
    """Gradient of :func:`gate` for one token: ``dy`` is written, ``dz`` written or added to, ``dweight`` added to."""
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
        # One result to a loop: with more, the compiler gives up proving that they do not overlap.
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


@compiled
def silu_gradient(before: np.ndarray, dv: np.ndarray) -> None:
    """Turn ``dv``, the gradient of ``silu(before)``, into that of ``before``."""
    for c in range(before.size):
        x = before[c]
        s = sigmoid(x)
        dv[c] = dv[c] * (s * (_ONE + x * (_ONE - s)))


@compiled
def add_product(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """``out += x y``."""
    for c in range(out.size):
        out[c] += x[c] * y[c]


@compiled
def taps_gradient(
    rows: np.ndarray,
    t: int,
    span: tuple[int, int],
    back: int,
    lo: int,
    g: np.ndarray,
    dtaps: np.ndarray,
    dbias: np.ndarray,
) -> None:
    """Add the gradient of taps and bias for one token, ``g`` being that of the convolution's output there."""
    k = dtaps.shape[0]
    for c in range(dbias.size):
        dbias[c] += g[c]
    for j in range(k):
        if span[0] <= t - j * back < span[1]:
            add_product(g, rows[t - j * back][lo : lo + g.size], dtaps[k - 1 - j])


@compiled
def convolve_back(g: np.ndarray, m: int, taps: np.ndarray, add: bool, out: np.ndarray) -> None:
    """Gradient of the convolution's input at the ``m``-th token read, from ``g`` at that token and those read later."""
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


@compiled
def head_products(
    y: np.ndarray, x: np.ndarray, dy: np.ndarray, D: np.ndarray, products: np.ndarray, dD: np.ndarray
) -> None:
    """``(y - D x) . dy`` of each head of one token; ``x . dy`` is added to ``dD``."""
    p = y.size // D.size
    for h in range(D.size):
        yh, xh, gh = y[h * p : (h + 1) * p], x[h * p : (h + 1) * p], dy[h * p : (h + 1) * p]
        with_y, with_x = np.float32(0), np.float32(0)
        for c in range(p):
            with_y += yh[c] * gh[c]
            with_x += xh[c] * gh[c]
        products[h] = with_y - D[h] * with_x
        dD[h] += with_x


@compiled
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
    """Gradients of dt and A at one token; ``dlog`` goes one token on, unless it is anchored there."""
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


@compiled
def input_gradient(du: np.ndarray, dt: np.ndarray, D: np.ndarray, dy: np.ndarray, dx: np.ndarray) -> None:
    """``dx = dt du + D dy`` of one token."""
    p = du.size // D.size
    for h in range(D.size):
        uh, gh, xh = du[h * p : (h + 1) * p], dy[h * p : (h + 1) * p], dx[h * p : (h + 1) * p]
        step, direct = dt[h], D[h]
        for c in range(p):
            xh[c] = step * uh[c] + direct * gh[c]


@compiled
def anchor(dstate: np.ndarray, state: np.ndarray, n: int, p: int, dlog: np.ndarray) -> None:
    """Set ``dlog`` of each head to what it is by definition, the product of the state that enters and its gradient.

    The running sum would carry its rounding errors through the whole cell. Both (blocks x n, width).
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


@compiled
def cell_gradient(
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
    kept: np.ndarray,
    dout: np.ndarray,
    add: bool,
    dprojected: np.ndarray,
    ddt: np.ndarray,
    dtaps: np.ndarray,
    dbias: np.ndarray,
    dA: np.ndarray,
    dD: np.ndarray,
    dweight: np.ndarray,
    space: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Gradient of :func:`read_cell`; ``kept`` is what it kept.

    ``dprojected`` (without its columns of dt) and ``ddt`` are written, or added to; the others are added to. ``space``
    is room to work in, a row for each token of the longest cell: fresh memory for each cell would cost page faults.
    """
    length, d_inner, heads = span[1] - span[0], weight.size, A.size
    p, share, back = d_inner // heads, d_inner // groups, -1 if reverse else 1
    width, n_groups = block_width(share, n), groups * n
    n_blocks = d_inner // width
    before, dy, dC, products = space  # before the SiLU, later the gradient there; products y . dy
    before, dC = before[:length], dC[:length]  # the gradient of the convolution ends with the cell
    dC[:] = 0
    room = np.zeros((n_blocks * n + 4 * CHUNK, width), dtype=np.float32)
    state, rest = room[: n_blocks * n], room[n_blocks * n :]
    a, u, g, du_block = rest[:CHUNK], rest[CHUNK : 2 * CHUNK], rest[2 * CHUNK : 3 * CHUNK], rest[3 * CHUNK :]
    anchors = np.empty((-(-length // ANCHOR), n_blocks * n, width), dtype=np.float32)
    v, opened = np.empty((CHUNK, bias.size), dtype=np.float32), np.empty(d_inner, dtype=np.float32)
    for m in range(0, length, CHUNK):
        q = min(CHUNK, length - m)
        for i in range(q):
            t = place(m + i, span, reverse)
            convolve(projected, t, span, back, d_inner, taps, bias, before[m + i])
            silu(before[m + i], v[i])
            z, dz = projected[t][:d_inner], dprojected[t][:d_inner]
            gate_gradient(kept[m + i], z, weight, groups, eps, dout[t], add, dy[m + i], dz, dweight, opened)
            head_products(kept[m + i], v[i], dy[m + i], D, products[m + i], dD)
        if m % ANCHOR == 0:
            anchors[m // ANCHOR] = state
        for block in range(n_blocks):
            lo, own = block * width, state[block * n : (block + 1) * n]
            at_c = lo // share * n
            for i in range(q):
                decays(dt[place(m + i, span, reverse)], A, p, v[i], lo, a[i], u[i])
                g[i] = dy[m + i][lo : lo + width]
            scan_queries(own, a[:q], u[:q], v[:q], d_inner + at_c, g[:q], at_c, dC[m : m + q])
    state[:] = 0
    du, dB = np.empty((CHUNK, d_inner), dtype=np.float32), np.empty((CHUNK, n_groups), dtype=np.float32)
    dlog = np.zeros(heads)
    for m in range((length - 1) // CHUNK * CHUNK, -1, -CHUNK):
        q = min(CHUNK, length - m)
        for i in range(q):
            silu(before[m + i], v[i])
        dB[:q] = 0
        for block in range(n_blocks):
            lo, own = block * width, state[block * n : (block + 1) * n]
            at_b = lo // share * n
            for i in range(q):
                decays(dt[place(m + i, span, reverse)], A, p, v[i], lo, a[i], u[i])
                g[i] = dy[m + i][lo : lo + width]
            du_block[:q] = 0
            at_v = d_inner + at_b
            scan_back(own, a[:q], u[:q], v[:q], at_v, at_v + n_groups, g[:q], du_block[:q], at_b, dB[:q])
            for i in range(q):
                du[i][lo : lo + width] = du_block[i]
        for i in range(q - 1, -1, -1):
            t = place(m + i, span, reverse)
            anchored = i == 0 and m % ANCHOR == 0
            if anchored:
                anchor(state, anchors[m // ANCHOR], n, p, dlog)
            step_gradient(du[i], v[i], dt[t], A, products[m + i], anchored, dlog, add, ddt[t], dA)
            input_gradient(du[i], dt[t], D, dy[m + i], v[i])
            v[i, d_inner : d_inner + n_groups] = dB[i]
            v[i, d_inner + n_groups :] = dC[m + i]
            silu_gradient(before[m + i], v[i])
            before[m + i] = v[i]
            taps_gradient(projected, t, span, back, d_inner, v[i], dtaps, dbias)
            convolve_back(before, m + i, taps, add, dprojected[t][d_inner : d_inner + bias.size])


@compiled
def cell_gradients(
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
    kept: np.ndarray,
    dout: np.ndarray,
    add: bool,
    dprojected: np.ndarray,
    ddt: np.ndarray,
    dtaps: np.ndarray,
    dbias: np.ndarray,
    dA: np.ndarray,
    dD: np.ndarray,
    dweight: np.ndarray,
) -> None:
    """Gradient of :func:`read_cells`; 0 at pads."""
    longest = 0
    for cell in range(first, last):
        longest = max(longest, spans[cell, 1] - spans[cell, 0])
    space = (
        np.empty((longest, bias.size), dtype=np.float32),
        np.empty((longest, weight.size), dtype=np.float32),
        np.empty((longest, groups * n), dtype=np.float32),
        np.empty((longest, A.size), dtype=np.float32),
    )
    for cell in range(first, last):
        span = (spans[cell, 0], spans[cell, 1])
        if not add:
            dprojected[cell, : span[0]] = 0
            dprojected[cell, span[1] :] = 0
            ddt[cell, : span[0]] = 0
            ddt[cell, span[1] :] = 0
        if span[0] < span[1]:
            cell_gradient(
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
                kept[cell],
                dout[cell],
                add,
                dprojected[cell],
                ddt[cell],
                dtaps,
                dbias,
                dA,
                dD,
                dweight,
                space,
            )
