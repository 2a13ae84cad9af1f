"""The split: as in scvi-tools, and loaders over it."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from scvi import settings
from scvi.dataloaders import DataSplitter

from genemamba_sc.data import CellReader, CellSource, Expression, GeneVocabulary, RankTokenizer
from genemamba_sc.model.fitting._splitter import TokenDataSplitter
from genemamba_sc.training._dataset import TokenDataset

N_CELLS = 23


@pytest.fixture
def dataset() -> TokenDataset:
    """Cell i has i % 5 + 1 genes and the label i."""
    counts = (np.arange(5)[None, :] <= (np.arange(N_CELLS) % 5)[:, None]).astype(np.float32)
    vocabulary = GeneVocabulary(tuple("ABCDE"), ("",) * 5, np.ones(5), "unknown")
    source = CellSource(
        CellReader(sparse.csr_matrix(counts)),
        np.arange(2, 7, dtype=np.int32),
        Expression("counts", None, ""),
        RankTokenizer(vocabulary),
    )
    return TokenDataset(source, {"labels": np.arange(N_CELLS)})


@pytest.fixture
def seeded(monkeypatch):
    """Set the seed of scvi-tools, without its setter, which reseeds the whole process."""
    return lambda seed: monkeypatch.setattr(settings, "_seed", seed)


def parts(splitter) -> list[list[int]]:
    return [np.asarray(part).tolist() for part in (splitter.train_idx, splitter.val_idx, splitter.test_idx)]


def loaded(loader) -> list[list[int]]:
    return [batch["labels"].tolist() for batch in loader]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"train_size": 0.9}, id="nine tenths train"),
        pytest.param({"train_size": 0.5, "validation_size": 0.2}, id="the rest is for testing"),
        pytest.param({"train_size": 0.7, "shuffle_set_split": False}, id="in the order of the cells"),
        pytest.param({"train_size": 1.0}, id="no cell validates"),
        pytest.param({"train_size": None, "batch_size": 7}, id="by default"),
    ],
)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_split_is_that_of_scvi_tools(dataset, seeded, options, seed):
    seeded(seed)
    theirs = DataSplitter(SimpleNamespace(adata=SimpleNamespace(n_obs=N_CELLS)), **options)
    theirs.setup()

    ours = TokenDataSplitter(dataset, **options)

    assert parts(ours) == parts(theirs)
    assert (ours.n_train, ours.n_val) == (theirs.n_train, theirs.n_val)
    assert sorted(sum(parts(ours), [])) == list(range(N_CELLS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"train_size": 1.5}, r"train_size must lie in \(0, 1\]\. Got 1\.5", id="a share above one"),
        pytest.param({"train_size": 0.0}, r"train_size must lie in \(0, 1\]\. Got 0\.0", id="nothing to train on"),
        pytest.param(
            {"train_size": 0.9, "validation_size": 0.2},
            r"validation_size .* in sum with train_size\. Got 0\.2 and train_size=0\.9",
            id="shares beyond one",
        ),
        pytest.param({"validation_size": 1.0}, r"validation_size must lie in \[0, 1\)", id="all validate"),
        pytest.param({"validation_size": -0.1}, r"validation_size must lie in \[0, 1\)", id="fewer than none"),
    ],
)
def test_impossible_shares_are_refused(dataset, options, message):
    with pytest.raises(ValueError, match=message):
        TokenDataSplitter(dataset, **options)


def test_the_callers_split_is_taken_as_it_is(dataset):
    train, val, test = np.arange(22, 7, -1), np.arange(5), np.array([5, 6, 7])

    splitter = TokenDataSplitter(dataset, external_indexing=[train, val, test])

    assert parts(splitter) == [train.tolist(), [0, 1, 2, 3, 4], [5, 6, 7]]
    assert (splitter.n_train, splitter.n_val) == (15, 5)


@pytest.mark.parametrize("rest", [[], [None], [None, None]], ids=["left out", "one None", "two Nones"])
def test_validation_and_test_cells_may_be_left_out(dataset, rest):
    indexing = [np.arange(N_CELLS), *rest]

    splitter = TokenDataSplitter(dataset, external_indexing=indexing)

    assert parts(splitter) == [list(range(N_CELLS)), [], []]
    assert splitter.val_dataloader() == []
    assert [None if part is None else len(part) for part in indexing] == [N_CELLS, *rest]


@pytest.mark.parametrize(
    "indexing",
    [[], [None], [np.array([], dtype=int), np.arange(N_CELLS)]],
    ids=["an empty list", "None", "an empty array"],
)
def test_a_split_without_training_cells_is_refused(dataset, indexing):
    with pytest.raises(ValueError, match=r"must name the training cells first\. Got none\. Pass \[train"):
        TokenDataSplitter(dataset, external_indexing=indexing)


@pytest.mark.parametrize(
    ("indexing", "error", "message"),
    [
        ([np.arange(N_CELLS), np.array([0])], ValueError, r"must not overlap\. 1 cells are in several, such as cell 0"),
        ([np.arange(20)], ValueError, r"must name every cell\. 3 of 23 are in no part\. Name those .* third part"),
        ([np.r_[np.arange(N_CELLS), 4]], ValueError, r"Training cells of external_indexing must be named once\."),
        ([np.arange(N_CELLS), None, None, None], ValueError, r"at most three parts: .*\. Got 4"),
        ([np.r_[np.arange(22), 99]], IndexError, r"must lie in \[0, 23\).*Got 99"),
        ([np.arange(N_CELLS) < 0], ValueError, "must name the training cells first. Got none"),
        ([np.arange(23) / 2], TypeError, "must be a list of whole row numbers, or a boolean mask"),
        (np.arange(N_CELLS), TypeError, r"must be a list of arrays of row numbers\. Got ndarray"),
        ("cells", TypeError, r"must be a list of arrays of row numbers\. Got str"),
    ],
    ids=["overlap", "cells left out", "named twice", "four parts", "out of range", "an empty mask", "fractions",
         "one array", "a text"],
)  # fmt: skip
def test_parts_that_are_no_split_are_refused(dataset, unchecked, indexing, error, message):
    with pytest.raises(error, match=message):
        TokenDataSplitter(dataset, external_indexing=indexing)


def test_masks_and_lists_may_name_the_parts(dataset):
    first = np.arange(N_CELLS) < 20

    assert parts(TokenDataSplitter(dataset, external_indexing=(first, ~first))) == [[*range(20)], [20, 21, 22], []]
    assert parts(TokenDataSplitter(dataset, external_indexing=[[*range(23)]])) == [[*range(23)], [], []]


def test_training_cells_are_loaded_once_an_epoch_in_another_order_each_time(dataset, seeded):
    seeded(0)
    splitter = TokenDataSplitter(dataset, train_size=0.8, batch_size=4)
    loader = splitter.train_dataloader()

    first, second = loaded(loader), loaded(loader)

    assert sorted(sum(first, [])) == sorted(sum(second, [])) == sorted(splitter.train_idx.tolist())
    assert first != second
    assert len(loader) == len(first) == 5


def test_the_seed_of_scvi_tools_gives_the_order_of_the_training_cells(dataset, seeded):
    orders = []
    for seed in (1, 1, 2):
        seeded(seed)
        orders.append(loaded(TokenDataSplitter(dataset, 0.9, shuffle_set_split=False).train_dataloader()))

    assert orders[0] == orders[1] != orders[2]


def test_without_a_seed_orders_differ(dataset, seeded):
    seeded(None)
    splitter = TokenDataSplitter(dataset, 1.0, batch_size=1)

    assert loaded(splitter.train_dataloader()) != loaded(splitter.train_dataloader())


def test_validation_cells_are_loaded_by_length_in_the_same_order_each_time(dataset):
    train, val = np.arange(8), np.arange(22, 7, -1)
    splitter = TokenDataSplitter(dataset, external_indexing=[train, val], batch_size=6)

    first, second = loaded(splitter.val_dataloader()), loaded(splitter.val_dataloader())

    assert first == second == [[20, 15, 10, 21, 16, 11], [22, 17, 12, 18, 13, 8], [19, 14, 9]]


def test_no_validation_cells_no_loader(dataset):
    splitter = TokenDataSplitter(dataset, train_size=1.0)

    assert (splitter.n_train, splitter.n_val) == (N_CELLS, 0)
    assert splitter.val_dataloader() == []
