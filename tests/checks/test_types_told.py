"""Types read from embeddings, random gene vectors and expression: the same cells, the same method, the same splits."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.checks._types_told import TypeComparison, compare_types

N_CELLS, N_TOKENS, N_TYPES = 120, 40, 3
TYPES = np.arange(N_CELLS) % N_TYPES
LABELS = np.array(["B cell", "T cell", "monocyte"])[TYPES]


@pytest.fixture(scope="module")
def expression() -> sparse.csr_array:
    """Noise that does not know the types."""
    return sparse.csr_array(np.random.default_rng(0).poisson(1.0, (N_CELLS, N_TOKENS)).astype(np.float32))


def embedding(noise: float = 0.1) -> np.ndarray:
    cells = np.eye(8)[TYPES] + noise * np.random.default_rng(1).normal(size=(N_CELLS, 8))
    return cells.astype(np.float32)


def test_an_embedding_that_knows_the_types_is_better_than_random_gene_vectors(expression: sparse.csr_array):
    found = compare_types(embedding(), expression, LABELS, None)
    assert (found.n_cells, found.n_types, found.split) == (120, 3, "a fifth of the cells")
    assert found.weights == 1.0 and found.is_better
    # Three types told by chance.
    assert found.random.shape == (5,) and found.random.max() < 0.55 and found.expression < 0.55
    assert "these weights         1.000" in str(found) and "Better than random gene vectors." in str(found)
    assert found.to_frame().loc["weights", "macro_f1"] == 1.0


def test_an_embedding_of_noise_is_not(expression: sparse.csr_array):
    noise = np.random.default_rng(3).normal(size=(N_CELLS, 8)).astype(np.float32)
    types_in_expression = expression.copy() + sparse.csr_array(10.0 * np.eye(N_TOKENS)[TYPES]).astype(np.float32)
    found = compare_types(noise, types_in_expression, LABELS, None)
    assert not found.is_better and found.weights < 0.55
    assert found.random.min() > 0.9 and found.expression == 1.0
    assert "NO BETTER THAN random gene vectors." in str(found)


def test_a_batch_is_left_out_of_the_fit(expression: sparse.csr_array):
    # In each batch the types stand elsewhere: what is learned in one is wrong in the other.
    batches = np.where(np.arange(N_CELLS) < 60, "first", "second")
    cells = embedding()
    cells[60:] = np.roll(cells[60:], 1, axis=0)
    found = compare_types(cells, expression, LABELS, batches)
    assert found.split == "a batch" and found.weights == 0.0
    assert compare_types(cells, expression, LABELS, None).weights > 0.3
    assert compare_types(embedding(), expression, LABELS, np.full(N_CELLS, "one")).split == "a fifth of the cells"


def test_a_type_that_no_other_batch_has_is_not_judged(expression: sparse.csr_array):
    batches = np.where(np.arange(N_CELLS) < 60, "first", "second")
    labels = np.where((TYPES == 0) & (batches == "first"), "only here", LABELS)
    assert compare_types(embedding(), expression, labels, batches).weights == 1.0


def test_what_cannot_be_told_is_refused(expression: sparse.csr_array):
    with pytest.raises(ValueError, match=r"two of them\. Got one in these cells, or none"):
        compare_types(embedding(), expression, np.full(N_CELLS, "T cell"), None)
    with pytest.raises(ValueError, match=r"Got no type with cells in two parts\. Leave out batch_key="):
        compare_types(embedding(), expression, LABELS, LABELS)
    alone = np.arange(N_CELLS).astype(str)
    with pytest.raises(ValueError, match="Got no type with cells in two parts"):
        compare_types(embedding(), expression, alone, None)


def test_one_draw_as_good_as_the_weights_is_enough_for_doubt():
    found = TypeComparison(100, 3, "a batch", 0.7, np.array([0.5, 0.7]), 0.9)
    assert not found.is_better
