"""Splits: disjoint, covering, the same in every run."""

import numpy as np

from genemamba_sc.benchmark import _splits as splits

LABELS = np.array(["B"] * 10 + ["T"] * 20 + ["NK"] * 5)
BATCHES = np.array(["b"] * 4 + ["a"] * 4 + ["c"] * 6 + ["d"] * 1 + ["e"] * 2)


def test_a_stratified_split_is_disjoint_covers_all_cells_and_keeps_the_shares():
    split = splits.stratified_split(LABELS, seed=0)
    assert (split.kind, split.held_out) == ("stratified", "")
    assert sorted([*split.train, *split.test]) == list(range(35))
    assert {str(name): int(np.sum(LABELS[split.test] == name)) for name in np.unique(LABELS)} == {
        "B": 2,
        "NK": 1,
        "T": 4,
    }


def test_a_stratified_split_depends_on_the_seed_alone():
    first, again, other = (splits.stratified_split(LABELS, seed=seed) for seed in (1, 1, 2))
    assert first.test.tolist() == again.test.tolist()
    assert first.train.tolist() == again.train.tolist()
    assert sorted(first.test.tolist()) != sorted(other.test.tolist())


def test_a_stratified_split_is_the_recorded_one():
    assert sorted(splits.stratified_split(LABELS, seed=0).test.tolist()) == [0, 5, 11, 16, 17, 22, 34]


def test_the_largest_batches_come_by_size_and_equals_by_name():
    assert splits.largest_batches(BATCHES) == ["c", "a", "b", "e"]


def test_each_batch_is_tested_against_all_others():
    found = [(split.held_out, split.train.tolist(), split.test.tolist()) for split in splits.batch_splits(BATCHES, 2)]
    assert found == [
        ("c", [0, 1, 2, 3, 4, 5, 6, 7, 14, 15, 16], [8, 9, 10, 11, 12, 13]),
        ("a", [0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16], [4, 5, 6, 7]),
    ]


def test_the_cell_of_a_type_that_has_no_other_trains():
    split = splits.stratified_split(np.array(["rare", *LABELS]), seed=0)
    assert 0 in split.train
    assert sorted([*split.train, *split.test]) == list(range(36))


def test_few_labels_are_drawn_per_type_and_the_test_part_stays():
    whole, few = splits.stratified_split(LABELS, 0), splits.few_labels_split(LABELS, 0, 3)
    assert few.test.tolist() == whole.test.tolist()
    assert set(few.train) <= set(whole.train)
    assert np.unique(LABELS[few.train], return_counts=True)[1].tolist() == [3, 3, 3]
    # All cells of a type that has no more; half of 8, 4 and 16, and at least one.
    assert np.unique(LABELS[splits.few_labels_split(LABELS, 0, 6).train], return_counts=True)[1].tolist() == [6, 4, 6]
    assert np.unique(LABELS[splits.few_labels_split(LABELS, 0, 0.5).train], return_counts=True)[1].tolist() == [4, 2, 8]
    assert np.unique(LABELS[splits.few_labels_split(LABELS, 0, 0.01).train], return_counts=True)[1].tolist() == [1] * 3
    assert few.train.tolist() != splits.few_labels_split(LABELS, 1, 3).train.tolist()
