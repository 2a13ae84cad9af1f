"""Integrated cells: types meet over batches, and types of one batch stay apart."""

import numpy as np
import pytest

from genemamba_sc.integration import Integration, IntegrationConfig, _fit, fit_integration
from genemamba_sc.integration._axes import shared_axes
from genemamba_sc.integration._neighbours import Closeness, mutual_neighbours

D, PER_TYPE = 12, 40
SHIFTS = 1.5 * np.random.default_rng(5).normal(size=(4, D))
CENTRES = 5 * np.eye(D)


def cells_of(types: np.ndarray, batches: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(types), D))
    return (CENTRES[types] + SHIFTS[batches] + 0.5 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Types 0, 1 and 2 in three batches; batch 2 has no type 1, and only batch 0 has type 3."""
    kinds = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1), (2, 1), (0, 2), (2, 2)]
    types, batches = np.repeat(kinds, PER_TYPE, axis=0).T
    return cells_of(types, batches), types, batches


@pytest.fixture(scope="module")
def fitted(known: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Integration:
    return fit_integration(known[0], known[2])


def test_the_axes_are_chosen_twice_by_usual_partners_and_the_offsets_also_by_the_shortest_links(
    known: tuple[np.ndarray, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def watching(*args, **kwargs):
        asked.append(kwargs.get("closeness", Closeness()))
        return mutual_neighbours(*args, **kwargs)

    monkeypatch.setattr(_fit, "mutual_neighbours", watching)
    fit_integration(known[0], known[2])
    usual, shortest = Closeness(to_own=2.0, to_usual=1.5), Closeness(to_own=2.0, to_usual=1.5, to_nearest=1.3)
    assert asked == [usual, usual, shortest, shortest]


def test_the_axes_hear_labels(known: tuple[np.ndarray, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch):
    cells, types, batches = known
    heard = []

    def watching(*args, **kwargs):
        heard.append(args[-1])
        return shared_axes(*args, **kwargs)

    monkeypatch.setattr(_fit, "shared_axes", watching)
    fit_integration(cells, batches, types)
    assert len(heard) == 2 and all(np.array_equal(labels, types) for labels in heard)


def test_a_single_axis_is_not_looked_along_again(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    batches = np.arange(200) % 2
    passes = []
    monkeypatch.setattr(_fit, "shared_axes", lambda *args: passes.append(args) or shared_axes(*args))
    fit_integration(rng.normal(size=(200, 6)) * [5, 1, 1, 1, 1, 1], batches, config=IntegrationConfig(n_axes=1))
    assert len(passes) == 1


def nearest_in_other_batches(values: np.ndarray, batches: np.ndarray, k: int = 5) -> np.ndarray:
    distances = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    distances[batches[:, None] == batches[None]] = np.inf
    return np.argsort(distances, axis=1)[:, :k]


def share_of_own_type(values: np.ndarray, types: np.ndarray, batches: np.ndarray) -> float:
    shared = types != 3
    near = nearest_in_other_batches(values, batches)
    return float((types[near] == types[:, None])[shared].mean())


def centroids(values: np.ndarray, types: np.ndarray) -> np.ndarray:
    return np.stack([values[types == kind].mean(axis=0) for kind in range(4)])


def test_types_meet_over_batches(fitted: Integration, known: tuple[np.ndarray, np.ndarray, np.ndarray]):
    cells, types, batches = known
    values = fitted(cells, batches)
    assert (values.shape, values.dtype) == ((len(cells), D), np.float32)
    assert share_of_own_type(values, types, batches) >= 0.99

    def gap(values: np.ndarray) -> float:
        """How far the means of a type lie apart over batches, in distances of types."""
        means = np.stack([[values[(types == t) & (batches == b)].mean(axis=0) for b in range(3)] for t in (0, 2)])
        within = np.linalg.norm(means - means.mean(axis=1, keepdims=True), axis=2).mean()
        return float(within / np.linalg.norm(means[0].mean(axis=0) - means[1].mean(axis=0)))

    assert gap(values) < 0.15 < 0.4 < gap(cells)


def test_a_type_of_one_batch_stays_apart(fitted: Integration, known: tuple[np.ndarray, np.ndarray, np.ndarray]):
    cells, types, batches = known
    values = fitted(cells, batches)
    distances = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    near = np.argsort(distances, axis=1)[:, :10]
    assert (types[near][types == 3] == 3).mean() >= 0.99
    assert (types[near][types != 3] == 3).mean() <= 0.01


def test_labels_are_heard(known: tuple[np.ndarray, np.ndarray, np.ndarray]):
    cells, types, batches = known
    # With the labels of types 0 and 2 swapped in batch 1, those are taken for one type.
    swapped = np.where(batches == 1, np.array([2, 1, 0, 3])[types], types)
    deaf = share_of_own_type(fit_integration(cells, batches)(cells, batches), swapped, batches)
    heard = share_of_own_type(fit_integration(cells, batches, swapped)(cells, batches), swapped, batches)
    assert heard > deaf + 0.1
    with_true = fit_integration(cells, batches, types)(cells, batches)
    assert share_of_own_type(with_true, types, batches) >= 0.99
    few = np.where(np.arange(len(types)) % 4 == 0, types, -1)
    assert share_of_own_type(fit_integration(cells, batches, few)(cells, batches), types, batches) >= 0.99


def test_two_types_of_one_batch_each_stay_apart():
    # Types 1 and 2 are in both batches, 0 and 3 in one each; the batches do not differ otherwise.
    types, batches = np.repeat([(0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (3, 1)], PER_TYPE, axis=0).T
    cells = cells_of(types, 0 * batches)
    values = fit_integration(cells, batches)(cells, batches)
    distances = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    near = np.argsort(distances, axis=1)[:, :10]
    assert (types[near] == types[:, None])[types % 3 == 0].mean() > 0.9


@pytest.mark.parametrize(("n", "n_batches"), [(60, 2), (200, 20)], ids=["two small ones", "twenty of ten cells"])
def test_types_of_small_batches_are_not_thrown_together(n: int, n_batches: int):
    rng = np.random.default_rng(0)
    types, batches = rng.integers(0, 3, n), np.arange(n) % n_batches
    shifts = 0.8 * rng.normal(size=(n_batches, D))
    cells = (4 * np.eye(D)[types] + shifts[batches] + 0.7 * rng.normal(size=(n, D))).astype(np.float32)
    values = fit_integration(cells, batches)(cells, batches)
    assert share_of_own_type(values, types, batches) > 0.9


def test_the_order_of_the_cells_does_not_matter(fitted: Integration, known: tuple[np.ndarray, np.ndarray, np.ndarray]):
    cells, _, batches = known
    order = np.random.default_rng(1).permutation(len(cells))
    shuffled = fit_integration(cells[order], batches[order])(cells[order], batches[order])
    np.testing.assert_allclose(shuffled, fitted(cells, batches)[order], atol=1e-3)


def test_the_numbers_of_the_batches_do_not_matter(
    fitted: Integration, known: tuple[np.ndarray, np.ndarray, np.ndarray]
):
    cells, _, batches = known
    other = np.array([2, 0, 1])[batches]
    np.testing.assert_allclose(fit_integration(cells, other)(cells, other), fitted(cells, batches), atol=1e-3)


def test_the_embedding_that_is_given_is_left_alone(known: tuple[np.ndarray, np.ndarray, np.ndarray]):
    cells, types, batches = (values.copy() for values in known)
    fit_integration(cells, batches, types)
    for now, before in zip((cells, types, batches), known):
        assert np.array_equal(now, before)


# --------------------------------------------------------------- new batches


def test_a_new_batch_lands_on_the_types_of_the_reference(
    fitted: Integration, known: tuple[np.ndarray, np.ndarray, np.ndarray]
):
    cells, types, batches = known
    before = fitted(cells, batches)
    middle = centroids(before, types)
    new_types = np.repeat([0, 1, 2], [60, 20, 40])
    query = cells_of(new_types, np.full(120, 3), seed=9)
    mapped = fitted.map_batch(query, fitted.fit_batch(query))
    distances = np.linalg.norm(mapped[:, None] - middle[None], axis=2)
    assert (distances.argmin(axis=1) == new_types).mean() >= 0.99
    projected = np.linalg.norm(fitted.project(query) - middle[new_types], axis=1).mean()
    own = np.linalg.norm(before - middle[types], axis=1).mean()
    assert distances[np.arange(120), new_types].mean() < 1.3 * own < projected
    assert np.array_equal(fitted(cells, batches), before)


def test_cells_of_a_new_batch_are_mapped_by_themselves_once_its_moves_are_known(fitted: Integration):
    query = cells_of(np.repeat([0, 1, 2], 20), np.full(60, 3), seed=9)
    moves = fitted.fit_batch(query)
    together = fitted.map_batch(query, moves)
    alone = [fitted.map_batch(query[i : i + 1], moves)[0] for i in range(0, 60, 9)]
    np.testing.assert_allclose(alone, together[::9], atol=1e-6)


def test_a_new_type_in_a_new_batch_is_not_pulled_onto_a_known_one(
    fitted: Integration, known: tuple[np.ndarray, np.ndarray, np.ndarray]
):
    cells, types, batches = known
    values = fitted(cells, batches)
    new_types = np.repeat([0, 1, 2, 7], 40)
    query = cells_of(new_types, np.full(160, 3), seed=9)
    mapped = fitted.map_batch(query, fitted.fit_batch(query))
    middle = centroids(values, types)
    distances = np.linalg.norm(mapped[:, None] - middle[None], axis=2)
    assert (distances.argmin(axis=1) == new_types)[new_types < 4].mean() >= 0.99
    own = np.quantile(np.linalg.norm(values - middle[types], axis=1), 0.99)
    assert (distances[new_types == 7].min(axis=1) > own).mean() >= 0.95
