"""Embed cells without a hidden state of any token: weigh, add up and read the tokens of one cell after the other.

A layer that reads tokens as they stand in the token table projects each gene once, not each token of each cell: what a
token enters the mixer with is a row of a table times a number. A pool over the mixer's output needs a sum over tokens,
so no output of a token is kept either. What a cell needs stays in a second-level cache, and no cell is padded.
"""

from typing import NamedTuple

import numpy as np

from genemamba_sc.ops._fused_arrays import Cell, Mixer, Room, Way
from genemamba_sc.ops._fused_forward import new_room, read_cell
from genemamba_sc.ops._fused_parts import copy
from genemamba_sc.ops._numba import compiled, inlined, part


class Table(NamedTuple):
    """Hold what the tokens of a vocabulary bring into a cell, all arrays in float32."""

    rows: np.ndarray  # (v, d), the token table
    projected: np.ndarray  # (v, [z | x | B | C | dt]) of a token of weight 1 whose norm is left out
    squares: np.ndarray  # (v), mean square of a row; only read where there is a norm
    bins: np.ndarray  # (n), the weight of each half-octave of a value
    dt_bias: np.ndarray  # (heads)
    lowest: float  # half-octave of the first bin
    edge: float  # what is added to a half-octave before it is rounded down
    normed: bool  # whether an RMSNorm precedes the projection
    eps: float  # of that norm


class Cells(NamedTuple):
    """Hold the tokens of cells."""

    ids: np.ndarray  # (b, l)
    values: np.ndarray  # (b, l)
    octaves: np.ndarray  # (b, l), log2 of the values; not read where a value is not positive
    lengths: np.ndarray  # (b)
    context: int  # how many tokens of each cell the mixer reads


@part
def weigh(values: np.ndarray, octaves: np.ndarray, table: Table, out: np.ndarray) -> None:
    """Look up the weight of the tokens of a cell; 1 where no value is known."""
    bins, lowest, edge = table.bins, np.float32(table.lowest), np.float32(table.edge)
    highest = np.float32(bins.size - 1)
    for t in range(out.size):
        if values[t] > 0:
            half_octave = np.floor(np.float32(2) * octaves[t] + edge) - lowest
            out[t] = bins[int(max(min(half_octave, highest), np.float32(0)))]
        else:
            out[t] = 1


@part
def add_rows(rows: np.ndarray, ids: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Add the weighted rows of the tokens to ``out`` (d), four at a time."""
    fours = ids.size // 4 * 4
    for t in range(0, fours, 4):
        r0, r1, r2, r3 = rows[ids[t]], rows[ids[t + 1]], rows[ids[t + 2]], rows[ids[t + 3]]
        w0, w1, w2, w3 = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for c in range(out.size):
            out[c] += (w0 * r0[c] + w1 * r1[c]) + (w2 * r2[c] + w3 * r3[c])
    for t in range(fours, ids.size):
        row, weight = rows[ids[t]], weights[t]
        for c in range(out.size):
            out[c] += weight * row[c]


@part
def project(table: Table, ids: np.ndarray, weights: np.ndarray, out: np.ndarray, dt: np.ndarray) -> None:
    """Compute what tokens enter the mixer with, (l, [z | x | B | C | dt]), and their steps ``dt`` (l, heads)."""
    projected, squares, bias, normed = table.projected, table.squares, table.dt_bias, table.normed
    eps, n_other, ceiling = np.float32(table.eps), projected.shape[1] - bias.size, np.float32(20)
    for t in range(ids.size):
        scale = weights[t]
        if normed:  # RMSNorm(w e) w, in which only w / RMS(w e) is not in the table
            scale *= weights[t] / np.sqrt(squares[ids[t]] * weights[t] * weights[t] + eps)
        row, own = projected[ids[t]], out[t]
        for c in range(own.size):
            own[c] = scale * row[c]
        for h in range(bias.size):
            raw = own[n_other + h] + bias[h]
            dt[t, h] = raw if raw > ceiling else np.log1p(np.exp(raw))


@inlined
def read_both_ways(projected: np.ndarray, dt: np.ndarray, mixer: Mixer, room: Room, out: np.ndarray) -> None:
    """Add the gated and normed output of both readings, summed over the tokens, to ``out`` (1, d_inner)."""
    nothing = np.empty((0, out.shape[1]), dtype=np.float32)
    for back in (1, -1):
        read_cell(Cell(projected, dt, Way(0, len(dt), back)), mixer, room, True, out, nothing)


@compiled
def pool_cells(
    cells: Cells, table: Table, mixer: Mixer, context: np.ndarray, whole: np.ndarray, read: np.ndarray
) -> None:
    """Fill in the three sums of :class:`genemamba_sc.ops.Pools`, cell after cell."""
    ids, lengths = cells.ids, cells.lengths
    room, weights = new_room(mixer), np.empty(ids.shape[1], dtype=np.float32)
    k = min(cells.context, ids.shape[1])
    projected = np.empty((k, table.projected.shape[1]), dtype=np.float32)
    dt = np.empty((k, mixer.A.size), dtype=np.float32)
    for i in range(len(ids)):
        n = lengths[i]
        m = min(n, k)
        weigh(cells.values[i], cells.octaves[i], table, weights[:n])
        context[i] = 0
        read[i] = 0
        add_rows(table.rows, ids[i, :m], weights[:m], context[i])
        copy(context[i], whole[i])  # an assignment also compiles the message for unequal shapes
        add_rows(table.rows, ids[i, m:n], weights[m:n], whole[i])
        project(table, ids[i, :m], weights[:m], projected[:m], dt[:m])
        read_both_ways(projected[:m], dt[:m], mixer, room, read[i : i + 1])
