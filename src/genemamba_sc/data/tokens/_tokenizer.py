"""Make rank tokens: the genes of a cell, ranked by expression relative to each gene's typical level."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, Int32, Integer
from numpy.typing import ArrayLike
from scipy import sparse

from genemamba_sc._constants import FIRST_GENE_ID, UNK_ID
from genemamba_sc.data.cells._scale_check import refuse_entry
from genemamba_sc.data.genes._vocabulary import GeneVocabulary
from genemamba_sc.data.tokens._ranking import first_refused, most_matched, rank_rows

_Rows: TypeAlias = sparse.csr_matrix | sparse.csr_array


@dataclass(frozen=True)
class Tokens:
    """Hold the rank tokens of a block of cells.

    Attributes
    ----------
    ids
        Token ids, ``(b, l)``, right-padded with ``PAD_ID``; ``l`` is the longest cell of the block, at least 1.
    values
        Values, ``(b, l)``, that the order is by, descending along a row; 0 where padded.
    lengths
        Number of genes of each cell, ``(b,)``; 0 for a cell without any gene of the vocabulary.
    """

    ids: Int32[np.ndarray, "b l"]
    values: Float32[np.ndarray, "b l"]
    lengths: Int32[np.ndarray, "b"]


class RankTokenizer:
    """Rank the genes of each cell by their expression relative to each gene's typical level.

    ``value = count / cell total * 10,000 / median``, where the total is over all columns and the median is the
    gene's non-zero median in the vocabulary (Theodoris et al., Nature 2023, the encoding that GeneMamba adopts). Genes
    without counts and columns outside the vocabulary are dropped; columns of the same gene are added; genes are put
    in descending order of value, equal values in ascending order of token id, and cut at ``max_len``.

    Parameters
    ----------
    vocabulary
        Gives the median of each token.
    max_len
        Largest number of genes kept per cell.
    n_threads
        Number of threads that share the rows of a call. The tokens do not depend on it.

    Raises
    ------
    ValueError
        If ``max_len`` or ``n_threads`` is below 1.

    Notes
    -----
    Values are computed in float64, rounded to float32 and only then compared: the order is a function of the values
    that are returned, and values that are equal up to rounding are tied. The tokens of a cell depend on that cell
    alone, whatever the order of the columns. This is exact for counts. For fractions, whose sum depends on the order of
    addition in the last bit of float64, it holds except for a value that lies on the edge between two float32 numbers.
    """

    def __init__(self, vocabulary: GeneVocabulary, max_len: int = 512, n_threads: int = 1) -> None:
        for name, value in (("max_len", max_len), ("n_threads", n_threads)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")
        self.vocabulary = vocabulary
        self.max_len = int(max_len)
        self.n_threads = int(n_threads)
        self._medians = np.array(vocabulary.token_medians, dtype=np.float64)

    def __call__(self, cells: Any, columns: ArrayLike) -> Tokens:
        """Tokenise a block of cells.

        Parameters
        ----------
        cells
            Counts or normalised values, ``(b, n_vars)``, linear (see :func:`to_linear`): a sparse matrix or an array.
            They are left unchanged. What is not in CSR form is copied to it.
        columns
            Token id of each column, ``(n_vars,)``; ``UNK_ID`` where the vocabulary lacks the gene.

        Returns
        -------
        Tokens
            One row per cell, in the order of ``cells``.

        Raises
        ------
        TypeError
            If ``cells`` is no matrix.
        ValueError
            If a value is negative, NaN or infinite, the number of columns differs, or a column has the id of
            another special token or one beyond the vocabulary.
        """
        cells = _by_rows(cells)
        columns = self._checked(cells, np.asarray(columns))
        data = _plain(cells.data, np.float32 if cells.dtype == np.float32 else np.float64)
        indices, indptr = _plain(cells.indices, np.int32), _plain(cells.indptr, np.int64)
        parts = self._parts(indptr)
        data_bits, limit = _bits(data)
        surveys = _each(
            lambda part: (
                first_refused(data, data_bits, indptr, part, limit),
                most_matched(indices, indptr, columns, part),
            ),
            parts,
        )
        for entry, _ in surveys:
            if entry >= 0:
                refuse_entry(entry, cells)
        width = max(1, min(self.max_len, max((most for _, most in surveys), default=0)))
        ids = np.empty((cells.shape[0], width), dtype=np.int32)
        values = np.empty((cells.shape[0], width), dtype=np.float32)
        lengths = np.empty(cells.shape[0], dtype=np.int32)
        bits = values.view(np.uint32)
        _each(lambda part: rank_rows(data, indices, indptr, columns, self._medians, part, ids, bits, lengths), parts)
        longest = max(1, int(lengths.max(initial=1)))
        if longest < width:  # zeros are stored, or columns of one gene were added
            ids, values = ids[:, :longest].copy(), values[:, :longest].copy()
        return Tokens(ids=ids, values=values, lengths=lengths)

    def _checked(self, cells: _Rows, columns: np.ndarray) -> np.ndarray:
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

    def _parts(self, indptr: np.ndarray) -> list[tuple[int, int]]:
        """Divide the rows among the threads, with about as many values for each."""
        shares = np.linspace(0, indptr[-1], self.n_threads + 1)[1:-1]
        edges = [0, *np.searchsorted(indptr, shares).tolist(), indptr.size - 1]
        return [(first, last) for first, last in zip(edges[:-1], edges[1:]) if first < last]


def _by_rows(cells: Any) -> _Rows:
    """Return the cells in CSR form: the kernels read indices and data of it, and any other form has these, too."""
    if sparse.issparse(cells) and cells.ndim == 2:
        return cells.tocsr()
    if isinstance(cells, np.ndarray) and cells.ndim == 2 and not isinstance(cells, np.ma.MaskedArray):
        is_half = cells.dtype == np.float16 or not cells.dtype.isnative  # scipy reads neither
        return sparse.csr_array(cells.astype(np.float32 if is_half else cells.dtype, copy=False))
    raise TypeError(
        "A tokenizer reads a sparse matrix or an array of shape (cells, genes). Got "
        f"{type(cells).__name__}{f' of shape {cells.shape}' if hasattr(cells, 'shape') else ''}. Pass adata.X[:100], "
        "for example."
    )


def _each(function: Callable[[tuple[int, int]], Any], parts: list[tuple[int, int]]) -> list[Any]:
    """Call the function for each part of the rows, on a thread each; their results, in order."""
    if len(parts) < 2:
        return [function(part) for part in parts]
    # A pool per call costs 0.1 ms, and leaves nothing behind that would break a forked or pickled loader.
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(function, parts))


def _plain(array: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """Give arrays one memory layout, because read-only or strided arrays would make the code compile again."""
    return np.require(array, dtype, ["C", "W"])


def _bits(data: np.ndarray) -> tuple[np.ndarray, Any]:
    """Give the bits of floats as whole numbers, and those of infinity."""
    whole = np.dtype(np.uint32 if data.dtype == np.float32 else np.uint64)
    return data.view(whole), np.array(np.inf, dtype=data.dtype).view(whole)[()]


def take_tokens(tokens: Tokens, rows: Integer[np.ndarray, "b"]) -> Tokens:
    """Take the cells ``rows``, padded only to the longest of them."""
    lengths = tokens.lengths[rows]
    longest = max(1, int(lengths.max(initial=1)))
    return Tokens(ids=tokens.ids[rows, :longest], values=tokens.values[rows, :longest], lengths=lengths)
