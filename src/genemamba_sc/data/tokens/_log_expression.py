"""Read the log-normalised expression of each token, block by block."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Integer
from scipy import sparse

from genemamba_sc._constants import TARGET_SUM, UNK_ID
from genemamba_sc.data.cells._expression import to_linear
from genemamba_sc.data.tokens._source import CellSource

_BLOCK_CELLS = 4096


def log_expression_blocks(
    source: CellSource, indices: Integer[np.ndarray, "n"]
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Iterate over ``log1p`` of the counts per 10,000 of each token, in blocks of cells.

    Parameters
    ----------
    source
        Source of the cells.
    indices
        Row numbers, shape (n,), in any order.

    Yields
    ------
    tuple of slice and scipy.sparse.csr_matrix
        The part of ``indices``, and its values, float32, (cells, v) with a column for each token. Columns of one gene
        are added, and a cell's total is over all columns, as the tokenizer has it. Tokens that are no gene are 0.
    """
    to_token = _columns_to_tokens(source)
    for start in range(0, len(indices), _BLOCK_CELLS):
        part = slice(start, min(start + _BLOCK_CELLS, len(indices)))
        cells = to_linear(source.reader.read(indices[part]), source.expression).astype(np.float64)
        totals = np.asarray(cells.sum(axis=1)).ravel()
        scale = np.divide(TARGET_SUM, totals, out=np.zeros_like(totals), where=totals > 0)
        values = sparse.csr_matrix(sparse.diags(scale) @ cells @ to_token)
        values.data = np.log1p(values.data)
        yield part, values.astype(np.float32)


def _columns_to_tokens(source: CellSource) -> sparse.csr_matrix:
    """Build the 0/1 matrix, columns × tokens, that adds the columns of a gene."""
    known = np.flatnonzero(source.columns != UNK_ID)
    shape = (len(source.columns), source.tokenizer.vocabulary.size)
    return sparse.csr_matrix((np.ones(len(known)), (known, source.columns[known])), shape=shape)
