"""The gene table to start from: which genes go together, and what stays zero."""

import numpy as np
import pytest

from genemamba_sc.data import Tokens
from genemamba_sc.training._gene_table import common_rank_tokens, denoised_gene_table, spectral_gene_table


def tokens_of(cells: list[list[int]]) -> Tokens:
    width = max(1, max(len(cell) for cell in cells))
    ids = np.array([cell + [1] * (width - len(cell)) for cell in cells], dtype=np.int32)
    lengths = np.array([len(cell) for cell in cells], dtype=np.int32)
    return Tokens(ids=ids, values=(ids > 1).astype(np.float32), lengths=lengths)


def two_modules(n_cells: int = 80, seed: int = 0) -> Tokens:
    """Cells with most genes of one module (tokens 2-9 or 10-17) and a few of the other; token 18 is never seen."""
    rng = np.random.default_rng(seed)
    modules = np.arange(2, 10), np.arange(10, 18)
    cells = []
    for i in range(n_cells):
        own, other = modules[i % 2], modules[1 - i % 2]
        few = rng.choice(other, 2, replace=False)
        cells.append([*rng.permutation(own)[:6].tolist(), *few.tolist()])
    return tokens_of(cells)


def cosines(table: np.ndarray) -> np.ndarray:
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    return unit @ unit.T


def test_genes_of_one_module_are_closer_than_genes_of_two():
    table = spectral_gene_table(two_modules(), vocab_size=21, d_model=1)
    between = cosines(table[2:18])

    same = np.arange(16)[:, None] // 8 == np.arange(16)[None, :] // 8
    np.testing.assert_allclose(between, np.where(same, 1.0, -1.0), atol=1e-5)


def test_modules_stay_apart_on_average_among_more_components():
    table = spectral_gene_table(two_modules(), vocab_size=21, d_model=4)
    between = cosines(table[2:18])

    own = (between[:8, :8].sum() + between[8:, 8:].sum() - 16) / (2 * 8 * 7)
    across = between[:8, 8:].mean()
    assert own > across + 0.2


def test_tokens_never_seen_have_zero_rows():
    table = spectral_gene_table(two_modules(), vocab_size=21, d_model=4)

    # [UNK], [PAD] (which fills rows up), token 18 that is a gene, [CLS], [MASK].
    assert np.flatnonzero(~table.any(axis=1)).tolist() == [0, 1, 18, 19, 20]


def test_pads_do_not_count():
    tokens = two_modules()
    padded = Tokens(
        ids=np.pad(tokens.ids, ((0, 0), (0, 5)), constant_values=1),
        values=np.pad(tokens.values, ((0, 0), (0, 5))),
        lengths=tokens.lengths,
    )

    np.testing.assert_array_equal(spectral_gene_table(padded, 21, 4), spectral_gene_table(tokens, 21, 4))


def test_entries_of_rows_in_use_have_unit_root_mean_square():
    table = spectral_gene_table(two_modules(), vocab_size=21, d_model=4)

    assert (table.shape, table.dtype) == ((21, 4), np.float32)
    assert (table[2:18] ** 2).mean() == pytest.approx(1.0, abs=1e-5)


def test_the_same_seed_gives_the_same_table():
    tables = [spectral_gene_table(two_modules(), 21, 4, seed=7) for _ in range(2)]

    np.testing.assert_array_equal(*tables)


def test_the_solver_leaves_the_global_stream_alone():
    state = np.random.get_state()[1].tolist()

    spectral_gene_table(two_modules(), 21, 4)

    assert np.random.get_state()[1].tolist() == state


def test_the_order_of_the_cells_does_not_matter():
    tokens = two_modules()
    order = np.random.default_rng(3).permutation(80)
    shuffled = Tokens(ids=tokens.ids[order], values=tokens.values[order], lengths=tokens.lengths[order])

    table, other = (spectral_gene_table(t, 21, 2) for t in (tokens, shuffled))

    # The sign of a component is free.
    np.testing.assert_allclose(other @ other.T, table @ table.T, atol=1e-3)


def test_components_beyond_the_number_of_cells_stay_zero():
    table = spectral_gene_table(tokens_of([[2, 3, 4, 5], [5, 4, 6], [7, 2, 3]]), vocab_size=10, d_model=6)

    assert table.any(axis=0).tolist() == [True, True, False, False, False, False]


def test_components_beyond_the_rank_of_the_cells_stay_zero():
    cells = [[2, 3, 4, 5], [5, 4, 6], [7, 2, 3]]
    table = spectral_gene_table(tokens_of(cells * 5), vocab_size=10, d_model=6)

    assert table.any(axis=0).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("n_cells", [3, 1000, 4999])
def test_a_gene_of_one_rank_in_all_cells_tells_nothing(n_cells):
    rng = np.random.default_rng(0)
    cells = [rng.permutation(np.arange(2, 8)).tolist() for _ in range(n_cells)]
    table = spectral_gene_table(tokens_of([[*cell[:2], 9, *cell[2:4]] for cell in cells]), vocab_size=12, d_model=2)

    assert table[9].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "cells", [[[2, 3]], [[], []], [[2, 3], [2, 3]]], ids=["one cell", "cells without genes", "equal cells"]
)
def test_cells_that_tell_nothing_give_zeros(cells):
    table = spectral_gene_table(tokens_of(cells), vocab_size=6, d_model=3)

    assert table.tolist() == [[0.0] * 3] * 6


def test_denoising_keeps_what_halves_of_cells_have_in_common():
    # Two kinds of cells tell their genes apart in column 0; column 1 is noise of single genes.
    rng = np.random.default_rng(0)
    kinds = [np.arange(2, 402), np.arange(402, 802)]
    ids = np.stack([rng.choice(kinds[i % 2], 40, replace=False) for i in range(400)]).astype(np.int32)
    tokens = Tokens(ids, np.ones(ids.shape, dtype=np.float32), np.full(400, 40, dtype=np.int32))
    table = np.zeros((802, 2), dtype=np.float32)
    table[kinds[0], 0], table[kinds[1], 0] = 1.0, -1.0
    table[2:, 1] = 3 * rng.standard_normal(800)
    denoised = denoised_gene_table(tokens, table)
    before, after = table.std(axis=0), denoised.std(axis=0)
    assert after[1] / after[0] < 0.25 * before[1] / before[0]
    np.testing.assert_allclose(np.sqrt((denoised**2).sum()), np.sqrt((table**2).sum()), rtol=1e-5)
    assert not denoised[:2].any()


def test_denoising_survives_cells_without_halves():
    tokens = Tokens(
        np.array([[2, 3], [1, 1]], dtype=np.int32), np.ones((2, 2), dtype=np.float32), np.array([2, 0], dtype=np.int32)
    )
    table = np.ones((4, 2), dtype=np.float32)
    assert np.isfinite(denoised_gene_table(tokens, table)).all()


def test_cells_too_short_to_be_halved_leave_the_table_as_it_is():
    tokens = Tokens(
        ids=np.tile(np.arange(2, 8, dtype=np.int32), (40, 1)),
        values=np.ones((40, 6), dtype=np.float32),
        lengths=np.full(40, 6, dtype=np.int32),
    )
    table = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    denoised = denoised_gene_table(tokens, table)
    np.testing.assert_array_equal(denoised, table)
    # Two names of one array cannot be saved side by side: a corpus of few cells could not be pretrained on.
    assert not np.shares_memory(denoised, table)


def test_the_common_token_at_each_rank_ignores_pads_and_takes_the_smaller_of_equals():
    tokens = tokens_of([[4, 5, 6], [4, 7], [3, 5]])
    assert common_rank_tokens(tokens.ids, tokens.lengths).tolist() == [4, 5, 6]
    tied = tokens_of([[9], [8]])
    assert common_rank_tokens(tied.ids, tied.lengths).tolist() == [8]
