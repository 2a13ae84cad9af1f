"""Rank the genes of a cell, the inner part of the tokenizer: make one number per gene, sort, and turn into tokens.

A key holds a gene's value and its token in one whole number, with the bits of the value inverted. For non-negative
floats the order of the bits is the order of the values, so ascending keys are descending values, with ties ordered by
token. numpy sorts plain whole numbers with vector instructions; the rest is compiled here.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from genemamba_sc._constants import FIRST_GENE_ID, PAD_ID, TARGET_SUM

# Number of cells whose keys are held at once: few enough to stay in the processor's cache.
_CHUNK = 128
# With this many times more keys than are needed, it is cheaper to find the first ones before they are sorted.
_MANY = 2


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock, and keep the result on disk where any place can be written."""
    function = inspect.unwrap(function)  # under test, a type checker has wrapped it: only plain code compiles
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)


@compiled
def most_matched(indices: np.ndarray, indptr: np.ndarray, columns: np.ndarray) -> int:
    """Count the entries in columns of the vocabulary, in the cell that has most: no cell is longer."""
    most = 0
    for row in range(indptr.size - 1):
        matched = 0
        for column in indices[indptr[row] : indptr[row + 1]]:
            matched += columns[column] >= FIRST_GENE_ID
        most = max(most, matched)
    return most


@compiled
def fill_keys(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    medians: np.ndarray,
    rows: tuple[int, int],
    keys: np.ndarray,
    ends: np.ndarray,
) -> int:
    """Write the keys of some cells one after the other, and where each cell ends; return the first refused entry or -1.

    Columns of one gene are added.
    """
    longest = 1
    for row in range(rows[0], rows[1]):
        longest = max(longest, indptr[row + 1] - indptr[row])
    tokens, counts = np.empty(longest, dtype=np.int32), np.empty(longest, dtype=np.float64)
    values = np.empty(longest, dtype=np.float32)
    bits = values.view(np.uint32)
    # This is where a token stands in its cell, counted on from cell to cell: what lies below ``base`` is of an earlier
    # cell.
    place, base = np.zeros(medians.size, dtype=np.int64), np.int64(1)
    end = 0
    for row in range(rows[0], rows[1]):
        n, total = 0, 0.0
        for entry in range(indptr[row], indptr[row + 1]):
            count = np.float64(data[entry])
            if not 0.0 <= count < np.inf:
                return entry
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
        base += n
        scale = TARGET_SUM / total if n else 0.0
        for i in range(n):
            values[i] = counts[i] * scale / medians[tokens[i]]
        for i in range(n):
            keys[end + i] = (np.uint64(0x7FFFFFFF - bits[i]) << np.uint64(32)) | np.uint64(tokens[i])
        end += n
        ends[row - rows[0]] = end
    return -1


@compiled
def write_tokens(
    keys: np.ndarray, ends: np.ndarray, row: int, ids: np.ndarray, value_bits: np.ndarray, lengths: np.ndarray
) -> None:
    """Turn sorted keys into tokens, from ``row`` on: as many of each cell as there is room for, then pads."""
    begin, low = 0, np.uint64(0xFFFFFFFF)
    for i in range(ends.size):
        kept = min(ends[i] - begin, ids.shape[1])
        for j in range(kept):
            key = keys[begin + j]
            ids[row + i, j] = np.int32(key & low)
            value_bits[row + i, j] = np.uint32(0x7FFFFFFF) - np.uint32(key >> np.uint64(32))
        ids[row + i, kept:] = PAD_ID
        value_bits[row + i, kept:] = 0
        lengths[row + i] = kept
        begin = ends[i]


def sort_first(keys: np.ndarray, k: int) -> None:
    """Put the ``k`` smallest keys first, ascending, in place; the order of the others is undefined."""
    if keys.size > _MANY * k:
        keys.partition(k - 1)
        keys = keys[:k]
    keys.sort()


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
) -> int:
    """Write the tokens of the cells in ``range(*rows)``; return the first refused entry, or -1."""
    starts = range(rows[0], rows[1], _CHUNK)
    chunks = [(start, min(start + _CHUNK, rows[1])) for start in starts]
    keys = np.empty(max((int(indptr[last] - indptr[first]) for first, last in chunks), default=0), dtype=np.uint64)
    for first, last in chunks:
        ends = np.empty(last - first, dtype=np.int64)
        refused = fill_keys(data, indices, indptr, columns, medians, (first, last), keys, ends)
        if refused >= 0:
            return refused
        begin = 0
        for end in ends.tolist():
            sort_first(keys[begin:end], ids.shape[1])
            begin = end
        write_tokens(keys, ends, first, ids, value_bits, lengths)
    return -1
