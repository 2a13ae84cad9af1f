"""Means over the cells of an epoch."""

import torch

from genemamba_sc.training._epoch_means import EpochMeans


def test_cells_count_alike_and_a_name_counts_where_it_is():
    means = EpochMeans()
    means.add({"loss": torch.tensor(1.0, requires_grad=True), "accuracy": torch.tensor(0.5)}, 30)
    means.add({"loss": torch.tensor(4.0)}, 10)
    found = means.take()
    assert {name: (float(value), n) for name, (value, n) in found.items()} == {
        "loss": (1.75, 40),
        "accuracy": (0.5, 30),
    }
    assert not found["loss"][0].requires_grad


def test_an_epoch_knows_nothing_of_the_one_before():
    means = EpochMeans()
    means.add({"loss": torch.tensor(9.0)}, 7)
    means.take()
    assert means.take() == {}
    means.add({"loss": torch.tensor(2.0)}, 3)
    assert float(means.take()["loss"][0]) == 2.0
