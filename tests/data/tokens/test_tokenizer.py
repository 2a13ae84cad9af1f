"""Rank tokens: what they are, and what they do not depend on."""

import pickle
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._expression import detect_expression, to_linear
from genemamba_sc.data.genes._vocabulary import GeneVocabulary
from genemamba_sc.data.tokens._tokenizer import RankTokenizer, Tokens


def vocabulary(medians: Any) -> GeneVocabulary:
    ids = tuple(f"ENSG{i:011d}" for i in range(len(medians)))
    return GeneVocabulary(ids, ("",) * len(ids), np.asarray(medians, dtype=np.float64), "human")


def tokenise(counts: Any, columns: Any, medians: Any, **kwargs: Any) -> Tokens:
    cells = sparse.csr_matrix(np.asarray(counts, dtype=np.float32))
    return RankTokenizer(vocabulary(medians), **kwargs)(cells, np.asarray(columns, dtype=np.int32))


def naive(counts: np.ndarray, columns: np.ndarray, medians: np.ndarray, max_len: int) -> list[list[tuple[int, float]]]:
    """Apply the definition gene by gene."""
    cells = []
    for row in counts.astype(np.float64):
        sums: dict[int, float] = {}
        for count, token in zip(row, columns):
            if count > 0 and token >= 2:
                sums[int(token)] = sums.get(int(token), 0.0) + count
        genes = [(token, float(np.float32(s * (1e4 / row.sum()) / medians[token - 2]))) for token, s in sums.items()]
        cells.append(sorted(genes, key=lambda gene: (-gene[1], gene[0]))[:max_len])
    return cells


def per_cell(tokens: Tokens) -> list[list[tuple[int, float]]]:
    return [
        list(zip(ids[:n].tolist(), values[:n].tolist()))
        for ids, values, n in zip(tokens.ids, tokens.values, tokens.lengths)
    ]


def random_cells(n_cells: int = 60, n_vars: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts with many ties and an empty cell; columns without a gene and with the same gene; medians."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.lognormal(-0.5, 1.2, n_vars), (n_cells, n_vars)).astype(np.float32)
    counts[n_cells // 2] = 0
    columns = rng.integers(1, 60, n_vars).astype(np.int32) + 1
    columns[columns == 2] = 0
    return counts, columns, rng.choice([0.5, 1.0, 1.0, 2.0, 3.0], 60)


def assert_same(a: Tokens, b: Tokens) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.values, b.values)
    np.testing.assert_array_equal(a.lengths, b.lengths)


def test_three_cells_of_five_genes() -> None:
    # Token 4 has two columns, which are added; the second column is no gene of the vocabulary, but counts in the total.
    tokens = tokenise(
        [[1, 4, 2, 1, 2], [0, 8, 0, 0, 2], [0, 7, 0, 0, 0]], columns=[4, 0, 2, 4, 5], medians=[1.0, 1.0, 0.5, 4.0]
    )

    assert tokens.ids.tolist() == [[4, 2, 5], [5, 1, 1], [1, 1, 1]]
    assert tokens.values.tolist() == [[4000, 2000, 500], [500, 0, 0], [0, 0, 0]]
    assert tokens.lengths.tolist() == [3, 1, 0]
    assert (tokens.ids.dtype, tokens.values.dtype, tokens.lengths.dtype) == (np.int32, np.float32, np.int32)


def test_equal_values_are_ordered_by_token_id() -> None:
    tokens = tokenise([[1, 2, 3, 1]], columns=[5, 3, 4, 2], medians=[1.0, 2.0, 3.0, 1.0])

    assert tokens.ids.tolist() == [[2, 3, 4, 5]]
    assert len(set(tokens.values[0].tolist())) == 1


def test_the_lowest_ranks_are_cut() -> None:
    tokens = tokenise([[1, 2, 3, 4], [1, 0, 0, 0]], columns=[2, 3, 4, 5], medians=[1.0] * 4, max_len=2)

    assert tokens.ids.tolist() == [[5, 4], [2, 1]]
    assert tokens.lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("counts", "shape"),
    [
        pytest.param(np.zeros((0, 3)), (0, 1), id="no cells"),
        pytest.param(np.zeros((2, 3)), (2, 1), id="only empty cells"),
        pytest.param(np.eye(3), (3, 1), id="one gene each"),
    ],
)
def test_padding_goes_to_the_longest_cell(counts: np.ndarray, shape: tuple[int, int]) -> None:
    assert tokenise(counts, columns=[2, 3, 4], medians=[1.0] * 3).ids.shape == shape


@given(data=st.data())
@settings(max_examples=150)
def test_tokens_equal_the_definition(data: st.DataObject) -> None:
    n_cells, n_vars, n_genes = (data.draw(st.integers(1, high)) for high in (5, 12, 8))
    values = st.one_of(st.just(0.0), st.integers(1, 4).map(float), st.floats(0.125, 2.0**20, width=32))
    rows = st.lists(values, min_size=n_vars, max_size=n_vars)
    counts = np.array(data.draw(st.lists(rows, min_size=n_cells, max_size=n_cells)), dtype=np.float32)
    tokens = st.sampled_from([0, *range(2, n_genes + 2)])
    columns = np.array(data.draw(st.lists(tokens, min_size=n_vars, max_size=n_vars)), dtype=np.int32)
    medians = np.array(data.draw(st.lists(st.sampled_from([0.3, 1.0, 2.0]), min_size=n_genes, max_size=n_genes)))
    max_len = data.draw(st.integers(1, 10))

    found = tokenise(counts, columns, medians, max_len=max_len)

    assert per_cell(found) == naive(counts, columns, medians, max_len)
    assert found.ids.shape[1] == max(1, found.lengths.max())
    padded = np.arange(found.ids.shape[1]) >= found.lengths[:, None]
    assert np.all(found.ids[padded] == 1) and np.all(found.values[padded] == 0)


def test_the_order_of_columns_changes_nothing() -> None:
    counts, columns, medians = random_cells()
    order = np.random.default_rng(1).permutation(len(columns))

    assert_same(tokenise(counts[:, order], columns[order], medians), tokenise(counts, columns, medians))


def test_other_cells_of_the_block_change_nothing() -> None:
    counts, columns, medians = random_cells()
    together = per_cell(tokenise(counts, columns, medians, max_len=20))
    order = np.random.default_rng(1).permutation(len(counts))

    alone = [per_cell(tokenise(row[None], columns, medians, max_len=20))[0] for row in counts]
    shuffled = per_cell(tokenise(counts[order], columns, medians, max_len=20))

    assert alone == together
    assert shuffled == [together[i] for i in order]


@pytest.mark.parametrize("n_threads", [2, 3, 64])
def test_threads_change_nothing(n_threads: int) -> None:
    counts, columns, medians = random_cells()

    assert_same(tokenise(counts, columns, medians, n_threads=n_threads), tokenise(counts, columns, medians))


def backed(matrix: Any, folder: Path) -> Any:
    ad.AnnData(matrix).write_h5ad(folder / "cells.h5ad")
    return ad.read_h5ad(folder / "cells.h5ad", backed="r").X


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda x, _: sparse.csr_matrix(x), id="CSR matrix"),
        pytest.param(lambda x, _: sparse.csc_matrix(x), id="CSC matrix"),
        pytest.param(lambda x, _: sparse.csr_array(x), id="CSR array"),
        pytest.param(lambda x, _: sparse.csc_array(x), id="CSC array"),
        pytest.param(lambda x, _: x, id="dense"),
        pytest.param(lambda x, _: x.astype(np.int64), id="whole numbers"),
        pytest.param(lambda x, folder: backed(sparse.csr_matrix(x), folder), id="backed CSR"),
        pytest.param(lambda x, folder: backed(sparse.csc_matrix(x), folder), id="backed CSC"),
        pytest.param(lambda x, folder: backed(x, folder), id="backed dense"),
    ],
)
def test_the_kind_of_matrix_changes_nothing(make: Any, tmp_path: Path) -> None:
    counts, columns, medians = random_cells()
    rows = np.random.default_rng(1).integers(0, len(counts), 40)

    cells = CellReader(make(counts, tmp_path)).read(rows)

    assert_same(RankTokenizer(vocabulary(medians))(cells, columns), tokenise(counts[rows], columns, medians))


def _half(counts: Any) -> Any:
    return counts.astype(np.float16)


def _foreign(counts: Any) -> Any:
    return counts.astype(">f4")


@pytest.mark.parametrize("make", [_half, _foreign, np.asarray])
def test_numbers_that_scipy_does_not_read_are_read(make: Any) -> None:
    counts = np.array([[5, 0, 1], [0, 2, 7]], dtype=np.float32)
    tokens = RankTokenizer(vocabulary([1, 1, 1]))(make(counts), [2, 3, 4])
    assert per_cell(tokens) == naive(counts, np.array([2, 3, 4]), np.ones(3), 512)


@pytest.mark.parametrize("make", [sparse.csc_matrix, sparse.csc_array, sparse.coo_array, np.asarray, np.asfortranarray])
def test_a_block_is_read_by_rows_whatever_its_form(make: Any) -> None:
    counts = np.array([[5, 0, 1, 0], [0, 2, 0, 0], [3, 4, 0, 9]], dtype=np.float32)
    columns = [2, 3, 4, 5]
    tokens = RankTokenizer(vocabulary([1, 1, 1, 1]))(make(counts), columns)
    assert per_cell(tokens) == naive(counts, np.array(columns), np.ones(4), 512)


@pytest.mark.parametrize(
    "cells", [[[1.0, 2.0]], np.ones(2), None, sparse.coo_array(np.ones(2)), np.ma.masked_array(np.ones((1, 2)))]
)
def test_what_is_no_matrix_is_refused(cells: Any) -> None:
    with pytest.raises(TypeError, match=r"a sparse matrix or an array of shape \(cells, genes\)"):
        RankTokenizer(vocabulary([1, 1]))(cells, [2, 3])


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_unsorted_and_repeated_entries_are_read_right_and_left_alone(dtype: str) -> None:
    data, indices, indptr = np.array([1, 2, 0, 4], dtype), np.array([2, 0, 1, 2]), np.array([0, 4])
    cells = sparse.csr_matrix((data, indices, indptr), shape=(1, 3))
    for array in (cells.data, cells.indices, cells.indptr):
        array.flags.writeable = False

    tokens = RankTokenizer(vocabulary([1.0, 1.0, 1.0]))(cells, np.array([2, 3, 4], np.int32))

    assert per_cell(tokens) == [[(4, float(np.float32(5e4 / 7))), (2, float(np.float32(2e4 / 7)))]]
    np.testing.assert_array_equal(cells.data, [1, 2, 0, 4])


def test_cells_are_never_made_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, columns, medians = random_cells()
    cells = sparse.csr_matrix(counts)

    def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("a sparse matrix was made dense")

    for method in ("toarray", "todense", "__array__"):
        monkeypatch.setattr(sparse.csr_matrix, method, refuse, raising=False)

    expression = detect_expression(CellReader(cells))
    tokens = RankTokenizer(vocabulary(medians))(to_linear(CellReader(cells).read(range(60)), expression), columns)

    assert tokens.lengths.sum() > 0


def test_log1p_gives_the_tokens_of_the_counts() -> None:
    counts, columns, _ = random_cells(400)
    medians = np.random.default_rng(3).lognormal(0, 0.5, 60)  # no two counts tie across genes
    logged = sparse.csr_matrix(np.log1p(counts / counts.sum(axis=1, keepdims=True).clip(1) * 1e4).astype(np.float32))
    tokenizer = RankTokenizer(vocabulary(medians))

    expected = tokenise(counts, columns, medians)
    found = tokenizer(to_linear(logged, detect_expression(CellReader(logged))), columns)

    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf], ids=["negative", "NaN", "infinite"])
def test_values_that_cannot_be_ranked_are_named(value: float, n_threads: int) -> None:
    counts = np.ones((6, 3))
    counts[4, 2] = value

    with pytest.raises(ValueError, match=rf"row 4 of this block of 6 cells has {value} in column 2.*layer='counts'"):
        tokenise(counts, columns=[2, 3, 0], medians=[1.0, 1.0], n_threads=n_threads)


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_of_several_values_that_cannot_be_ranked_the_first_is_named(n_threads: int) -> None:
    counts = np.ones((6, 3))
    counts[1, 1] = counts[4, 2] = counts[5, 0] = -1.0
    counts[4:, 1] = 0.0  # short cells are ranked before long ones

    with pytest.raises(ValueError, match="row 1 of this block of 6 cells has -1.0 in column 1"):
        tokenise(counts, columns=[2, 3, 0], medians=[1.0, 1.0], n_threads=n_threads)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param([2, 3], r"got shape \(2,\) for 3 columns", id="too few"),
        pytest.param([2, 3, 1], r"\(2 to 3\) or 0; got token id 1", id="PAD"),
        pytest.param([2, 3, 4], "got token id 4.*own vocabulary", id="CLS"),
        pytest.param([2, -1, 3], "got token id -1", id="negative"),
        pytest.param([2, 3, 99], "got token id 99", id="beyond the vocabulary"),
    ],
)
def test_columns_of_another_vocabulary_are_refused(columns: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenise(np.ones((1, 3)), columns, medians=[1.0, 1.0])


@pytest.mark.parametrize("name", ["max_len", "n_threads"])
def test_nonsense_settings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        RankTokenizer(vocabulary([1.0]), **{name: 0})


def test_a_tokenizer_travels_to_loader_processes() -> None:
    counts, columns, medians = random_cells()
    tokenizer = RankTokenizer(vocabulary(medians), max_len=7, n_threads=2)
    cells = sparse.csr_matrix(counts)

    copy = pickle.loads(pickle.dumps(tokenizer))

    assert copy.max_len == 7
    assert_same(copy(cells, columns), tokenizer(cells, columns))


def published(real_data: Path, adata: ad.AnnData) -> tuple[GeneVocabulary, np.ndarray]:
    table = pd.read_csv(real_data / "genes" / "published_vocabulary.tsv.gz", sep="\t", comment="#")
    medians = table["nonzero_median"].to_numpy(np.float64)
    genes = GeneVocabulary(tuple(table["ensembl_id"]), tuple(table["symbol"].fillna("")), medians, "human")
    token = {symbol: i + 2 for i, symbol in reversed(list(enumerate(genes.symbols)))}
    return genes, np.array([token.get(name, 0) for name in adata.var_names], dtype=np.int32)


@pytest.mark.parametrize("max_len", [100, 2048])
def test_real_cells_equal_the_definition(max_len: int, real_data: Path) -> None:
    adata = ad.read_h5ad(real_data / "cells" / "pbmc3k.h5ad")[::100]
    genes, columns = published(real_data, adata)

    found = RankTokenizer(genes, max_len, n_threads=2)(adata.X, columns)

    assert per_cell(found) == naive(adata.X.toarray(), columns, genes.medians, max_len)


def test_real_logged_cells_have_the_tokens_of_their_counts(real_data: Path) -> None:
    adata = ad.read_h5ad(real_data / "cells" / "pbmc3k.h5ad")[::10].copy()
    genes, columns = published(real_data, adata)
    tokenizer = RankTokenizer(genes, 2048)
    expected = tokenizer(CellReader(adata.X).read(range(adata.n_obs)), columns)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)

    reader = CellReader(adata.X)
    found = tokenizer(to_linear(reader.read(range(adata.n_obs)), detect_expression(reader)), columns)

    np.testing.assert_array_equal(found.lengths, expected.lengths)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5)
    # Genes whose values differ in the last digits only may change places.
    assert np.mean(found.ids == expected.ids) > 0.999
