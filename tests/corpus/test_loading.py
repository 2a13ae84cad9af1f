"""From a corpus to Lightning."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from genemamba_sc.corpus import CorpusDataModule, TokenCorpus, build_corpus


@pytest.fixture(scope="module")
def corpus(cell_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    folder = tmp_path_factory.mktemp("loading") / "corpus"
    build_corpus(cell_files, folder)
    return TokenCorpus.open(folder)


def batches(corpus: TokenCorpus, n: int = 12, **settings: int) -> list[dict[str, torch.Tensor]]:
    data = CorpusDataModule(corpus, **{"token_budget": 300, "n_batches": n, **settings})
    return list(data.train_dataloader())


def equal(one: list[dict[str, torch.Tensor]], two: list[dict[str, torch.Tensor]]) -> bool:
    return len(one) == len(two) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in zip(one, two)
    )


def test_a_batch_has_what_the_objectives_read(corpus: TokenCorpus):
    for batch in batches(corpus):
        ids, values, lengths = batch["token_ids"], batch["token_values"], batch["lengths"]
        assert set(batch) == {"token_ids", "token_values", "lengths"}
        assert (ids.dtype, values.dtype, lengths.dtype) == (torch.int64, torch.float32, torch.int64)
        assert ids.shape == values.shape == (len(lengths), int(lengths.max()))
        assert ids.numel() <= 300
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        assert bool((ids[real] >= 2).all()) and bool((ids[~real] == 1).all())
        assert bool((values[real] > 0).all()) and not values[~real].any()


def test_the_loader_goes_on_where_it_was_left(corpus: TokenCorpus):
    whole = batches(corpus, 40)  # several passes
    for n_read in (0, 1, 13, 39, 40):
        data = CorpusDataModule(corpus, token_budget=300, n_batches=40)
        loader = data.train_dataloader()
        first = list(islice(iter(loader), n_read))
        later = CorpusDataModule(corpus, token_budget=300, n_batches=40).train_dataloader()
        later.load_state_dict(loader.state_dict())
        assert equal([*first, *later], whole)
        assert len(later) == 40


@pytest.mark.slow
def test_reading_ahead_changes_nothing(corpus: TokenCorpus):
    whole = batches(corpus, 20)
    assert equal(batches(corpus, 20, n_workers=2), whole)
    loader = CorpusDataModule(corpus, token_budget=300, n_batches=20, n_workers=2).train_dataloader()
    first = list(islice(iter(loader), 5))
    assert loader.state_dict()["done"] == 5  # though more were read ahead
    later = CorpusDataModule(corpus, token_budget=300, n_batches=20).train_dataloader()
    later.load_state_dict(loader.state_dict())
    assert equal([*first, *later], whole)


def test_held_out_cells_never_train(corpus: TokenCorpus):
    data = CorpusDataModule(corpus, token_budget=300, n_batches=40, n_validation=20, seed=5)
    assert len(data.validation_cells) == 20
    together = np.sort(np.concatenate([data.training_cells, data.validation_cells]))
    assert np.array_equal(together, np.arange(corpus.n_cells))
    assert sum(len(batch["lengths"]) for batch in data.val_dataloader()) == 20
    assert equal(list(data.val_dataloader()), list(data.val_dataloader()))
    other = CorpusDataModule(corpus, token_budget=300, n_batches=40, n_validation=20, seed=6)
    assert not np.array_equal(other.validation_cells, data.validation_cells)
    assert CorpusDataModule(corpus, token_budget=300, n_batches=1).val_dataloader() == []


def test_cells_are_cut_at_max_len(corpus: TokenCorpus):
    data = CorpusDataModule(corpus, token_budget=300, n_batches=5, max_len=7)
    assert max(batch["token_ids"].shape[1] for batch in data.train_dataloader()) == 7
    assert CorpusDataModule(corpus, token_budget=300, n_batches=5, max_len=10_000).max_len == corpus.lengths.max()


def test_the_loader_leaves_everybody_elses_random_numbers_alone(corpus: TokenCorpus):
    before = torch.get_rng_state()
    batches(corpus)
    assert torch.equal(before, torch.get_rng_state())


def test_numbers_out_of_range_are_refused(corpus: TokenCorpus):
    with pytest.raises(ValueError, match="token_budget must be at least 1. Got 0"):
        CorpusDataModule(corpus, token_budget=0, n_batches=1)
    with pytest.raises(ValueError, match=r"n_validation must leave cells to train on; got 100 of 100. Hold out fewer"):
        CorpusDataModule(corpus, token_budget=10, n_batches=1, n_validation=100)
