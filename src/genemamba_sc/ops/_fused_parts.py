"""Compiled loops over one token, or over one chunk of tokens, that the fused mixer is made of.

Rows are contiguous and loops run over channels, so that each is one stream of vector instructions. ``v`` holds
[x | B | C] after convolution and SiLU.
"""

import numpy as np

from genemamba_sc.ops._numba import compiled, exp2, sigmoid

_LOG2E = np.float32(1.4426950408889634)


@compiled
def convolve(
    rows: np.ndarray,
    t: int,
    span: tuple[int, int],
    back: int,
    lo: int,
    taps: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
) -> None:
    """Convolve token ``t`` with those read before it, without SiLU: the channels from ``lo`` on of ``rows`` (l, ...).

    ``back`` is 1 left to right and -1 right to left. Outside ``span`` there are zeros. ``taps`` (k, channels), the
    current token last.
    """
    k = taps.shape[0]
    first, last = span
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
    """``out = x sigmoid(x)``; two rows that overlap would be slow, see :func:`silu_`."""
    for c in range(out.size):
        out[c] = x[c] * sigmoid(x[c])


@compiled
def silu_(x: np.ndarray) -> None:
    """``x sigmoid(x)`` in place."""
    for c in range(x.size):
        x[c] *= sigmoid(x[c])


@compiled
def decays(dt: np.ndarray, A: np.ndarray, p: int, x: np.ndarray, lo: int, a: np.ndarray, u: np.ndarray) -> None:
    """Decay ``a = exp(dt A)`` and input ``u = dt x`` of one token, for the channels from ``lo`` on, heads of ``p``."""
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


# Rows of a state are updated four at a time, the rest one at a time, in functions of their own: a loop that ends
# anywhere but at the shape of its array is not vectorised. Nor is one over slices of wider rows.


@compiled
def _scan_fours(
    state: np.ndarray, a: np.ndarray, u: np.ndarray, v: np.ndarray, at_b: int, at_c: int, y: np.ndarray
) -> None:
    n, w = state.shape
    for t in range(u.shape[0]):
        at, ut, yt = a[t], u[t], y[t]
        B, C = v[t][at_b : at_b + n], v[t][at_c : at_c + n]
        for i in range(0, n, 4):
            b0, b1, b2, b3 = B[i], B[i + 1], B[i + 2], B[i + 3]
            c0, c1, c2, c3 = C[i], C[i + 1], C[i + 2], C[i + 3]
            for c in range(w):
                s0 = state[i, c] * at[c] + ut[c] * b0
                s1 = state[i + 1, c] * at[c] + ut[c] * b1
                s2 = state[i + 2, c] * at[c] + ut[c] * b2
                s3 = state[i + 3, c] * at[c] + ut[c] * b3
                state[i, c] = s0
                state[i + 1, c] = s1
                state[i + 2, c] = s2
                state[i + 3, c] = s3
                yt[c] += (s0 * c0 + s1 * c1) + (s2 * c2 + s3 * c3)


@compiled
def _scan_ones(
    state: np.ndarray, a: np.ndarray, u: np.ndarray, v: np.ndarray, at_b: int, at_c: int, y: np.ndarray
) -> None:
    n, w = state.shape
    for t in range(u.shape[0]):
        at, ut, yt = a[t], u[t], y[t]
        for i in range(n):
            b, q = v[t, at_b + i], v[t, at_c + i]
            for c in range(w):
                s = state[i, c] * at[c] + ut[c] * b
                state[i, c] = s
                yt[c] += s * q


@compiled
def scan(state: np.ndarray, a: np.ndarray, u: np.ndarray, v: np.ndarray, at_b: int, at_c: int, y: np.ndarray) -> None:
    """``state = a state + u B^T``, ``y += state C``, token after token.

    ``state`` (n, w) belongs to w channels that share B and C. ``a``, ``u``, ``y`` (q, w); B and C stand in the columns
    of ``v`` from ``at_b`` and ``at_c`` on.
    """
    fours = state.shape[0] // 4 * 4
    _scan_fours(state[:fours], a, u, v, at_b, at_c, y)
    _scan_ones(state[fours:], a, u, v, at_b + fours, at_c + fours, y)


@compiled
def _queries_fours(
    state: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    at_b: int,
    dy: np.ndarray,
    at_dc: int,
    dC: np.ndarray,
) -> None:
    n, w = state.shape
    zero = np.float32(0)
    for t in range(u.shape[0]):
        at, ut, gt = a[t], u[t], dy[t]
        B, dCt = v[t][at_b : at_b + n], dC[t][at_dc : at_dc + n]
        for i in range(0, n, 4):
            b0, b1, b2, b3 = B[i], B[i + 1], B[i + 2], B[i + 3]
            d0, d1, d2, d3 = zero, zero, zero, zero
            for c in range(w):
                s0 = state[i, c] * at[c] + ut[c] * b0
                s1 = state[i + 1, c] * at[c] + ut[c] * b1
                s2 = state[i + 2, c] * at[c] + ut[c] * b2
                s3 = state[i + 3, c] * at[c] + ut[c] * b3
                state[i, c] = s0
                state[i + 1, c] = s1
                state[i + 2, c] = s2
                state[i + 3, c] = s3
                d0 += s0 * gt[c]
                d1 += s1 * gt[c]
                d2 += s2 * gt[c]
                d3 += s3 * gt[c]
            dCt[i] += d0
            dCt[i + 1] += d1
            dCt[i + 2] += d2
            dCt[i + 3] += d3


@compiled
def _queries_ones(
    state: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    at_b: int,
    dy: np.ndarray,
    at_dc: int,
    dC: np.ndarray,
) -> None:
    n, w = state.shape
    for t in range(u.shape[0]):
        at, ut, gt = a[t], u[t], dy[t]
        for i in range(n):
            b, d = v[t, at_b + i], np.float32(0)
            for c in range(w):
                s = state[i, c] * at[c] + ut[c] * b
                state[i, c] = s
                d += s * gt[c]
            dC[t, at_dc + i] += d


@compiled
def scan_queries(
    state: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    at_b: int,
    dy: np.ndarray,
    at_dc: int,
    dC: np.ndarray,
) -> None:
    """Run the states again and add the gradient of C, ``dC_t += state_t dy_t``; arguments as in :func:`scan`."""
    fours = state.shape[0] // 4 * 4
    _queries_fours(state[:fours], a, u, v, at_b, dy, at_dc, dC)
    _queries_ones(state[fours:], a, u, v, at_b + fours, dy, at_dc + fours, dC)


@compiled
def _back_fours(
    dstate: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    at_b: int,
    at_c: int,
    dy: np.ndarray,
    du: np.ndarray,
    at_db: int,
    dB: np.ndarray,
) -> None:
    n, w = dstate.shape
    zero = np.float32(0)
    for t in range(u.shape[0] - 1, -1, -1):
        at, ut, gt, dut = a[t], u[t], dy[t], du[t]
        B, C, dBt = v[t][at_b : at_b + n], v[t][at_c : at_c + n], dB[t][at_db : at_db + n]
        for i in range(0, n, 4):
            b0, b1, b2, b3 = B[i], B[i + 1], B[i + 2], B[i + 3]
            c0, c1, c2, c3 = C[i], C[i + 1], C[i + 2], C[i + 3]
            d0, d1, d2, d3 = zero, zero, zero, zero
            for c in range(w):
                s0 = dstate[i, c] + gt[c] * c0
                s1 = dstate[i + 1, c] + gt[c] * c1
                s2 = dstate[i + 2, c] + gt[c] * c2
                s3 = dstate[i + 3, c] + gt[c] * c3
                dut[c] += (s0 * b0 + s1 * b1) + (s2 * b2 + s3 * b3)
                d0 += s0 * ut[c]
                d1 += s1 * ut[c]
                d2 += s2 * ut[c]
                d3 += s3 * ut[c]
                dstate[i, c] = s0 * at[c]
                dstate[i + 1, c] = s1 * at[c]
                dstate[i + 2, c] = s2 * at[c]
                dstate[i + 3, c] = s3 * at[c]
            dBt[i] += d0
            dBt[i + 1] += d1
            dBt[i + 2] += d2
            dBt[i + 3] += d3


@compiled
def _back_ones(
    dstate: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    at_b: int,
    at_c: int,
    dy: np.ndarray,
    du: np.ndarray,
    at_db: int,
    dB: np.ndarray,
) -> None:
    n, w = dstate.shape
    for t in range(u.shape[0] - 1, -1, -1):
        at, ut, gt, dut = a[t], u[t], dy[t], du[t]
        for i in range(n):
            b, q, d = v[t, at_b + i], v[t, at_c + i], np.float32(0)
            for c in range(w):
                s = dstate[i, c] + gt[c] * q
                dut[c] += s * b
                d += s * ut[c]
                dstate[i, c] = s * at[c]
            dB[t, at_db + i] += d


@compiled
def scan_back(
    dstate: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    at_b: int,
    at_c: int,
    dy: np.ndarray,
    du: np.ndarray,
    at_db: int,
    dB: np.ndarray,
) -> None:
    """Run the gradient of the state from the last token read to the first; arguments as in :func:`scan`.

    ``dstate_t = a_{t+1} dstate_{t+1} + dy_t C_t^T``, ``du_t += dstate_t B_t``, ``dB_t += dstate_t u_t``. On entry
    and on return ``dstate`` is already multiplied by the decay of the token read after it.
    """
    fours = dstate.shape[0] // 4 * 4
    _back_fours(dstate[:fours], a, u, v, at_b, at_c, dy, du, at_db, dB)
    _back_ones(dstate[fours:], a, u, v, at_b + fours, at_c + fours, dy, du, at_db + fours, dB)
