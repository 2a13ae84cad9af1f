"""The source: cells of any matrix as tokens."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.data import CellReader, CellSource, Expression, GeneVocabulary, RankTokenizer

COUNTS = np.array([[1, 4, 2, 1, 2], [0, 8, 0, 0, 2], [0, 7, 0, 0, 0]], dtype=np.float32)
# Two columns of token 4, and one that is no gene of the vocabulary, but counts in the total.
COLUMNS = np.array([4, 0, 2, 4, 5], dtype=np.int32)
COUNT = Expression("counts", None, "")


def new_source(matrix=COUNTS, expression=COUNT, max_len=512) -> CellSource:
    ids = tuple(f"ENSG{i:011d}" for i in range(4))
    vocabulary = GeneVocabulary(ids, ("",) * 4, np.array([1.0, 1.0, 0.5, 4.0]), "human")
    return CellSource(CellReader(matrix), COLUMNS, expression, RankTokenizer(vocabulary, max_len))


def test_three_cells_of_five_columns():
    source = new_source()

    tokens = source.tokens(np.arange(3))

    # 2000 of 10,000 counts each, over medians of 0.5, 1 and 4.
    assert tokens.ids.tolist() == [[4, 2, 5], [5, 1, 1], [1, 1, 1]]
    assert tokens.values.tolist() == [[4000, 2000, 500], [500, 0, 0], [0, 0, 0]]
    assert tokens.lengths.tolist() == [3, 1, 0]
    assert (tokens.ids.dtype, tokens.values.dtype, tokens.lengths.dtype) == (np.int32, np.float32, np.int32)
    assert source.n_obs == 3


@pytest.mark.parametrize("order", [[2, 0], [1, 1, 0], [0, 2, 1]], ids=["backwards", "repeated", "shuffled"])
def test_cells_come_in_the_asked_order(order):
    tokens = new_source().tokens(np.array(order))

    assert tokens.lengths.tolist() == [[3, 1, 0][i] for i in order]
    assert tokens.ids[:, 0].tolist() == [[4, 5, 1][i] for i in order]


@pytest.mark.parametrize(
    ("matrix", "expression"),
    [
        pytest.param(sparse.csr_matrix(COUNTS), COUNT, id="csr matrix"),
        pytest.param(sparse.csc_array(COUNTS), COUNT, id="csc array"),
        pytest.param(COUNTS.astype(np.int64), COUNT, id="integers"),
        pytest.param(COUNTS / COUNTS.sum(1, keepdims=True) * 1e4, Expression("normalised", None, ""), id="normalised"),
        pytest.param(
            np.log1p(COUNTS / COUNTS.sum(1, keepdims=True) * 1e4), Expression("log1p", None, ""), id="natural log1p"
        ),
        pytest.param(
            np.log1p(COUNTS / COUNTS.sum(1, keepdims=True) * 1e3) / np.log(2),
            Expression("log1p", 2.0, ""),
            id="log1p of base 2",
        ),
    ],
)
def test_the_tokens_do_not_depend_on_how_the_matrix_is_stored(matrix, expression):
    tokens, expected = (source.tokens(np.arange(3)) for source in (new_source(matrix, expression), new_source()))

    assert tokens.ids.tolist() == expected.ids.tolist()
    assert tokens.lengths.tolist() == expected.lengths.tolist()
    np.testing.assert_allclose(tokens.values, expected.values, rtol=1e-4)


def test_the_matrix_stays_as_it_is():
    matrix = sparse.csr_matrix(np.log1p(COUNTS))
    before = matrix.copy()

    new_source(matrix, Expression("log1p", None, "")).tokens(np.arange(3))

    assert (matrix != before).nnz == 0


def test_the_cut_keeps_the_first_of_the_order_not_the_largest_counts():
    # 3 of 8 counts over a median of 0.5 come before 5 of 8 over 1.
    matrix = np.array([[1, 0, 9, 0, 0], [3, 0, 5, 0, 0]], dtype=np.float32)

    tokens = new_source(matrix, max_len=1).tokens(np.arange(2))

    assert tokens.ids.tolist() == [[2], [4]]
    assert tokens.values.tolist() == [[9000], [7500]]


def test_a_cell_beyond_the_last_is_refused():
    with pytest.raises(IndexError, match=r"indices must lie in \[0, 3\), the number of cells; got 3\."):
        new_source().tokens(np.array([0, 3]))


def test_no_cell_gives_no_tokens():
    tokens = new_source().tokens(np.array([], dtype=np.int64))

    assert (tokens.ids.shape, tokens.lengths.shape) == ((0, 1), (0,))


@pytest.mark.parametrize("expression", [COUNT, Expression("log1p", 2.0, "")], ids=["counts", "log1p"])
def test_entries_in_any_order_repeated_or_zero_make_the_same_tokens(expression):
    dense = COUNTS if expression is COUNT else np.log2(1 + COUNTS)
    plain = sparse.csr_matrix(dense)
    entries = [(r, c, v * share) for r in range(3) for c, v in enumerate(dense[r]) for share in (0.25, 0.0, 0.75)]
    order = sorted(range(len(entries)), key=lambda i: (entries[i][0], (i * 7) % 11))
    rows, columns, values = np.array([entries[i] for i in order]).T
    stored = sparse.csr_matrix(
        (values, columns.astype(int), np.r_[0, np.bincount(rows.astype(int), minlength=3).cumsum()]), shape=dense.shape
    )
    assert not stored.has_canonical_format

    tokens, expected = (new_source(matrix, expression).tokens(np.arange(3)) for matrix in (stored, plain))

    assert tokens.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(tokens.values, expected.values, rtol=1e-6)


def test_the_same_source_on_one_thread():
    source = new_source()
    many = CellSource(
        source.reader, COLUMNS, COUNT, RankTokenizer(source.tokenizer.vocabulary, source.tokenizer.max_len, 4)
    )

    one = many.on_one_thread()

    assert (many.tokenizer.n_threads, one.tokenizer.n_threads) == (4, 1)
    assert (one.tokenizer.max_len, one.tokenizer.vocabulary) == (many.tokenizer.max_len, many.tokenizer.vocabulary)
    assert one.tokens(np.arange(3)).ids.tolist() == many.tokens(np.arange(3)).ids.tolist()
