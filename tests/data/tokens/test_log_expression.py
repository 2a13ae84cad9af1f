"""Log-normalised expression by token: totals over all columns, columns of a gene added, blocks without effect."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.data import CellReader, CellSource, Expression, GeneVocabulary, RankTokenizer
from genemamba_sc.data.tokens import _log_expression
from genemamba_sc.data.tokens._log_expression import log_expression_blocks


@pytest.fixture
def source() -> CellSource:
    """Genes A and B; A has two columns, and one column is of no gene of the vocabulary. Cell 2 is empty."""
    counts = np.array([[1, 2, 3, 4], [0, 0, 5, 5], [0, 0, 0, 0]], dtype=np.float32)
    vocabulary = GeneVocabulary(("A", "B"), ("", ""), np.ones(2), "unknown")
    columns = np.array([2, 2, 0, 3], dtype=np.int32)
    return CellSource(
        CellReader(sparse.csr_matrix(counts)), columns, Expression("counts", None, ""), RankTokenizer(vocabulary)
    )


EXPECTED = np.log1p([[0, 0, 3000, 4000, 0, 0], [0, 0, 0, 5000, 0, 0], [0, 0, 0, 0, 0, 0]])


def test_columns_of_a_gene_are_added_and_the_total_is_over_all_columns(source):
    ((part, values),) = log_expression_blocks(source, np.arange(3))

    assert (part, values.dtype) == (slice(0, 3), np.float32)
    np.testing.assert_allclose(values.toarray(), EXPECTED, rtol=1e-6)


def test_blocks_follow_the_asked_order(source, monkeypatch):
    monkeypatch.setattr(_log_expression, "_BLOCK_CELLS", 2)

    blocks = list(log_expression_blocks(source, np.array([1, 0, 1])))

    assert [part for part, _ in blocks] == [slice(0, 2), slice(2, 3)]
    np.testing.assert_allclose(sparse.vstack([v for _, v in blocks]).toarray(), EXPECTED[[1, 0, 1]], rtol=1e-6)
