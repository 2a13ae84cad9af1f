"""Mixing: a shift of a batch disappears, for partners to be found."""

import numpy as np

from genemamba_sc.integration._mixing import mixed


def blobs(shift: np.ndarray, n: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two types in two batches, of which the second is shifted."""
    rng = np.random.default_rng(0)
    types, batches = np.arange(n) % 2, np.arange(n) // 2 % 2
    centres = np.array([[4.0, 0.0, 0.0], [-4.0, 0.0, 0.0]])
    return centres[types] + 0.3 * rng.normal(size=(n, 3)) + batches[:, None] * shift, types, batches


def test_a_shift_of_a_batch_disappears_and_types_stay():
    cells, types, batches = blobs(np.array([0.0, 3.0, 0.0]))
    cells = cells - cells.mean(axis=0)
    result = mixed(cells, batches)

    def gap(values: np.ndarray, kind: int) -> float:
        of_kind = types == kind
        means = [values[of_kind & (batches == batch)].mean(axis=0) for batch in (0, 1)]
        return float(np.linalg.norm(means[0] - means[1]))

    for kind in (0, 1):
        assert gap(cells, kind) > 2.8
        # The regression shrinks by a fifth of the expected cells.
        assert gap(result, kind) < 0.7
    apart = result[types == 0].mean(axis=0) - result[types == 1].mean(axis=0)
    assert np.linalg.norm(apart) > 7


def test_batches_that_do_not_differ_stay():
    cells, _, batches = blobs(np.zeros(3))
    assert np.linalg.norm(mixed(cells, batches) - cells, axis=1).max() < 0.3


def test_the_order_of_the_cells_does_not_matter():
    cells, _, batches = blobs(np.array([0.0, 3.0, 1.0]))
    order = np.random.default_rng(1).permutation(len(cells))
    np.testing.assert_allclose(mixed(cells[order], batches[order]), mixed(cells, batches)[order], atol=1e-6)


def test_the_cells_that_are_given_are_left_alone():
    cells, _, batches = blobs(np.array([0.0, 3.0, 1.0]))
    before = cells.copy()
    mixed(cells, batches)
    assert np.array_equal(cells, before)
