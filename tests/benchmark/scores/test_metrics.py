"""Scores on examples small enough to count by hand."""

import numpy as np
import pytest

from genemamba_sc.benchmark.scores import _metrics as metrics

# B: 2 true, 1 right, 1 false alarm -> F1 = 2/(2+1+1) = 1/2; T: 3 true, 2 right, 0 false alarms -> 4/5;
# NK: 1 true, never predicted -> 0. "Mono" is predicted once and is no class of the test part.
TRUE = np.array(["B", "B", "T", "T", "T", "NK"])
PREDICTED = np.array(["B", "Mono", "T", "T", "B", "Mono"])


def test_accuracy_is_the_share_of_right_cells():
    assert metrics.accuracy(TRUE, PREDICTED) == 0.5


def test_macro_f1_is_over_the_types_of_the_test_part_only():
    assert metrics.macro_f1(TRUE, PREDICTED) == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)


def test_the_knn_probe_is_fitted_on_the_training_embeddings():
    train = np.array([[0.0], [0.1], [10.0]])
    labels = np.array(["B", "B", "T"])
    found = metrics.knn_probe(train, labels, np.array([[0.2], [9.0]]), np.array(["B", "T"]))
    # Of three cells two vote, the first by name of equals: B wins everywhere, so B has F1 2/(2+1) and T has none.
    assert found == {"knn_accuracy": 0.5, "knn_macro_f1": pytest.approx(1 / 3)}
