"""Marker genes: linear scores from expression."""

import numpy as np

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.training import _markers
from genemamba_sc.training._linear import LabelledCells
from genemamba_sc.training._markers import expression_matrix, joined_expression, solve_markers
from genemamba_sc.training._multinomial import multinomial

VOCABULARY = GeneVocabulary(("A", "B", "C"), ("", "", ""), np.array([1.0, 2.0, 4.0]), "unknown")


def marked_cells(types: np.ndarray) -> LabelledCells:
    """One gene in each cell: the marker of its type, at different levels."""
    ids = (types + 2).astype(np.int32)[:, None]
    values = (1 + np.arange(len(types)) % 5).astype(np.float32)[:, None]
    tokens = Tokens(ids=ids, values=values, lengths=np.ones(len(types), dtype=np.int32))
    return LabelledCells(expression_matrix(tokens, VOCABULARY), types, None)


def test_the_matrix_holds_log1p_of_counts_per_10_000():
    tokens = Tokens(
        ids=np.array([[3, 2], [4, 1]], dtype=np.int32),
        values=np.array([[3.0, 2.0], [0.5, 0.0]], dtype=np.float32),
        lengths=np.array([2, 1], dtype=np.int32),
    )
    matrix = expression_matrix(tokens, VOCABULARY).toarray()
    # Tokens 2, 3, 4 have the medians 1, 2, 4, by which their values were divided; pads add nothing.
    expected = np.zeros((2, VOCABULARY.size))
    expected[0, 3], expected[0, 2], expected[1, 4] = np.log1p(6.0), np.log1p(2.0), np.log1p(2.0)
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)


def test_the_weights_are_a_third_of_a_dense_and_two_thirds_of_a_sparse_fit():
    cells = marked_cells(np.arange(60) % 3)
    weights, intercepts = solve_markers(cells, 0)
    many, many_bias = multinomial(cells, 0.3, 20)
    norm = np.sqrt((many**2).mean(axis=0))
    floor = 0.1 * norm.mean()
    few, _ = multinomial(cells, 0.3, 15, np.sqrt(norm + floor))
    few, few_bias = multinomial(cells, 0.3, 15, np.sqrt(np.sqrt((few**2).mean(axis=0)) + floor))
    np.testing.assert_allclose(weights, (many + 2 * few) / 3, atol=1e-4)
    np.testing.assert_allclose(intercepts, (many_bias + 2 * few_bias) / 3, atol=1e-4)
    assert weights[:, 2:5].argmax(axis=0).tolist() == [0, 1, 2]
    assert not weights[:, [0, 1, 5, 6]].any()  # special tokens


def test_few_genes_carry_the_sparse_fit(monkeypatch):
    """Two genes mark the types, thirty others are noise: the second fit leaves the noise out."""
    rng = np.random.default_rng(0)
    types = np.arange(200) % 2
    features = rng.normal(1.0, 0.5, (200, 32)).astype(np.float32)
    features[:, :2] += 2 * np.eye(2)[types].astype(np.float32)
    cells = LabelledCells(features, types, None)
    many, _ = multinomial(cells, 0.3, 20)
    few, _ = _markers._few_genes(cells, many)
    shares = [np.abs(weights[:, 2:]).sum() / np.abs(weights).sum() for weights in (many, few)]
    assert shares[1] < shares[0] / 2
    monkeypatch.setattr(_markers, "_MOST_GENES", 2)
    assert np.flatnonzero(_markers._few_genes(cells, many)[0].any(axis=0)).tolist() == [0, 1]


def test_expression_of_parts_is_that_of_all_cells() -> None:
    ids = np.array([[3, 2, 4], [4, 0, 0], [0, 0, 0], [4, 3, 0]], dtype=np.int32)
    values = np.array([[3, 2, 1], [0.5, 0, 0], [0, 0, 0], [8, 7, 0]], dtype=np.float32)
    lengths = np.array([3, 1, 0, 2], dtype=np.int32)
    parts = [Tokens(ids[rows], values[rows], lengths[rows]) for rows in (slice(0, 1), slice(1, 4))]

    joined = joined_expression(iter(parts), lengths, VOCABULARY)

    whole = expression_matrix(Tokens(ids, values, lengths), VOCABULARY)
    assert joined.indptr.tolist() == whole.indptr.tolist() == [0, 3, 4, 4, 6]
    assert joined.indices.tolist() == whole.indices.tolist() == [2, 3, 4, 4, 3, 4]
    assert joined.data.tolist() == whole.data.tolist()
    assert joined.has_canonical_format
