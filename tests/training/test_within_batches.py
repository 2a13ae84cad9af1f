"""Components of what varies within batches: a dense factorisation, without the dense matrix."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.data import Tokens
from genemamba_sc.training._gene_table import GeneSample, spectral_gene_table
from genemamba_sc.training._within_batches import within_batch_components

BATCHES = np.array([5, 5, 5, 9, 9, 9, 9, 9, 2, 2, 2, 2])


def matrix(seed: int = 0, n_tokens: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((len(BATCHES), n_tokens)) * (rng.random((len(BATCHES), n_tokens)) < 0.7)


def dense(weights: np.ndarray, batches: np.ndarray, k: int) -> np.ndarray:
    """The same by the book: centred in each batch, scaled by sd^-1/2, every batch of the same weight."""
    centred, variances = weights.copy(), []
    weight = np.zeros(len(weights))
    for batch in np.unique(batches):
        rows = batches == batch
        centred[rows] -= weights[rows].mean(axis=0)
        variances.append(centred[rows].var(axis=0))
        weight[rows] = rows.sum() ** -0.5
    variance = np.mean(variances, axis=0)
    scale = np.where(variance > 1e-9, np.maximum(variance, 1e-12) ** -0.25, 0.0)
    components = np.linalg.svd(weight[:, None] * centred * scale, full_matrices=False)[2][:k]
    return (components * scale).T


def with_one_sign(components: np.ndarray) -> np.ndarray:
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0)
    return components * np.where(largest < 0, -1.0, 1.0)


def found(weights: np.ndarray, batches: np.ndarray = BATCHES, k: int = 4) -> np.ndarray:
    return with_one_sign(within_batch_components(sparse.csr_array(weights), batches, k, 0))


def test_components_are_those_of_a_dense_factorisation():
    np.testing.assert_allclose(found(matrix()), with_one_sign(dense(matrix(), BATCHES, 4)), atol=1e-8)


def test_a_token_that_varies_between_batches_only_has_a_row_of_zeros():
    weights = matrix()
    weights[:, 3] = np.where(BATCHES == 9, 1.0, 0.25)
    components = found(weights)
    assert np.flatnonzero(~components.any(axis=1)).tolist() == [3]
    others = np.delete(np.arange(7), 3)
    np.testing.assert_allclose(components[others], found(weights[:, others]), atol=1e-8)


def test_a_shift_of_a_batch_changes_nothing():
    shifted = matrix() + (BATCHES == 9)[:, None] * np.arange(7)
    np.testing.assert_allclose(found(shifted), found(matrix()), atol=1e-8)


def test_batches_weigh_alike_however_many_cells_they_have():
    rows = np.concatenate([np.arange(12), np.flatnonzero(BATCHES == 2), np.flatnonzero(BATCHES == 2)])
    np.testing.assert_allclose(found(matrix()[rows], BATCHES[rows]), found(matrix()), atol=1e-8)


def test_the_order_of_the_cells_does_not_matter():
    order = np.random.default_rng(1).permutation(12)
    np.testing.assert_allclose(found(matrix()[order], BATCHES[order]), found(matrix()), atol=1e-8)


def test_components_beyond_the_rank_within_batches_are_zero():
    # Six cells in three batches: three differences.
    components = found(matrix()[:6], np.arange(6) // 2, 5)
    assert components.any(axis=0).tolist() == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("weights", "batches"),
    [
        (matrix(), np.arange(12)),
        (np.zeros((12, 7)), BATCHES),
        (np.tile(matrix()[:1], (12, 1)), BATCHES),
        (matrix()[[0, 4]], np.array([0, 1])),
    ],
    ids=["every cell a batch", "no weights", "identical cells", "two cells"],
)
def test_cells_that_do_not_vary_within_batches_give_zeros(weights: np.ndarray, batches: np.ndarray):
    assert not found(weights, batches, 3).any()


def tokens_in_batches() -> tuple[Tokens, np.ndarray]:
    """Cells whose first genes tell the type (tokens 2-7) and whose last ones tell the batch (tokens 8-13)."""
    rng = np.random.default_rng(0)
    types, batches = np.arange(80) % 2, np.arange(80) // 2 % 2
    ids = [[*rng.permutation(3) + 2 + 3 * t, *rng.permutation(3) + 8 + 3 * b] for t, b in zip(types, batches)]
    return Tokens(np.array(ids, dtype=np.int32), np.ones((80, 6), np.float32), np.full(80, 6, np.int32)), batches


def test_a_gene_table_of_batches_tells_types_in_its_first_column():
    tokens, batches = tokens_in_batches()
    table = spectral_gene_table(tokens, 15, 3, batches=batches)
    assert (table.shape, table.dtype) == ((15, 3), np.float32)
    signs = np.sign(table[2:8, 0]) * np.sign(table[2, 0])
    assert signs.tolist() == [1, 1, 1, -1, -1, -1]
    assert np.abs(table[2:8, 0]).min() > 2 * np.abs(table[8:14, 0]).max()
    used = table[table.any(axis=1)]
    assert (used**2).mean() == pytest.approx(1.0, abs=1e-5)
    assert not table[[0, 1, 14]].any()


def test_a_table_of_cells_that_do_not_vary_within_batches_is_zero():
    tokens, _ = tokens_in_batches()
    assert not spectral_gene_table(tokens, 15, 3, batches=np.arange(80)).any()


def test_a_sample_keeps_the_batches_of_its_own_cells():
    tokens, batches = tokens_in_batches()

    def read(cells: np.ndarray) -> Tokens:
        return Tokens(tokens.ids[cells], tokens.values[cells], tokens.lengths[cells])

    chosen = np.arange(79, 20, -2)
    sample = GeneSample.of(read, chosen, 15, 0, batches)
    assert sample.batches.tolist() == batches[chosen].tolist()
    expected = spectral_gene_table(read(chosen), 15, 2, seed=0, batches=batches[chosen])
    assert np.array_equal(sample.spectral(2), expected)
    assert GeneSample.of(read, chosen, 15, 0).batches is None
