"""Embeddings beside random gene vectors: what is better, what is not, and what is all alike."""

from collections.abc import Callable

import numpy as np
import pytest

from genemamba_sc import GeneVocabulary
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import Tokens
from genemamba_sc.model._random_vectors import RandomComparison, _beyond, _recognised, compare_with_random
from genemamba_sc.training._markers import expression_matrix

N_PROGRAMS, N_GENES, N_CELLS = 6, 240, 150
PROGRAM_OF = np.arange(N_GENES) % N_PROGRAMS


@pytest.fixture(scope="module")
def vocabulary() -> GeneVocabulary:
    ids = tuple(f"ENSG{i:011d}" for i in range(N_GENES))
    return GeneVocabulary(ids, ("",) * N_GENES, np.ones(N_GENES), "human")


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    """Cells that use six programs of forty genes, each to a degree of its own; a cell has 60 genes, of equal value."""
    rng = np.random.default_rng(0)
    use = rng.dirichlet(np.full(N_PROGRAMS, 0.3), N_CELLS)
    chances = use[:, PROGRAM_OF] + 0.002
    rows = [rng.choice(N_GENES, 60, replace=False, p=chance / chance.sum()) for chance in chances]
    ids = np.array(rows, dtype=np.int32) + FIRST_GENE_ID
    return Tokens(ids, np.ones(ids.shape, dtype=np.float32), np.full(N_CELLS, 60, dtype=np.int32))


def sums_of(table: np.ndarray, vocabulary: GeneVocabulary) -> Callable[[Tokens], np.ndarray]:
    return lambda part: expression_matrix(part, vocabulary) @ table


def table_of(vectors: np.ndarray, vocabulary: GeneVocabulary) -> np.ndarray:
    table = np.zeros((vocabulary.size, vectors.shape[1]))
    table[FIRST_GENE_ID : FIRST_GENE_ID + N_GENES] = vectors
    return table


def compared(vectors: np.ndarray, tokens: Tokens, vocabulary: GeneVocabulary) -> RandomComparison:
    found = compare_with_random(sums_of(table_of(vectors, vocabulary), vocabulary), tokens, vocabulary)
    assert found is not None and found.n_cells == N_CELLS and found.width == vectors.shape[1]
    return found


def test_vectors_that_know_the_programs_are_better_than_random_ones(tokens: Tokens, vocabulary: GeneVocabulary):
    found = compared(np.eye(N_PROGRAMS)[PROGRAM_OF], tokens, vocabulary)
    assert found.verdict == "better"
    assert found.foretold > found.foretold_random.max() + 0.1
    assert found.recognised > 0.9
    # One half tells nothing of the noise of the other, so not everything is foretold, by expression neither.
    assert found.foretold < 1 and found.foretold_expression < 1


@pytest.mark.parametrize("seed", range(5))
def test_vectors_in_another_order_or_drawn_anew_are_no_better(seed: int, tokens: Tokens, vocabulary: GeneVocabulary):
    rng = np.random.default_rng([7, seed])
    for vectors in (rng.permutation(np.eye(N_PROGRAMS)[PROGRAM_OF]), rng.normal(size=(N_GENES, N_PROGRAMS))):
        found = compared(vectors, tokens, vocabulary)
        assert found.verdict == "no better"
        assert found.foretold < 0.5 * found.foretold_expression


def test_one_embedding_for_all_cells_is_told(tokens: Tokens, vocabulary: GeneVocabulary):
    noise = np.random.default_rng(0).normal(size=(N_CELLS, 8))
    found = compare_with_random(lambda part: np.ones((N_CELLS, 8)) + 1e-7 * noise, tokens, vocabulary)
    assert found is not None
    assert found.verdict == "collapsed" and "COLLAPSED" in str(found)
    assert found.spread < 1e-6 and found.cosine == pytest.approx(1)


def test_a_large_common_mean_and_a_scale_change_nothing(tokens: Tokens, vocabulary: GeneVocabulary):
    embed = sums_of(table_of(np.eye(N_PROGRAMS)[PROGRAM_OF], vocabulary), vocabulary)
    plain = compare_with_random(embed, tokens, vocabulary)
    moved = compare_with_random(lambda part: 1e4 + 30 * embed(part), tokens, vocabulary)
    assert plain is not None and moved is not None
    assert moved.foretold == pytest.approx(plain.foretold, abs=1e-6)
    assert moved.recognised == pytest.approx(plain.recognised)
    assert moved.verdict == plain.verdict == "better"
    assert moved.cosine > 0.999 > plain.cosine


def test_few_cells_are_not_compared(tokens: Tokens, vocabulary: GeneVocabulary):
    def asked(part: Tokens) -> np.ndarray:
        raise AssertionError("nothing is to be embedded")

    few = Tokens(tokens.ids[:59], tokens.values[:59], tokens.lengths[:59])
    assert compare_with_random(asked, few, vocabulary) is None
    # Cells of one gene have nothing in one of the halves.
    single = Tokens(tokens.ids, tokens.values, np.ones_like(tokens.lengths))
    assert compare_with_random(asked, single, vocabulary) is None


def test_embeddings_that_are_not_finite_are_refused(tokens: Tokens, vocabulary: GeneVocabulary):
    broken = np.ones((N_CELLS, 3))
    broken[:2, 1] = np.nan
    with pytest.raises(ValueError, match=r"finite numbers\. 2 of 150 cells have none: the weights are damaged"):
        compare_with_random(lambda part: broken, tokens, vocabulary)


def test_how_many_genes_a_half_has_is_no_knowledge(tokens: Tokens, vocabulary: GeneVocabulary):
    """Cells of 10 to 60 genes: the number alone would recognise halves."""
    lengths = np.random.default_rng(5).integers(10, 61, N_CELLS).astype(np.int32)
    cut = Tokens(tokens.ids, tokens.values, lengths)
    found = compare_with_random(lambda part: np.stack([part.lengths, np.log(part.lengths)], axis=1), cut, vocabulary)
    assert found is not None and found.verdict == "no better"
    assert found.foretold < 0.02


@pytest.mark.parametrize("same", [False, True])
def test_the_size_of_cells_is_removed_and_nothing_else(same: bool):
    rng = np.random.default_rng(0)
    size = np.ones((50, 4)) if same else np.repeat(rng.normal(size=(50, 1)), 4, axis=1)
    x = rng.normal(size=(50, 3)) + 5
    rest = _beyond(size, x)
    np.testing.assert_allclose(rest.mean(axis=0), 0, atol=1e-12)
    # Four columns that say the same are one.
    np.testing.assert_allclose((rest * (size[:, :1] - size.mean())).sum(axis=0), 0, atol=1e-10)
    assert np.linalg.matrix_rank(np.column_stack([rest, x - x.mean(axis=0)])) == (3 if same else 4)


def test_the_comparison_is_the_same_every_time(tokens: Tokens, vocabulary: GeneVocabulary):
    vectors = np.eye(N_PROGRAMS)[PROGRAM_OF]
    first, second = (compared(vectors, tokens, vocabulary) for _ in range(2))
    assert str(first) == str(second)
    np.testing.assert_array_equal(first.foretold_random, second.foretold_random)


def test_halves_are_recognised_where_they_are_alike():
    cells = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])
    assert _recognised([cells, cells]) == 1.0
    # The next cell is the most alike, its own half is equal to the two others.
    assert _recognised([cells[:3], np.roll(cells[:3], 1, axis=0)]) == pytest.approx((0 + 0.5) / 2)
    assert _recognised([np.ones((4, 3)), cells]) == 0.5


def report(
    foretold: float, random: float, recognised: float, spread: float = 1.0, expression: float = 0.6
) -> RandomComparison:
    draws, chance = np.array([random - 0.01, random, random + 0.01]), np.array([0.48, 0.5, 0.52])
    return RandomComparison(100, 8, foretold, draws, expression, recognised, chance, 3.0, 0.2, spread)


@pytest.mark.parametrize(
    ("foretold", "recognised", "spread", "verdict"),
    [
        (0.34, 0.5, 1.0, "better"),  # 4 deviations above
        (0.26, 0.9, 1.0, "no better"),  # 4 below
        (0.32, 0.9, 1.0, "better"),  # within 3, and the halves find each other
        (0.28, 0.6, 1.0, "no better"),
        (0.90, 1.0, 1e-6, "collapsed"),
        (0.90, 1.0, float("nan"), "collapsed"),
    ],
)
def test_the_verdict(foretold: float, recognised: float, spread: float, verdict: str):
    assert report(foretold, 0.3, recognised, spread).verdict == verdict


def test_cells_of_which_expression_foretells_nothing_cannot_tell():
    assert report(0.26, 0.3, 0.9, expression=-0.1).verdict == "cannot tell"
    assert report(0.26, 0.3, 0.9, 1e-6, expression=-0.1).verdict == "collapsed"
    assert "These cells cannot tell" in str(report(-0.19, -0.2, 0.7, expression=-0.1))


def test_the_table():
    frame = report(0.34, 0.3, 0.9).to_frame()
    assert frame.loc["weights", ["foretold", "recognised"]].tolist() == [0.34, 0.9]
    assert frame.loc["random gene vectors"].tolist() == pytest.approx([0.3, 0.01, 0.5, 0.02])
    assert frame.loc["expression", "foretold"] == 0.6
