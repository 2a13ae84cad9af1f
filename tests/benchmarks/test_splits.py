"""Splits: disjoint, covering, the same in every run."""

import anndata as ad
import numpy as np
import pytest
import splits

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


def test_batch_splits_do_not_depend_on_the_seed():
    adata = ad.AnnData(np.ones((17, 1), np.float32))
    adata.obs["batch"] = BATCHES
    one, two = ([s.held_out for s in splits.splits_of(adata, "batch", seed)] for seed in (0, 1))
    assert one == two == ["c", "a", "b", "e"]


def test_an_unknown_kind_of_split_is_refused():
    with pytest.raises(ValueError, match="A split is one of \\['batch', 'stratified'\\]. Got 'random'"):
        list(splits.splits_of(ad.AnnData(np.ones((2, 1), np.float32)), "random", 0))


def test_a_missing_data_folder_is_named_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("GENEMAMBA_TEST_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere has no cells/. Set GENEMAMBA_TEST_DATA"):
        splits.data_folder()


def test_the_real_sets_have_the_recorded_held_out_batches(real_data, monkeypatch):
    monkeypatch.setenv("GENEMAMBA_TEST_DATA", str(real_data))
    found = {
        name: splits.largest_batches(splits.column(splits.load_set(name), splits.BATCH))
        for name in splits.SETS_OF_SPLIT["batch"]
    }
    assert found == {
        "kang_ctrl": ["1015", "1256", "1488", "1244"],
        "onek1k": ["SAMP3", "SAMP2", "SAMP22", "SAMP8"],
        "cell_lines": ["sc_celseq2_5cl_p2", "sc_celseq2_5cl_p3", "sc_celseq2_5cl_p1", "sc_celseq2"],
        "immune_3studies": ["zheng_sorted", "pbmc3k", "kang_ctrl"],
    }
