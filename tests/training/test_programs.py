"""Gene programs: scores from the pool of the gene table."""

import numpy as np
import pytest

from genemamba_sc.data import Tokens
from genemamba_sc.training._linear import LabelledCells, LinearFit, fit_linear
from genemamba_sc.training._programs import ProgramPool, level_shares, solve_programs

E1, E2, E3 = np.expm1([1.0, 2.0, 3.0])  # log1p of these is 1, 2, 3
TOKENS = Tokens(
    ids=np.array([[2, 3, 4], [3, 1, 1], [1, 1, 1], [4, 2, 1]], dtype=np.int32),
    values=np.array([[E1, E2, E3], [E3, 0, 0], [0, 0, 0], [E1, E1, 0]], dtype=np.float32),
    lengths=np.array([3, 1, 0, 2], dtype=np.int32),
)
SHARES = np.array([[0, 0, 1 / 6, 2 / 6, 3 / 6, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 1 / 2, 0, 1 / 2, 0]])
TABLE = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)


def test_shares_are_those_of_the_levels_and_an_empty_cell_has_none():
    np.testing.assert_allclose(level_shares(TOKENS, 6).toarray(), SHARES, rtol=1e-6)


def test_pools_are_centred_and_scaled_together():
    pool = SHARES @ TABLE
    centred = pool - pool.mean(axis=0)
    features = ProgramPool([TOKENS], [TABLE]).features
    np.testing.assert_allclose(features, centred / np.sqrt((centred**2).mean()), rtol=1e-4, atol=1e-6)


def test_each_table_has_its_own_scale():
    other = 100 * np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    both = ProgramPool([TOKENS], [TABLE, other]).features
    np.testing.assert_allclose(both[:, :2], ProgramPool([TOKENS], [TABLE]).features, rtol=1e-5)
    np.testing.assert_allclose(both[:, 2:], ProgramPool([TOKENS], [other]).features, rtol=1e-5)


def test_scores_of_pools_are_scores_of_genes():
    pool = ProgramPool([TOKENS], [TABLE[:, :1], 7 * TABLE[:, 1:]])
    fit = LinearFit(np.array([[1.0, -2.0], [0.5, 3.0]], dtype=np.float32), np.array([0.25, -1.0], dtype=np.float32))
    by_gene = pool.to_genes(fit)
    assert by_gene.weights.shape == (6, 2)
    np.testing.assert_allclose(by_gene(level_shares(TOKENS, 6)), fit(pool.features), rtol=1e-4, atol=1e-5)


def test_cells_in_parts_have_the_same_pools():
    parts = [Tokens(TOKENS.ids[rows], TOKENS.values[rows], TOKENS.lengths[rows]) for rows in (slice(3), slice(3, None))]
    whole = ProgramPool([TOKENS], [TABLE]).features
    np.testing.assert_allclose(ProgramPool(parts, [TABLE]).features, whole, rtol=1e-6)


@pytest.mark.parametrize("table", [np.zeros((6, 2)), np.ones((6, 2))], ids=["zeros", "all rows alike"])
def test_a_table_that_tells_nothing_gives_finite_scores(table):
    full = Tokens(TOKENS.ids[[0, 1, 3]], TOKENS.values[[0, 1, 3]], TOKENS.lengths[[0, 1, 3]])
    features = ProgramPool([full], [table.astype(np.float32)]).features
    assert np.isfinite(features).all()
    fit = fit_linear(LabelledCells(features, np.array([0, 1, 0]), None), 2, solve_programs)
    assert np.isfinite(fit.weights).all() and np.isfinite(fit.bias).all()


def test_a_direction_of_the_table_tells_types_whose_genes_were_never_seen_together():
    # Genes 2-9 point one way, 10-17 the other; each labelled cell shows one gene only, and the query others.
    table = np.zeros((18, 2), dtype=np.float32)
    table[2:10, 0], table[10:18, 1] = 1.0, 1.0

    def one_gene_cells(genes: list[int]) -> Tokens:
        ids = np.array(genes, dtype=np.int32)[:, None]
        return Tokens(ids, np.ones(ids.shape, dtype=np.float32), np.ones(len(ids), dtype=np.int32))

    pool = ProgramPool([one_gene_cells([2, 3, 10, 11])], [table])
    fit = pool.to_genes(fit_linear(LabelledCells(pool.features, np.array([0, 0, 1, 1]), None), 2, solve_programs))
    scores = fit(level_shares(one_gene_cells([8, 9, 16, 17]), 18))
    assert scores.argmax(axis=1).tolist() == [0, 0, 1, 1]
