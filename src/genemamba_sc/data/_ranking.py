"""The compiled part of the tokenizer: gathers the genes of a cell and sorts as many as are needed."""

import inspect
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from genemamba_sc._constants import FIRST_GENE_ID, PAD_ID, TARGET_SUM

# Keys of one cell are put into at most so many buckets; a bucket of more than so many is divided again.
_BUCKETS, _CROWDED = 4096, 24


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock, and keep the result on disk where any place can be written."""
    function = inspect.unwrap(function)  # under test, a type checker has wrapped it: only plain code compiles
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)


@_compiled
def most_matched(indices: np.ndarray, indptr: np.ndarray, columns: np.ndarray) -> int:
    """Count the entries in columns of the vocabulary, in the cell that has most: no cell is longer."""
    most = 0
    for row in range(indptr.size - 1):
        matched = 0
        for column in indices[indptr[row] : indptr[row + 1]]:
            matched += columns[column] >= FIRST_GENE_ID
        most = max(most, matched)
    return most


@_compiled
def _gather(
    data: np.ndarray,
    indices: np.ndarray,
    columns: np.ndarray,
    span: tuple[int, int],
    slot: np.ndarray,
    tokens: np.ndarray,
    counts: np.ndarray,
) -> tuple[int, float, int]:
    """Collect one cell's genes, columns of one gene added; their number, the cell's total, and a refused entry or -1.

    ``slot`` holds -1 for every token, before and after.
    """
    n, total, refused = 0, 0.0, -1
    for entry in range(span[0], span[1]):
        count = np.float64(data[entry])
        if not 0.0 <= count < np.inf:
            refused = entry
            break
        total += count
        token = columns[indices[entry]]
        if count == 0.0 or token < FIRST_GENE_ID:
            continue
        if slot[token] < 0:
            slot[token] = n
            tokens[n] = token
            counts[n] = count
            n += 1
        else:
            counts[slot[token]] += count
    for i in range(n):
        slot[tokens[i]] = -1
    return n, total, refused


@_compiled
def sort_first(keys: np.ndarray, k: int, out: np.ndarray) -> None:
    """Put the ``k`` smallest keys into ``out``, ascending. No key occurs twice; ``out`` has room for all.

    One pass counts the keys by their leading bits, a second puts those that are needed into their bucket, of a few
    keys each, and insertion finishes the order: what falls behind the ``k``-th key is never sorted. A bucket that
    many keys share (ties, where an outlier stretches the range) is divided in the same way.
    """
    low, high = keys[0], keys[0]
    for key in keys:
        low, high = min(low, key), max(high, key)
    n_buckets = min(2 * keys.size, _BUCKETS)
    shift = np.uint64(0)
    while (high - low) >> shift >= np.uint64(n_buckets):
        shift += np.uint64(1)
    starts = np.zeros(n_buckets + 1, dtype=np.int32)
    for key in keys:
        starts[((key - low) >> shift) + np.uint64(1)] += 1
    used, end, crowded = 0, 0, False
    while end < k:  # starts[1 + bucket] becomes where the bucket begins, for the buckets that are needed
        used += 1
        size = starts[used]
        crowded |= size > _CROWDED
        starts[used] = end
        end += size
    for key in keys:
        bucket = (key - low) >> shift
        if bucket < np.uint64(used):
            out[starts[bucket + np.uint64(1)]] = key
            starts[bucket + np.uint64(1)] += 1  # in the end, where the bucket ends
    if crowded:
        begin = 0
        for last in starts[1 : used + 1]:
            if last - begin > _CROWDED:
                sort_first(out[begin:last].copy(), last - begin, out[begin:last])
            begin = last
    for i in range(1, end):
        key, j = out[i], i
        while j > 0 and out[j - 1] > key:
            out[j] = out[j - 1]
            j -= 1
        out[j] = key


@_compiled
def rank_rows(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    medians: np.ndarray,
    first: int,
    last: int,
    ids: np.ndarray,
    value_bits: np.ndarray,
    lengths: np.ndarray,
) -> int:
    """Write the tokens of the rows ``first`` to ``last``; the first refused entry, or -1.

    A key holds the value and the token in one whole number, the bits of the value inverted: for non-negative floats
    the order of the bits is the order of the values, so ascending keys are descending values, ties by token.
    """
    largest = 1
    for row in range(first, last):
        largest = max(largest, indptr[row + 1] - indptr[row])
    slot = np.full(medians.size, -1, dtype=np.int32)
    tokens, counts = np.empty(largest, dtype=np.int32), np.empty(largest, dtype=np.float64)
    values = np.empty(largest, dtype=np.float32)
    bits = values.view(np.uint32)
    keys, best = np.empty(largest, dtype=np.uint64), np.empty(largest, dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    for row in range(first, last):
        n, total, refused = _gather(data, indices, columns, (indptr[row], indptr[row + 1]), slot, tokens, counts)
        if refused >= 0:
            return refused
        scale = TARGET_SUM / total if n else 0.0
        for i in range(n):
            values[i] = counts[i] * scale / medians[tokens[i]]
            keys[i] = (np.uint64(0x7FFFFFFF - bits[i]) << np.uint64(32)) | np.uint64(tokens[i])
        kept = min(n, ids.shape[1])
        if kept:
            sort_first(keys[:n], kept, best)
        for i in range(kept):
            ids[row, i] = best[i] & low
            value_bits[row, i] = np.uint32(0x7FFFFFFF) - np.uint32(best[i] >> np.uint64(32))
        ids[row, kept:] = PAD_ID
        value_bits[row, kept:] = 0
        lengths[row] = kept
    return -1
