"""Rank tokens: the genes of a cell, the most telling first. The one definition of them."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from jaxtyping import Float32, Int32
from scipy import sparse

from genemamba_sc._constants import FIRST_GENE_ID, PAD_ID, TARGET_SUM, UNK_ID
from genemamba_sc.data._vocabulary import GeneVocabulary

# Keys of one cell are put into at most so many buckets; a bucket of more than so many keys is not left to insertion.
_BUCKETS, _CROWDED = 4096, 24


@dataclass(frozen=True)
class Tokens:
    """Rank tokens of a block of cells.

    Attributes
    ----------
    ids
        ``(b, l)`` token ids, right-padded with ``PAD_ID``; ``l`` is the longest cell of the block, at least 1.
    values
        ``(b, l)`` what the order is by, descending along a row; 0 where padded.
    lengths
        ``(b,)`` number of genes of each cell; 0 for a cell without any gene of the vocabulary.
    """

    ids: Int32[np.ndarray, "b l"]
    values: Float32[np.ndarray, "b l"]
    lengths: Int32[np.ndarray, "b"]


class RankTokenizer:
    """Orders the genes of each cell by how far they are expressed above what is usual for them.

    ``value = count / cell total * 10,000 / median``, where the total is over all columns and the median is the
    gene's non-zero median in the vocabulary (Theodoris et al., Nature 2023, the encoding that GeneMamba adopts). Genes
    without counts and columns outside the vocabulary are dropped; columns of the same gene are added; genes are put
    in descending order of value, equal values in ascending order of token id, and cut at ``max_len``.

    Parameters
    ----------
    vocabulary
        Gives the median of each token.
    max_len
        Genes kept per cell, at most.
    n_threads
        Threads that share the rows of a call. The tokens do not depend on it.

    Raises
    ------
    ValueError
        If ``max_len`` or ``n_threads`` is below 1.

    Notes
    -----
    Values are computed in float64, rounded to float32 and only then compared: the order is a function of the values
    that are returned, and what is equal but for rounding is a tie. A cell's tokens depend on that cell alone,
    whatever the order of the columns (exactly so for counts; for fractions, whose sum depends on the order of
    addition in the last bit of float64, short of a value that lies on the edge between two float32 numbers).
    """

    def __init__(self, vocabulary: GeneVocabulary, max_len: int = 512, n_threads: int = 1) -> None:
        for name, value in (("max_len", max_len), ("n_threads", n_threads)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")
        self.vocabulary = vocabulary
        self.max_len = int(max_len)
        self.n_threads = int(n_threads)
        self._medians = np.array(vocabulary.token_medians, dtype=np.float64)

    def __call__(self, cells: sparse.csr_matrix, columns: Int32[np.ndarray, "n_vars"]) -> Tokens:
        """Tokenise a block of cells.

        Parameters
        ----------
        cells
            ``(b, n_vars)`` counts or normalised values, linear (see :func:`to_linear`). Left unchanged.
        columns
            ``(n_vars,)`` token id of each column; ``UNK_ID`` where the vocabulary lacks the gene.

        Returns
        -------
        Tokens
            One row per cell, in the order of ``cells``.

        Raises
        ------
        ValueError
            If a value is negative, NaN or infinite, the number of columns differs, or a column has the id of
            another special token or one beyond the vocabulary.
        """
        columns = self._checked(cells, columns)
        data = _plain(cells.data, np.float32 if cells.dtype == np.float32 else np.float64)
        indices, indptr = _plain(cells.indices, np.int32), _plain(cells.indptr, np.int64)
        n_cells = cells.shape[0]
        width = max(1, min(self.max_len, int(np.diff(indptr).max(initial=1))))
        ids = np.empty((n_cells, width), dtype=np.int32)
        values = np.empty((n_cells, width), dtype=np.float32)
        lengths = np.empty(n_cells, dtype=np.int32)

        def rank(first: int, last: int) -> int:
            return _rank_rows(
                data, indices, indptr, columns, self._medians, first, last, ids, values.view(np.uint32), lengths
            )

        _refuse(self._over_rows(rank, indptr), cells)
        longest = max(1, int(lengths.max(initial=1)))
        if longest < width:
            ids, values = ids[:, :longest].copy(), values[:, :longest].copy()
        return Tokens(ids=ids, values=values, lengths=lengths)

    def _checked(self, cells: sparse.csr_matrix, columns: np.ndarray) -> np.ndarray:
        if columns.shape != (cells.shape[1],):
            raise ValueError(
                f"columns must name a token for each column of the cells; got shape {columns.shape} for "
                f"{cells.shape[1]} columns. Match the genes of the data these cells come from."
            )
        last = self._medians.size - 3  # [CLS] and [MASK] close the vocabulary
        known = columns[columns != UNK_ID]
        if known.size and not FIRST_GENE_ID <= known.min() <= known.max() <= last:
            wrong = known[(known < FIRST_GENE_ID) | (known > last)][0]
            raise ValueError(
                f"A column is a gene of the vocabulary ({FIRST_GENE_ID} to {last}) or {UNK_ID}; got token id {wrong}. "
                "Match the genes with this tokenizer's own vocabulary."
            )
        return _plain(columns, np.int32)

    def _over_rows(self, rank: Callable[[int, int], int], indptr: np.ndarray) -> int:
        """Rank parts of about as many values each; the first refused entry, or -1."""
        shares = np.linspace(0, indptr[-1], self.n_threads + 1)[1:-1]
        edges = [0, *np.searchsorted(indptr, shares).tolist(), indptr.size - 1]
        parts = [(first, last) for first, last in zip(edges[:-1], edges[1:]) if first < last]
        if len(parts) < 2:
            refused = [rank(first, last) for first, last in parts]
        else:
            # A pool per call costs 0.1 ms, and leaves nothing behind that a forked or pickled loader would trip over.
            with ThreadPoolExecutor(len(parts)) as pool:
                refused = list(pool.map(lambda part: rank(*part), parts))
        return next((entry for entry in refused if entry >= 0), -1)


def _plain(array: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """Give one memory layout to the compiled code, which would be compiled anew for read-only or strided arrays."""
    return np.require(array, dtype, ["C", "W"])


def _refuse(entry: int, cells: sparse.csr_matrix) -> None:
    if entry < 0:
        return
    row = int(np.searchsorted(cells.indptr, entry, side="right")) - 1
    raise ValueError(
        f"Expression must be finite and not negative; row {row} of this block of {cells.shape[0]} cells has "
        f"{cells.data[entry]} in column {cells.indices[entry]}. "
        "Scaled or corrected data cannot be ranked: pass the layer that holds the counts, e.g. layer='counts'."
    )


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock, and keep the result on disk where any place can be written."""
    function = inspect.unwrap(function)  # under test, a type checker has wrapped it: only plain code compiles
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)


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
def _sort_first(keys: np.ndarray, n: int, k: int, out: np.ndarray, starts: np.ndarray) -> None:
    """Put the ``k`` smallest of ``n`` keys into ``out``, ascending.

    One pass counts the keys by their leading bits, a second puts those that are needed into their bucket, of a few
    keys each, and insertion finishes the order: what falls behind the ``k``-th key is never sorted.
    """
    low, high = keys[0], keys[0]
    for i in range(1, n):
        low, high = min(low, keys[i]), max(high, keys[i])
    n_buckets = min(2 * n, starts.size - 1)
    shift = np.uint64(0)
    while (high - low) >> shift >= np.uint64(n_buckets):
        shift += np.uint64(1)
    starts[: n_buckets + 1] = 0
    for i in range(n):
        starts[((keys[i] - low) >> shift) + np.uint64(1)] += 1
    used, end, crowded = 0, 0, False
    while end < k:  # starts[1 + bucket] becomes where the bucket begins, for the buckets that are needed
        used += 1
        size = starts[used]
        crowded |= size > _CROWDED
        starts[used] = end
        end += size
    for i in range(n):
        bucket = (keys[i] - low) >> shift
        if bucket < np.uint64(used):
            out[starts[bucket + np.uint64(1)]] = keys[i]
            starts[bucket + np.uint64(1)] += 1  # in the end, where the bucket ends
    if crowded:
        begin = 0
        for bucket in range(1, used + 1):
            gap = starts[bucket] - begin
            while gap > _CROWDED:  # Shell's sort, down to where insertion is quick
                gap = gap * 5 // 11
                _insert(out, begin, starts[bucket], gap)
            begin = starts[bucket]
    _insert(out, 0, end, 1)


@_compiled
def _insert(keys: np.ndarray, begin: int, end: int, gap: int) -> None:
    """Sort the keys that lie ``gap`` apart; quick where they are nearly in order."""
    for i in range(begin + gap, end):
        key = keys[i]
        j = i
        while j >= begin + gap and keys[j - gap] > key:
            keys[j] = keys[j - gap]
            j -= gap
        keys[j] = key


@_compiled
def _rank_rows(
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
    starts = np.empty(_BUCKETS + 1, dtype=np.int32)
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
            _sort_first(keys, n, kept, best, starts)
        for i in range(kept):
            ids[row, i] = best[i] & low
            value_bits[row, i] = np.uint32(0x7FFFFFFF) - np.uint32(best[i] >> np.uint64(32))
        ids[row, kept:] = PAD_ID
        value_bits[row, kept:] = 0
        lengths[row] = kept
    return -1
