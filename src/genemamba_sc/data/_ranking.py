"""Rank the genes of a cell, the inner part of the tokenizer: make one number per gene, sort, and turn into tokens.

A key holds a gene's value and its token in one whole number, with the bits of the value inverted. For non-negative
floats the order of the bits is the order of the values, so ascending keys are descending values, with ties ordered by
token. Everything is compiled and holds no lock of the interpreter, so that threads do not wait for each other.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from genemamba_sc._constants import FIRST_GENE_ID, PAD_ID, TARGET_SUM

# With this many times more keys than are needed, it is cheaper to leave out the last ones before the others are sorted.
_MANY = 2
# Digits of a sort have this many bits at most: the counts of both digits then stay in the processor's first cache.
_MOST_BITS = 11
# As many moves per key may mend the order that two digits leave; with more of them another sort is faster.
_MOST_MOVES = 8
_LOW = np.uint64(0xFFFFFFFF)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock, and keep the result on disk where any place can be written."""
    function = inspect.unwrap(function)  # under test, a type checker has wrapped it: only plain code compiles
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)


@compiled
def first_refused(data: np.ndarray, bits: np.ndarray, indptr: np.ndarray, rows: tuple[int, int], limit: Any) -> int:
    """Find the first entry of the cells in ``range(*rows)`` that is negative or not finite, or -1.

    ``bits`` are those of ``data``, and ``limit`` those of infinity: from there on lie infinity, NaN and what is
    negative. The largest of many whole numbers is found faster than floats are compared.
    """
    largest = limit - limit
    for entry in bits[indptr[rows[0]] : indptr[rows[1]]]:
        largest = max(largest, entry)
    if largest >= limit:
        for entry in range(indptr[rows[0]], indptr[rows[1]]):
            if not 0.0 <= data[entry] < np.inf:
                return entry
    return -1


@compiled
def most_matched(indices: np.ndarray, indptr: np.ndarray, columns: np.ndarray, rows: tuple[int, int]) -> int:
    """Count the entries in columns of the vocabulary, in the cell of ``range(*rows)`` with most: no cell is longer."""
    most = 0
    for row in range(rows[0], rows[1]):
        matched = 0
        for column in indices[indptr[row] : indptr[row + 1]]:
            matched += columns[column] >= FIRST_GENE_ID
        most = max(most, matched)
    return most


@compiled
def _fill_keys(
    data: np.ndarray,
    indices: np.ndarray,
    columns: np.ndarray,
    medians: np.ndarray,
    place: np.ndarray,
    base: int,
    scratch: tuple[np.ndarray, np.ndarray, np.ndarray],
    keys: np.ndarray,
) -> int:
    """Write the keys of one cell, given its entries, and count them. Columns of one gene are added.

    ``place`` says where a token stands in its cell, counted on from cell to cell: what lies below ``base`` is of an
    earlier cell. In ``scratch`` are tokens, counts and values.
    """
    tokens, counts, values = scratch
    n, total = 0, 0.0
    for entry in range(data.size):
        count = np.float64(data[entry])
        total += count
        token = columns[indices[entry]]
        if count == 0.0 or token < FIRST_GENE_ID:
            continue
        if place[token] < base:
            place[token] = base + n
            tokens[n] = token
            counts[n] = count
            n += 1
        else:
            counts[place[token] - base] += count
    scale = TARGET_SUM / total if n else 0.0
    for i in range(n):
        values[i] = counts[i] * scale / medians[tokens[i]]
    bits = values.view(np.uint32)
    for i in range(n):
        keys[i] = (np.uint64(0x7FFFFFFF - bits[i]) << np.uint64(32)) | np.uint64(tokens[i])
    return n


@compiled
def _leave_out(keys: np.ndarray, k: int, starts: np.ndarray) -> int:
    """Put keys first among which the ``k`` smallest are, and count them; the order and the others are undefined."""
    low, high = keys.min() >> np.uint64(32), keys.max() >> np.uint64(32)
    shift, counts = _shift_for(high - low, _MOST_BITS), starts[0]
    counts[: 1 << _MOST_BITS] = 0
    for key in keys:
        counts[np.int64(((key >> np.uint64(32)) - low) >> shift)] += 1
    last, n = 0, counts[0]
    while n < k:
        last += 1
        n += counts[last]
    n = 0
    for key in keys:
        if np.int64(((key >> np.uint64(32)) - low) >> shift) <= last:
            keys[n] = key
            n += 1
    return n


@compiled
def _shift_for(span: np.uint64, n_bits: int) -> np.uint64:
    """Count the bits to drop from numbers up to ``span`` so that ``n_bits`` are left."""
    shift = np.uint64(0)
    while (span >> shift) >> np.uint64(n_bits):
        shift += np.uint64(1)
    return shift


@compiled
def _sort_by_digits(keys: np.ndarray, spare: np.ndarray, starts: np.ndarray) -> None:
    """Sort keys by the first bits of their values, two digits of them, the lower digit first."""
    n_bits = 1
    while n_bits < _MOST_BITS and (keys.size >> n_bits):
        n_bits += 1
    low, high = keys.min() >> np.uint64(32), keys.max() >> np.uint64(32)
    shift = _shift_for(high - low, 2 * n_bits)
    width, mask = np.uint64(n_bits), np.uint64((1 << n_bits) - 1)
    starts[:, : 1 << n_bits] = 0
    for key in keys:
        digits = ((key >> np.uint64(32)) - low) >> shift
        starts[0, np.int64(digits & mask)] += 1
        starts[1, np.int64(digits >> width)] += 1
    first, second = np.int64(0), np.int64(0)
    for digit in range(1 << n_bits):
        n_first, n_second = starts[0, digit], starts[1, digit]
        starts[0, digit], starts[1, digit] = first, second
        first, second = first + n_first, second + n_second
    for key in keys:
        lower = np.int64((((key >> np.uint64(32)) - low) >> shift) & mask)
        spare[starts[0, lower]] = key
        starts[0, lower] += 1
    for i in range(keys.size):
        upper = np.int64((((spare[i] >> np.uint64(32)) - low) >> shift) >> width)
        keys[starts[1, upper]] = spare[i]
        starts[1, upper] += 1


@compiled
def _mend(keys: np.ndarray) -> None:
    """Sort keys that are nearly in order: by insertion, and by another sort where that takes many moves."""
    left = _MOST_MOVES * keys.size
    for i in range(1, keys.size):
        key, j = keys[i], i
        while j > 0 and keys[j - 1] > key and left > 0:
            keys[j] = keys[j - 1]
            j, left = j - 1, left - 1
        keys[j] = key
        if left <= 0:
            keys.sort()
            return


@compiled
def sort_first(keys: np.ndarray, k: int, spare: np.ndarray, starts: np.ndarray) -> None:
    """Put the ``k`` smallest keys first, ascending, in place; the order of the others is undefined.

    Two digits hold enough of the values that nearly all keys are in order after them. ``spare`` has room for all keys,
    and ``starts``, of shape ``(2, 2**11)``, for the counts of both digits.
    """
    if keys.size > _MANY * k:
        keys = keys[: _leave_out(keys, k, starts)]
    if keys.size > 1:
        _sort_by_digits(keys, spare, starts)
        _mend(keys)


@compiled
def rank_rows(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    medians: np.ndarray,
    rows: tuple[int, int],
    ids: np.ndarray,
    value_bits: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Write the tokens of the cells in ``range(*rows)``: as many of each as there is room for, then pads."""
    longest = 1
    for row in range(rows[0], rows[1]):
        longest = max(longest, indptr[row + 1] - indptr[row])
    scratch = np.empty(longest, np.int32), np.empty(longest, np.float64), np.empty(longest, np.float32)
    keys, spare = np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    starts = np.empty((2, 1 << _MOST_BITS), np.int32)
    place, base = np.zeros(medians.size, np.int64), 1
    for row in range(rows[0], rows[1]):
        entries = slice(indptr[row], indptr[row + 1])
        n = _fill_keys(data[entries], indices[entries], columns, medians, place, base, scratch, keys)
        base += n
        kept = min(n, ids.shape[1])
        sort_first(keys[:n], ids.shape[1], spare, starts)
        for j in range(kept):
            ids[row, j] = np.int32(keys[j] & _LOW)
            value_bits[row, j] = np.uint32(0x7FFFFFFF) - np.uint32(keys[j] >> np.uint64(32))
        ids[row, kept:] = PAD_ID
        value_bits[row, kept:] = 0
        lengths[row] = kept
