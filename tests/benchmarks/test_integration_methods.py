"""What the methods of integration are given, and the pure steps among them."""

import anndata as ad
import labelled
import mapping
import methods
import numpy as np
import pytest


def test_half_of_the_labels_is_given_and_the_others_are_unknown():
    labels = np.array(["a", "a", "b", "b"])
    assert labelled.given_labels(labels, 1.0, seed=0).tolist() == ["a", "a", "b", "b"]
    # The permutation of seed 0 is 2, 0, 1, 3: cells 2 and 0 keep theirs.
    assert np.random.default_rng(0).permutation(4).tolist() == [2, 0, 1, 3]
    assert labelled.given_labels(labels, 0.5, seed=0).tolist() == ["a", "unknown", "b", "unknown"]


def test_batch_means_are_subtracted_from_each_batch():
    x = np.array([[1.0, 0.0], [3.0, 4.0], [10.0, 10.0]])
    assert methods.without_means(x, np.array(["p", "p", "q"])).tolist() == [[-1, -2], [1, 2], [0, 0]]


def test_combat_brings_location_and_scale_of_batches_together():
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(0, 1, (200, 3)), rng.normal(5, 3, (200, 3))])
    found = methods.combat(x, np.repeat(["p", "q"], 200))
    before, after = found[:200], found[200:]
    # Not exactly: the estimates are shrunk towards those of the three features together.
    np.testing.assert_allclose(before.mean(axis=0), after.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(before.std(axis=0), after.std(axis=0), rtol=0.1)


def test_a_cell_of_unknown_batch_has_genes_and_a_name_and_nothing_else():
    cells = ad.AnnData(np.eye(2, dtype=np.float32), obs={"batch": ["p", "q"], "cell_type": ["a", "b"]})
    found = methods.without_batch(cells)
    assert found.obs.columns.tolist() == []
    assert found.obs_names.tolist() == cells.obs_names.tolist()


def test_the_usual_distance_is_that_between_batches_of_the_reference(monkeypatch):
    monkeypatch.setattr(mapping, "NEIGHBOURS", 1)
    x, batches = np.array([[0.0], [4.0], [1.0], [6.0]]), np.array(["p", "p", "q", "q"])
    # Nearest in the other batch: 1, 2, 1, 2; the 95th percentile of these lies at the top.
    assert mapping.mean_distance(x[2:], x[:2]).tolist() == [1, 2]
    assert mapping.usual_distance(x, batches) == pytest.approx(2.0)


def test_a_query_is_scored_on_known_types_and_the_removed_one_apart(monkeypatch):
    monkeypatch.setattr(mapping, "NEIGHBOURS", 1)
    reference = ad.AnnData(np.zeros((4, 1)), obs={"cell_type": ["a", "b", "a", "b"], "batch": ["p", "p", "q", "q"]})
    query = ad.AnnData(np.zeros((4, 1)), obs={"cell_type": ["a", "b", "c", "c"], "batch": ["r"] * 4})
    x, x_query = np.array([[0.0], [4.0], [1.0], [6.0]]), np.array([[0.5], [0.6], [9.0], [4.2]])
    found = mapping.scores(mapping.Case(reference, query, "c"), (x, x_query))
    assert found == {
        "accuracy": 0.5,
        "types": {"a": 1.0, "b": 0.0},
        "near_known": 1.0,
        "near_removed": 0.5,
        "n_removed": 2,
        "farther": 0.5,
        "taken_for": {"a": 2},  # all four reference cells vote, and a is the first of equals
    }
