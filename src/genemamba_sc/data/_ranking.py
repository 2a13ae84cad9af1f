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

# Number of cells whose keys are held at once: few enough to stay in the processor's cache, enough that threads seldom
# wait for the interpreter.
_CHUNK = 32
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
def first_refused(data: np.ndarray, indptr: np.ndarray, rows: tuple[int, int]) -> int:
    """Find the first entry of the cells in ``range(*rows)`` that is negative or not finite, or -1."""
    entries = data[indptr[rows[0]] : indptr[rows[1]]]
    refused = False
    for count in entries:
        refused |= not 0.0 <= count < np.inf
    if refused:
        for entry in range(entries.size):
            if not 0.0 <= entries[entry] < np.inf:
                return indptr[rows[0]] + entry
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
def fill_keys(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    columns: np.ndarray,
    medians: np.ndarray,
    rows: np.ndarray,
    keys: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Write the keys of the cells ``rows``, one row of ``keys`` each, and their number.

    Columns of one gene are added. What lies beyond a cell's keys in its row is filled with the highest key.
    """
    longest = keys.shape[1]
    tokens, counts = np.empty(longest, dtype=np.int32), np.empty(longest, dtype=np.float64)
    values = np.empty(longest, dtype=np.float32)
    bits = values.view(np.uint32)
    # This is where a token stands in its cell, counted on from cell to cell: what lies below ``base`` is of an earlier
    # cell.
    place, base = np.zeros(medians.size, dtype=np.int64), np.int64(1)
    for index in range(rows.size):
        n, total = 0, 0.0
        for entry in range(indptr[rows[index]], indptr[rows[index] + 1]):
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
        base += n
        scale = TARGET_SUM / total if n else 0.0
        for i in range(n):
            values[i] = counts[i] * scale / medians[tokens[i]]
        for i in range(n):
            keys[index, i] = (np.uint64(0x7FFFFFFF - bits[i]) << np.uint64(32)) | np.uint64(tokens[i])
        keys[index, n:] = ~np.uint64(0)
        lengths[index] = n


@compiled
def write_tokens(
    keys: np.ndarray, n_keys: np.ndarray, rows: np.ndarray, ids: np.ndarray, value_bits: np.ndarray, lengths: np.ndarray
) -> None:
    """Turn sorted keys into the tokens of the cells ``rows``: as many of each as there is room for, then pads."""
    low = np.uint64(0xFFFFFFFF)
    for i in range(rows.size):
        row, kept = rows[i], min(n_keys[i], ids.shape[1])
        for j in range(kept):
            key = keys[i, j]
            ids[row, j] = np.int32(key & low)
            value_bits[row, j] = np.uint32(0x7FFFFFFF) - np.uint32(key >> np.uint64(32))
        ids[row, kept:] = PAD_ID
        value_bits[row, kept:] = 0
        lengths[row] = kept


def sort_first(keys: np.ndarray, k: int) -> None:
    """Put the ``k`` smallest keys of each row first, ascending, in place; the order of the others is undefined.

    One call sorts many rows, because between two calls threads wait for each other.
    """
    if keys.shape[-1] > _MANY * k:
        keys.partition(k - 1, axis=-1)
        keys = keys[..., :k]
    keys.sort(axis=-1)


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
    """Write the tokens of the cells in ``range(*rows)``."""
    n_entries = np.diff(indptr[rows[0] : rows[1] + 1])
    # Cells of similar length are sorted together, so that few keys are filled up.
    order = rows[0] + np.argsort(n_entries, kind="stable")
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        longest = int(n_entries[chunk[-1] - rows[0]])
        keys, n_keys = np.empty((len(chunk), longest), dtype=np.uint64), np.empty(len(chunk), dtype=np.int64)
        fill_keys(data, indices, indptr, columns, medians, chunk, keys, n_keys)
        sort_first(keys[:, : n_keys.max()], ids.shape[1])
        write_tokens(keys, n_keys, chunk, ids, value_bits, lengths)
