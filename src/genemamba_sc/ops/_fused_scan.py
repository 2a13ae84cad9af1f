"""Run compiled recurrences over one block of channels and one chunk of tokens: forwards, again for C, and back.

Rows of a state are updated four at a time, the rest one at a time, in separate functions. Rows are contiguous and the
inner loops run over channels, so that each is one stream of vector instructions. A loop that ends anywhere but at the
shape of its array is not vectorised, nor is one over slices of wider rows.
"""

import numpy as np

from genemamba_sc.ops._fused_arrays import Block
from genemamba_sc.ops._numba import inlined, part

# The rows are divided here and not by where the loops end. Before a loop whose end is computed, the compiler asks once
# whether the rows of any two rounds overlap; taken over all rounds they do, and nothing is vectorised.


@inlined
def _fours(block: Block) -> Block:
    """Cut off the rows of the state that are updated one at a time."""
    upto = block.state.shape[0] // 4 * 4
    return Block(block.state[:upto], block.a, block.u, block.v, block.at, block.at_b, block.at_c)


@inlined
def _ones(block: Block) -> Block:
    """Keep only the rows that are updated one at a time, and their B and C."""
    done = block.state.shape[0] // 4 * 4
    at, at_b, at_c = block.at + done, block.at_b + done, block.at_c + done
    return Block(block.state[done:], block.a, block.u, block.v, at, at_b, at_c)


@part
def _scan_fours(block: Block, y: np.ndarray) -> None:
    state = block.state
    n, w = state.shape
    for t in range(block.u.shape[0]):
        a, ut, yt = block.a[t], block.u[t], y[t]
        B, C = block.v[t][block.at_b : block.at_b + n], block.v[t][block.at_c : block.at_c + n]
        for i in range(0, n, 4):
            b0, b1, b2, b3 = B[i], B[i + 1], B[i + 2], B[i + 3]
            c0, c1, c2, c3 = C[i], C[i + 1], C[i + 2], C[i + 3]
            for c in range(w):
                s0 = state[i, c] * a + ut[c] * b0
                s1 = state[i + 1, c] * a + ut[c] * b1
                s2 = state[i + 2, c] * a + ut[c] * b2
                s3 = state[i + 3, c] * a + ut[c] * b3
                state[i, c] = s0
                state[i + 1, c] = s1
                state[i + 2, c] = s2
                state[i + 3, c] = s3
                yt[c] += (s0 * c0 + s1 * c1) + (s2 * c2 + s3 * c3)


@part
def _scan_ones(block: Block, y: np.ndarray) -> None:
    state = block.state
    n, w = state.shape
    for t in range(block.u.shape[0]):
        a, ut, yt = block.a[t], block.u[t], y[t]
        for i in range(n):
            b, q = block.v[t, block.at_b + i], block.v[t, block.at_c + i]
            for c in range(w):
                s = state[i, c] * a + ut[c] * b
                state[i, c] = s
                yt[c] += s * q


@part
def scan(block: Block, y: np.ndarray) -> None:
    """Scan ``state = a state + u B^T``, ``y += state C``, token after token; ``y`` is (q, w)."""
    _scan_fours(_fours(block), y)
    _scan_ones(_ones(block), y)


@part
def _queries_fours(block: Block, dy: np.ndarray, dC: np.ndarray) -> None:
    state = block.state
    n, w = state.shape
    zero = np.float32(0)
    for t in range(block.u.shape[0]):
        a, ut, gt = block.a[t], block.u[t], dy[t]
        B, dCt = block.v[t][block.at_b : block.at_b + n], dC[t][block.at : block.at + n]
        for i in range(0, n, 4):
            b0, b1, b2, b3 = B[i], B[i + 1], B[i + 2], B[i + 3]
            d0, d1, d2, d3 = zero, zero, zero, zero
            for c in range(w):
                s0 = state[i, c] * a + ut[c] * b0
                s1 = state[i + 1, c] * a + ut[c] * b1
                s2 = state[i + 2, c] * a + ut[c] * b2
                s3 = state[i + 3, c] * a + ut[c] * b3
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


@part
def _queries_ones(block: Block, dy: np.ndarray, dC: np.ndarray) -> None:
    state = block.state
    n, w = state.shape
    for t in range(block.u.shape[0]):
        a, ut, gt = block.a[t], block.u[t], dy[t]
        for i in range(n):
            b, d = block.v[t, block.at_b + i], np.float32(0)
            for c in range(w):
                s = state[i, c] * a + ut[c] * b
                state[i, c] = s
                d += s * gt[c]
            dC[t, block.at + i] += d


@part
def scan_queries(block: Block, dy: np.ndarray, dC: np.ndarray) -> None:
    """Run the states again and add the gradient of C, ``dC_t += state_t dy_t``; ``dy`` is (q, w), ``dC`` (q, C)."""
    _queries_fours(_fours(block), dy, dC)
    _queries_ones(_ones(block), dy, dC)


@part
def _back_fours(block: Block, dy: np.ndarray, du: np.ndarray, dB: np.ndarray) -> None:
    dstate = block.state
    n, w = dstate.shape
    zero = np.float32(0)
    for t in range(block.u.shape[0] - 1, -1, -1):
        a, ut, gt, dut = block.a[t], block.u[t], dy[t], du[t]
        B, C = block.v[t][block.at_b : block.at_b + n], block.v[t][block.at_c : block.at_c + n]
        dBt = dB[t][block.at : block.at + n]
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
                dstate[i, c] = s0 * a
                dstate[i + 1, c] = s1 * a
                dstate[i + 2, c] = s2 * a
                dstate[i + 3, c] = s3 * a
            dBt[i] += d0
            dBt[i + 1] += d1
            dBt[i + 2] += d2
            dBt[i + 3] += d3


@part
def _back_ones(block: Block, dy: np.ndarray, du: np.ndarray, dB: np.ndarray) -> None:
    dstate = block.state
    n, w = dstate.shape
    for t in range(block.u.shape[0] - 1, -1, -1):
        a, ut, gt, dut = block.a[t], block.u[t], dy[t], du[t]
        for i in range(n):
            b, q, d = block.v[t, block.at_b + i], block.v[t, block.at_c + i], np.float32(0)
            for c in range(w):
                s = dstate[i, c] + gt[c] * q
                dut[c] += s * b
                d += s * ut[c]
                dstate[i, c] = s * a
            dB[t, block.at + i] += d


@part
def scan_back(block: Block, dy: np.ndarray, du: np.ndarray, dB: np.ndarray) -> None:
    """Run the gradient of the state, which stands in ``block.state``, from the last token read to the first.

    ``dstate_t = a_{t+1} dstate_{t+1} + dy_t C_t^T``, ``du_t += dstate_t B_t``, ``dB_t += dstate_t u_t``. On entry
    and on return ``dstate`` is already multiplied by the decay of the token read after it.
    """
    _back_fours(_fours(block), dy, du, dB)
    _back_ones(_ones(block), dy, du, dB)
