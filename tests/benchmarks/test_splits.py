"""Splits of the sets: the recorded ones."""

import anndata as ad
import numpy as np
import pytest
import splits

from genemamba_sc.benchmark import largest_batches

BATCHES = np.array(["b"] * 4 + ["a"] * 4 + ["c"] * 6 + ["d"] * 1 + ["e"] * 2)


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
        name: largest_batches(splits.column(splits.load_set(name), splits.BATCH))
        for name in splits.SETS_OF_SPLIT["batch"]
    }
    assert found == {
        "kang_ctrl": ["1015", "1256", "1488", "1244"],
        "onek1k": ["SAMP3", "SAMP2", "SAMP22", "SAMP8"],
        "cell_lines": ["sc_celseq2_5cl_p2", "sc_celseq2_5cl_p3", "sc_celseq2_5cl_p1", "sc_celseq2"],
        "immune_3studies": ["zheng_sorted", "pbmc3k", "kang_ctrl"],
    }
