"""Rank the genes of a cell, the inner part of the tokenizer: make one number per gene, sort, and turn into tokens.

A key holds a gene's value and its token in one whole number, with the bits of the value inverted. For non-negative
floats the order of the bits is the order of the values, so ascending keys are descending values, with ties ordered by
token. Everything is compiled and holds no lock of the interpreter, so that threads do not wait for each other.
"""

from typing import Any

import numpy as np

from genemamba_sc._constants import FIRST_GENE_ID, PAD_ID, TARGET_SUM
from genemamba_sc.data._compiled import compiled

# With this many times more keys than are needed, it is cheaper to leave out the last ones before the others are sorted.
_MANY = 2
# Digits of a sort have this many bits at most: their counts then stay in the processor's first cache.
_MOST_BITS = 11
# As many moves per key may mend the order that two digits leave; with more of them digits for all bits are faster.
_MOST_MOVES = 8
_LOW = np.uint64(0xFFFFFFFF)


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
def _span(keys: np.ndarray) -> tuple[np.uint64, int]:
    """Find the smallest key, and count the bits of the largest difference from it."""
    low, high, n_bits = keys[0], keys[0], 0
    for key in keys:
        low, high = min(low, key), max(high, key)
    while n_bits < 64 and (high - low) >> np.uint64(n_bits):
        n_bits += 1
    return low, n_bits


@compiled
def _leave_out(keys: np.ndarray, k: int, starts: np.ndarray) -> int:
    """Put keys first among which the ``k`` smallest are, and count them; the order and the others are undefined."""
    low, n_bits = _span(keys)
    shift = np.uint64(max(0, n_bits - _MOST_BITS))
    starts[:] = 0
    for key in keys:
        starts[np.int64((key - low) >> shift)] += 1
    last, n = 0, starts[0]
    while n < k:
        last += 1
        n += starts[last]
    n = 0
    for key in keys:
        if np.int64((key - low) >> shift) <= last:
            keys[n] = key
            n += 1
    return n


@compiled
def _by_digit(
    source: np.ndarray, target: np.ndarray, low: np.uint64, shift: int, n_bits: int, starts: np.ndarray
) -> None:
    """Write keys in the order of ``n_bits`` bits of their differences from ``low``, equal ones as they come."""
    right, mask = np.uint64(shift), np.uint64((1 << n_bits) - 1)
    starts[: 1 << n_bits] = 0
    for key in source:
        starts[np.int64(((key - low) >> right) & mask)] += 1
    first = 0
    for digit in range(1 << n_bits):
        n = starts[digit]
        starts[digit] = first
        first += n
    for key in source:
        place = np.int64(((key - low) >> right) & mask)
        target[starts[place]] = key
        starts[place] += 1


@compiled
def _mend(keys: np.ndarray) -> bool:
    """Sort keys that are nearly in order by insertion; tell whether few moves were enough."""
    left = _MOST_MOVES * keys.size
    for i in range(1, keys.size):
        key, j = keys[i], i
        while j > 0 and keys[j - 1] > key and left > 0:
            keys[j] = keys[j - 1]
            j, left = j - 1, left - 1
        keys[j] = key
    return left > 0


@compiled
def sort_first(keys: np.ndarray, k: int, spare: np.ndarray, starts: np.ndarray) -> None:
    """Put the ``k`` smallest keys first, ascending, in place; the order of the others is undefined.

    The first bits of the keys, two digits of them, the lower one first, leave nearly all keys in order. Where they do
    not, all bits follow. ``spare`` has room for all keys, and ``starts``, of 2**11, for the counts of a digit.
    """
    if keys.size > _MANY * k:
        keys = keys[: _leave_out(keys, k, starts)]
    if keys.size < 2:
        return
    low, n_bits = _span(keys)
    width = 1
    while width < _MOST_BITS and keys.size >> width:
        width += 1
    shift, spare = max(0, n_bits - 2 * width), spare[: keys.size]
    _by_digit(keys, spare, low, shift, width, starts)
    _by_digit(spare, keys, low, min(63, shift + width), width, starts)
    if not _mend(keys):
        for shift in range(0, n_bits, 2 * _MOST_BITS):
            _by_digit(keys, spare, low, shift, _MOST_BITS, starts)
            _by_digit(spare, keys, low, min(63, shift + _MOST_BITS), _MOST_BITS, starts)


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
    starts = np.empty(1 << _MOST_BITS, np.int32)
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
