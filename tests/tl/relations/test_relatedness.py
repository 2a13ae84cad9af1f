"""Scores in blocks and of pairs against plain numpy and scipy, and their moments."""

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr

from genemamba_sc.tl.relations._relatedness import Combined, Correlations, Cosines, Relatedness, ranks_above_zero

N = 700  # more than a block


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.poisson(rng.gamma(1.0, 1.0, (40, 1)) * rng.gamma(1.0, 0.5, N)).astype(np.float32)
    found[:, 5] = 0  # no cell has it
    found[:, 6] = 2  # it does not vary
    return found


@pytest.fixture(scope="module")
def scores(values: np.ndarray) -> dict[str, tuple[Relatedness, np.ndarray]]:
    """Each score, and the whole table by another way."""
    vectors = np.random.default_rng(1).normal(size=(N, 4)).astype(np.float32)
    vectors[3], vectors[4] = 0, np.nan
    unit = np.nan_to_num(vectors) / np.maximum(np.linalg.norm(np.nan_to_num(vectors), axis=1, keepdims=True), 1e-30)
    with np.errstate(invalid="ignore", divide="ignore"):
        pearson = np.nan_to_num(np.corrcoef(values.T))
    spearman = np.zeros((N, N))
    vary = np.flatnonzero(values.std(axis=0) > 0)
    spearman[np.ix_(vary, vary)] = spearmanr(values[:, vary]).statistic
    cosines, correlations = Cosines.of(vectors), Correlations(sparse.csc_matrix(values))
    return {
        "cosine": (cosines, unit @ unit.T),
        "pearson": (correlations, pearson),
        "spearman": (Correlations(ranks_above_zero(sparse.csc_matrix(values))), spearman),
        "combined": (Combined([cosines, correlations]), (standardised(unit @ unit.T) + standardised(pearson)) / 2),
    }


def standardised(table: np.ndarray) -> np.ndarray:
    spread = table.std(axis=1, keepdims=True)
    z = np.divide(table - table.mean(axis=1, keepdims=True), spread, out=np.zeros_like(table), where=spread > 1e-6)
    return (z + z.T) / 2


@pytest.mark.parametrize("name", ["cosine", "pearson", "spearman", "combined"])
def test_blocks_pairs_and_moments_are_those_of_the_whole_table(scores, name):
    score, table = scores[name]
    rows, rng = np.array([699, 0, 3, 6]), np.random.default_rng(2)
    first, second = rng.integers(0, N, (2, 2000))

    assert score.n_genes == N
    np.testing.assert_allclose(score.block(rows), table[rows], atol=2e-5)
    np.testing.assert_allclose(score.pairs(first, second), table[first, second], atol=2e-5)
    np.testing.assert_allclose(score.moments().mean, table.mean(axis=1), atol=2e-5)
    np.testing.assert_allclose(score.moments().deviation, table.std(axis=1), atol=2e-5)
    assert table.std() > 0.05


def test_a_gene_without_vector_or_variation_scores_0_with_all(scores):
    assert not scores["cosine"][0].block(np.array([3, 4])).any()
    assert not scores["pearson"][0].block(np.array([5, 6])).any()
