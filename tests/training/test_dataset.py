"""Batches: every cell once, cells of like length together, and the same tokens from memory or from the matrix."""

import pickle

import h5py
import numpy as np
import pytest
import torch
from scipy import sparse

from genemamba_sc.data import (
    CellReader,
    CellSource,
    Expression,
    GeneVocabulary,
    RankTokenizer,
    Tokens,
    take_tokens,
)
from genemamba_sc.data.tokens._batches import length_batches, to_batch
from genemamba_sc.training import _dataset
from genemamba_sc.training._dataset import LengthBucketSampler, TokenDataset

TOKENS = Tokens(
    ids=np.array([[4, 2, 3], [5, 1, 1], [1, 1, 1], [2, 3, 1]], dtype=np.int32),
    values=np.array([[3, 2, 1], [7, 0, 0], [0, 0, 0], [5, 4, 0]], dtype=np.float32),
    lengths=np.array([3, 1, 0, 2], dtype=np.int32),
)


def new_source(max_len: int = 8) -> CellSource:
    """40 cells of 14 columns, some of them no gene, some the same gene; one cell is empty."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.6, (40, 14)).astype(np.float32)
    counts[7] = 0
    columns = np.array([2, 3, 4, 0, 5, 5, 6, 7, 8, 0, 9, 2, 10, 11], dtype=np.int32)
    ids = tuple(f"ENSG{i:011d}" for i in range(10))
    vocabulary = GeneVocabulary(ids, ("",) * 10, np.linspace(0.5, 2.0, 10), "human")
    return CellSource(
        CellReader(sparse.csr_matrix(counts)),
        columns,
        Expression("counts", None, ""),
        RankTokenizer(vocabulary, max_len),
    )


def new_sampler(lengths: np.ndarray, indices: np.ndarray, batch_size: int = 4, seed: int = 0) -> LengthBucketSampler:
    return LengthBucketSampler(lengths, indices, batch_size, seed)


# ----------------------------------------------------------------- tensors


def test_tokens_become_tensors_under_the_names_the_module_reads():
    batch = to_batch(TOKENS)

    assert {name: value.dtype for name, value in batch.items()} == {
        "token_ids": torch.int64,
        "token_values": torch.float32,
        "lengths": torch.int64,
    }
    assert batch["token_ids"].tolist() == TOKENS.ids.tolist()
    assert batch["token_values"].tolist() == TOKENS.values.tolist()
    assert batch["lengths"].tolist() == [3, 1, 0, 2]


def test_cells_are_taken_in_the_asked_order_without_needless_pads():
    taken = take_tokens(TOKENS, np.array([3, 1, 3]))

    assert taken.ids.tolist() == [[2, 3], [5, 1], [2, 3]]
    assert taken.values.tolist() == [[5, 4], [7, 0], [5, 4]]
    assert taken.lengths.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("rows", "shape"), [([2], (1, 1)), ([], (0, 1))], ids=["a cell without genes", "no cell at all"]
)
def test_tokens_are_at_least_one_wide(rows, shape):
    taken = take_tokens(TOKENS, np.array(rows, dtype=np.int64))

    assert taken.ids.shape == shape
    assert (taken.ids == 1).all()


# ---------------------------------------------------------- length_batches


def test_the_longest_cells_come_first_within_the_budget():
    lengths = np.array([3, 10, 0, 4, 5, 10])

    batches = [batch.tolist() for batch in length_batches(lengths, token_budget=12)]

    # 1 x 10, 1 x 10, 2 x 5, then 4 x 3 would fit, but two cells are left.
    assert batches == [[1], [5], [4, 3], [0, 2]]


def test_a_cell_beyond_the_budget_stands_alone():
    assert [batch.tolist() for batch in length_batches(np.array([7, 9, 1]), 5)] == [[1], [0], [2]]


def test_a_batch_size_takes_the_place_of_the_budget():
    batches = [batch.tolist() for batch in length_batches(np.array([3, 10, 0, 4, 5]), token_budget=1, batch_size=2)]

    assert batches == [[1, 4], [3, 0], [2]]


def test_no_cell_gives_no_batch():
    assert list(length_batches(np.array([], dtype=np.int32), 10)) == []


@pytest.mark.parametrize(
    ("most", "expected"),
    [(0.0, [[1, 5], [4], [3], [0], [2]]), (0.18, [[1, 5, 4], [3, 0], [2]]), (1.0, [[1, 5, 4, 3, 0, 2]])],
)
def test_a_batch_ends_where_more_would_be_pads_than_allowed(most, expected):
    lengths = np.array([3, 10, 0, 4, 5, 10])

    batches = length_batches(lengths, token_budget=1000, most_padding=most)

    assert [batch.tolist() for batch in batches] == expected


@pytest.mark.parametrize("most", [0.01, 0.03, 0.5])
def test_no_more_of_all_batches_is_padding_than_allowed(most):
    lengths = np.random.default_rng(2).lognormal(4, 1, 500).astype(np.int32) + 1

    batches = list(length_batches(lengths, 16_384, most_padding=most))

    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    shares = [1 - lengths[batch].sum() / (len(batch) * lengths[batch].max()) for batch in batches]
    assert max(shares) <= most + 1e-12


def test_cells_without_tokens_go_together():
    batches = length_batches(np.array([0, 4, 0, 0]), 100, most_padding=0.03)

    assert [batch.tolist() for batch in batches] == [[1], [0, 2, 3]]


def test_a_batch_size_takes_the_place_of_the_limit_to_padding_too():
    batches = list(length_batches(np.array([9, 1, 1, 1]), 1, batch_size=2, most_padding=0.0))

    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("budget", [1, 64, 500, 10**6])
def test_every_cell_is_in_one_batch_and_every_batch_in_the_budget(budget):
    lengths = np.random.default_rng(1).integers(0, 100, 300)

    batches = list(length_batches(lengths, budget))

    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    assert all(len(batch) == 1 or len(batch) * max(1, lengths[batch].max()) <= budget for batch in batches)


# ----------------------------------------------------- LengthBucketSampler


def test_an_epoch_has_every_cell_once():
    indices = np.array([9, 2, 4, 17, 11, 3, 8, 15, 1])
    sampler = new_sampler(np.arange(20), indices)

    batches = list(sampler)

    assert sorted(sum(batches, [])) == sorted(indices.tolist())
    assert sorted(len(batch) for batch in batches) == [1, 4, 4]
    assert len(sampler) == 3


@pytest.mark.parametrize("n", [1, 7, 8, 163, 320, 321])
def test_the_number_of_batches_is_what_it_says(n):
    sampler = new_sampler(np.zeros(n, dtype=np.int64), np.arange(n), batch_size=8)

    assert len(list(sampler)) == len(sampler) == -(-n // 8)


def test_epochs_differ():
    sampler = new_sampler(np.zeros(40, dtype=np.int64), np.arange(40))

    assert list(sampler) != list(sampler)


def test_the_seed_gives_the_order_of_all_epochs():
    first, same, other = (new_sampler(np.arange(40), np.arange(40), seed=seed) for seed in (5, 5, 6))
    epochs = [list(first) for _ in range(2)]

    assert [list(same) for _ in range(2)] == epochs
    assert list(other) != epochs[0]


def test_neither_the_order_of_epochs_nor_the_sampler_touches_the_global_stream():
    state = np.random.get_state()[1].tolist()

    list(new_sampler(np.arange(40), np.arange(40)))

    assert np.random.get_state()[1].tolist() == state


def test_cells_of_a_batch_are_of_similar_length_and_batches_come_in_random_order():
    lengths = np.random.default_rng(0).permutation(np.arange(400))

    batches = list(new_sampler(lengths, np.arange(400), batch_size=20))

    # One window holds all cells here: batches are runs of the sorted lengths.
    assert [int(np.ptp(lengths[batch])) for batch in batches] == [19] * 20
    starts = [int(lengths[batch].min()) for batch in batches]
    assert starts != sorted(starts)
    assert sorted(starts) == list(range(0, 400, 20))


# ------------------------------------------------------------ TokenDataset


def test_labels_and_batches_come_with_their_cells():
    labels = np.arange(40) * 10
    scores = np.arange(80, dtype=np.float32).reshape(40, 2)
    dataset = TokenDataset(new_source(), {"labels": labels, "gene_scores": scores})

    batch = dataset[[3, 0, 39]]

    assert set(batch) == {"token_ids", "token_values", "lengths", "labels", "gene_scores"}
    assert batch["labels"].tolist() == [30, 0, 390]
    assert batch["gene_scores"].tolist() == [[6, 7], [0, 1], [78, 79]]


def test_further_columns_make_a_new_dataset_over_the_same_tokens():
    columns = {"labels": np.arange(40)}
    dataset = TokenDataset(new_source(), columns)
    further = dataset.with_columns({"batch": np.arange(40) + 100})

    assert further[[1]]["batch"].tolist() == [101] and further[[1]]["labels"].tolist() == [1]
    assert set(columns) == set(dataset.columns) == {"labels"}
    assert further._cache is dataset._cache
    with pytest.raises(TypeError):
        dataset.columns["batch"] = np.arange(40)


@pytest.mark.parametrize("max_len", [3, 8], ids=["cut", "whole"])
def test_tokens_from_memory_and_from_the_matrix_give_the_same_batches(max_len, monkeypatch):
    kept = TokenDataset(new_source(max_len), {"labels": np.arange(40)})
    monkeypatch.setattr(_dataset, "_CACHE_BYTES", 0)
    monkeypatch.setattr(_dataset, "_BLOCK", 7)
    read = TokenDataset(new_source(max_len), {"labels": np.arange(40)})

    assert kept._cache is not None
    assert read._cache is None
    assert read.lengths.tolist() == kept.lengths.tolist()
    assert read.lengths.dtype == kept.lengths.dtype == np.int32
    sampler = new_sampler(kept.lengths, np.arange(40), batch_size=6)
    for rows in [*sampler, [7], [5, 5, 0]]:
        for (name, one), other in zip(kept[rows].items(), read[rows].values()):
            assert torch.equal(one, other), name


def test_columns_that_are_left_out_stay_out_in_a_process_that_is_not_forked(tmp_path, monkeypatch):
    monkeypatch.setattr(_dataset, "_CACHE_BYTES", 0)
    source = new_source()
    with h5py.File(tmp_path / "cells.h5", "w") as file:
        file["X"] = source.reader.read(np.arange(40)).toarray()
    reader = CellReader(h5py.File(tmp_path / "cells.h5", "r")["X"]).without([3, 9, 0])
    dataset = TokenDataset(CellSource(reader, source.columns, source.expression, source.tokenizer), {})

    other = pickle.loads(pickle.dumps(dataset))

    for name, value in dataset[[3, 0, 39]].items():
        assert torch.equal(other[[3, 0, 39]][name], value), name


def test_the_size_and_the_vocabulary_are_those_of_the_source():
    source = new_source()
    dataset = TokenDataset(source, {})

    assert len(dataset) == 40
    assert dataset.vocabulary is source.tokenizer.vocabulary


def test_tokens_come_in_the_asked_order():
    dataset = TokenDataset(new_source(), {})
    whole = dataset.tokens(np.arange(40))

    some = dataset.tokens(np.array([30, 2, 30]))

    width = some.ids.shape[1]
    assert some.lengths.tolist() == whole.lengths[[30, 2, 30]].tolist()
    assert some.ids.tolist() == whole.ids[[30, 2, 30], :width].tolist()
    assert some.values.tolist() == whole.values[[30, 2, 30], :width].tolist()


def test_a_worker_of_a_loader_tokenises_on_one_thread(monkeypatch):
    monkeypatch.setattr(_dataset, "_CACHE_BYTES", 0)
    source = new_source()
    many = CellSource(
        source.reader, source.columns, source.expression, RankTokenizer(source.tokenizer.vocabulary, 8, n_threads=2)
    )
    asked = []

    def noted(self, cells, columns, call=RankTokenizer.__call__):
        asked.append(self.n_threads)
        return call(self, cells, columns)

    monkeypatch.setattr(RankTokenizer, "__call__", noted)
    dataset = TokenDataset(many, {})
    here = dataset[[3, 1]]
    monkeypatch.setattr(_dataset, "get_worker_info", lambda: "worker 0 of 2")
    there = dataset[[3, 1]]

    assert asked == [2, 1]
    assert all(torch.equal(here[name], there[name]) for name in here)
