"""The scripts of speed: the peer ranks as we do, padding is counted right, and measuring leaves things as they were."""

import anndata as ad
import h5py
import numpy as np
import pytest
import torch
from scipy import sparse

from genemamba_sc.data import GeneVocabulary, RankTokenizer


@pytest.mark.parametrize("peer", ["peer_h5ad", "peer_loom", "peer_arrays"])
def test_each_form_of_the_peer_ranks_as_the_tokenizer_does(peer, monkeypatch):
    import tokenizer

    monkeypatch.setattr(tokenizer, "CHUNK", 7)
    rng = np.random.default_rng(0)
    dense = rng.random((20, 30)) * (rng.random((20, 30)) < 0.6)  # no two values of a cell are equal
    cells = sparse.csr_matrix(dense.astype(np.float32))
    genes = GeneVocabulary(tuple(f"G{i}" for i in range(30)), ("",) * 30, rng.uniform(0.5, 2, 30), "unknown")
    columns = np.arange(2, 32, dtype=np.int32)

    ours = RankTokenizer(genes, max_len=2048)(cells, columns)
    totals = np.asarray(cells.sum(axis=1)).ravel()
    theirs = getattr(tokenizer, peer)(cells, totals, genes.token_medians[columns], columns)

    assert [row.tolist() for row in theirs] == [row[:n].tolist() for row, n in zip(ours.ids, ours.lengths)]
    assert tokenizer.same_genes(ours.ids, ours.lengths, theirs) == 1.0


def test_padding_is_what_a_batch_has_beyond_its_cells():
    from padding import padded

    lengths, batches = np.array([4, 2, 3, 3, 0]), [np.array([0, 1]), np.array([2, 3]), np.array([4])]

    assert padded(lengths, batches, cut=10) == pytest.approx(100 * 3 / 15)
    assert padded(lengths, batches, cut=2) == pytest.approx(100 * 1 / 9)


def test_functions_are_called_in_turn_after_one_call_each_that_is_not_measured():
    from _timing import in_turn

    calls = []
    seconds = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)

    assert calls == ["a", "b"] * 3
    assert set(seconds) == {"a", "b"}
    assert all(0 <= s.wall < 1 for s in seconds.values())


def test_a_table_is_markdown():
    from _timing import markdown

    assert markdown(("a", "b"), [(1, "x")]) == "| a | b |\n| --- | --- |\n| 1 | x |"


def test_the_machine_is_told_with_its_rate_and_torch_keeps_its_threads(monkeypatch):
    import _machine

    monkeypatch.setattr(_machine, "_SIZE", 64)
    before = torch.get_num_threads()

    line = _machine.machine_line(before + 1)

    assert f"{before + 1} thread(s), sgemm " in line
    assert " GFLOP/s" in line
    assert torch.get_num_threads() == before


def test_the_large_file_is_an_h5ad_of_drawn_cells(tmp_path, monkeypatch):
    import end_to_end

    counts = np.array([[1, 0, 2], [0, 5, 0]], dtype=np.float32)
    cells = ad.AnnData(sparse.csr_matrix(counts))
    cells.var_names = ["A", "B", "C"]
    cells.obs["cell_type"] = ["first", "second"]
    monkeypatch.setattr(end_to_end, "pool", lambda: (cells, np.array([0.5, 0.5])))
    monkeypatch.setattr(end_to_end, "PART", 8)

    end_to_end.write_cells(tmp_path / "big.h5ad", 21, "gzip")

    read = ad.read_h5ad(tmp_path / "big.h5ad")
    assert read.shape == (21, 3)
    assert (read.obs_names[20], list(read.var_names)) == ("cell20", ["A", "B", "C"])
    assert {tuple(row) for row in read.X.toarray().tolist()} == {(1, 0, 2), (0, 5, 0)}
    assert read.obs["cell_type"].tolist() == ["first" if row[0] else "second" for row in read.X.toarray()]
    with h5py.File(tmp_path / "big.h5ad") as file:
        assert file["X/data"].compression == "gzip"


def test_cells_are_packed_as_the_package_packs_them():
    import _packing

    from genemamba_sc.model import _blocks

    packing = (_packing.BLOCK_CELLS, _packing.TOKEN_BUDGET, _packing.MOST_PADDING)
    assert packing == (_blocks._BLOCK_CELLS, _blocks._TOKEN_BUDGET, _blocks._MOST_PADDING)
    shared = (_packing.SHARED_BLOCK_CELLS, _packing.SHARED_TOKEN_BUDGET)
    assert shared == (_blocks._SHARED_BLOCK_CELLS, _blocks._SHARED_TOKEN_BUDGET)
