"""Cells to arrays: the order, what the result does not depend on, and what is left as it was."""

import threading

import numpy as np
import pytest
import torch
from scipy import sparse

from genemamba_sc.data import CellReader, CellSource, Expression, GeneVocabulary, RankTokenizer
from genemamba_sc.model import _blocks, _inference
from genemamba_sc.model._inference import cell_type_logits, embed, read_cells
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.nn import EncoderConfig

N_CELLS, N_GENES = 23, 15


@pytest.fixture
def source() -> CellSource:
    """Cells of very different length; cell 4 has no gene."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.uniform(0.1, 2.0, (N_CELLS, 1)), (N_CELLS, N_GENES)).astype(np.float32)
    counts[:, 7] += 1
    counts[4] = 0
    vocabulary = GeneVocabulary(tuple(f"G{i}" for i in range(N_GENES)), ("",) * N_GENES, np.ones(N_GENES), "unknown")
    return CellSource(
        CellReader(sparse.csr_matrix(counts)),
        np.arange(2, 2 + N_GENES, dtype=np.int32),
        Expression("counts", None, ""),
        RankTokenizer(vocabulary),
    )


@pytest.fixture(params=["mean", "gate"], ids=["compiled", "batch by batch"])
def module(request) -> GeneMambaModule:
    """A layer whose directions are averaged has a compiled way; one with a gate between them has not."""
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=N_GENES + 4,
        d_model=8,
        d_state=4,
        headdim=4,
        combine=request.param,
        token_dropout=0.5,
        residual_init=1.0,
    )
    module = GeneMambaModule(config, n_labels=3)
    markers, programs = torch.randn(2, N_GENES + 4, 3) / 10
    module.set_gene_scores(markers, programs, torch.randn(3), torch.ones(N_GENES + 4))
    torch.nn.init.normal_(module.cell_type_head.linear.weight)
    return module


def small_blocks(monkeypatch, n_cells: int) -> None:
    for name in ("_BLOCK_CELLS", "_SHARED_BLOCK_CELLS"):
        monkeypatch.setattr(_blocks, name, n_cells)


def is_compiled(module: GeneMambaModule) -> bool:
    return module.encoder_config.combine == "mean"


def one_by_one(module: GeneMambaModule, source: CellSource, indices) -> np.ndarray:
    return np.concatenate([embed(module, source, np.array([index])) for index in indices])


def test_cells_come_in_the_asked_order(module, source):
    indices = np.array([20, 3, 4, 3, 0, 22])

    latent = embed(module, source, indices)

    assert (latent.shape, latent.dtype) == ((6, 8), np.float32)
    np.testing.assert_allclose(latent, one_by_one(module, source, indices), atol=1e-5)
    assert np.ptp(latent, axis=0).min() > 1e-2


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_the_batch_size_changes_nothing(module, source, batch_size):
    indices = np.arange(N_CELLS)

    latent = embed(module, source, indices, batch_size=batch_size)

    np.testing.assert_allclose(latent, embed(module, source, indices), atol=1e-5)


def test_blocks_and_the_budget_of_tokens_change_nothing(module, source, monkeypatch):
    indices = np.arange(N_CELLS)[::-1].copy()
    whole = embed(module, source, indices)
    small_blocks(monkeypatch, 5)
    for name in ("_TOKEN_BUDGET", "_SHARED_TOKEN_BUDGET"):
        monkeypatch.setattr(_blocks, name, 20)

    np.testing.assert_allclose(embed(module, source, indices), whole, atol=1e-5)


def test_a_cell_without_genes_has_a_zero_embedding(module, source):
    latent = embed(module, source, np.arange(N_CELLS))

    assert np.flatnonzero(~latent.any(axis=1)).tolist() == [4]


def test_no_cell_gives_no_row(module, source):
    assert embed(module, source, np.array([], dtype=np.int64)).shape == (0, 8)


def test_a_batch_size_below_one_is_refused(module, source):
    with pytest.raises(ValueError, match=r"batch_size must be at least 1\. Got 0\."):
        embed(module, source, np.arange(3), batch_size=0)


def test_the_scores_of_types_are_those_of_genes_and_encoder(module, source):
    indices = np.array([5, 4, 9])

    logits = cell_type_logits(module, source, indices)

    tokens = source.tokens(indices)
    head = module.cell_type_head
    with torch.no_grad():
        scores = head.score_genes(torch.from_numpy(tokens.ids).long(), torch.from_numpy(tokens.values))
        expected = head(torch.from_numpy(embed(module, source, indices)), scores).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-3


def test_one_pass_reads_embedding_scores_and_coordinates(module, source):
    indices = np.array([20, 3, 4, 0])
    table = np.random.default_rng(0).normal(size=(N_GENES + 4, 2)).astype(np.float32)
    module.cell_type_head.medians.copy_(torch.linspace(0.5, 2.0, N_GENES + 4))

    read = read_cells(module, source, indices, table=table)

    np.testing.assert_allclose(read.latent, embed(module, source, indices), atol=1e-5)
    np.testing.assert_allclose(read.logits, cell_type_logits(module, source, indices), atol=1e-5)
    tokens = source.tokens(indices)
    levels = np.log1p(tokens.values * module.cell_type_head.medians.numpy()[tokens.ids])
    np.testing.assert_allclose(read.coordinates, (levels[:, :, None] * table[tokens.ids]).sum(axis=1), atol=1e-4)
    assert not read.coordinates[2].any()
    assert read_cells(module, source, indices).coordinates.shape == (4, 0)


@pytest.mark.parametrize("function", [embed, cell_type_logits], ids=["embeddings", "scores"])
@pytest.mark.parametrize("training", [True, False], ids=["in training", "in evaluation"])
def test_the_mode_of_the_module_stays(module, source, function, training):
    module.train(training)

    function(module, source, np.arange(3))

    assert {part.training for part in module.modules()} == {training}


@pytest.mark.parametrize("training", [True, False], ids=["in training", "in evaluation"])
def test_the_mode_of_the_module_stays_after_an_error(module, source, training):
    module.train(training)

    with pytest.raises(IndexError, match=r"indices must lie in \[0, 23\)"):
        embed(module, source, np.array([1, 23]))

    assert {part.training for part in module.modules()} == {training}


def test_training_goes_on_as_if_nothing_had_been_embedded(module, source):
    module.train()
    state = torch.random.get_rng_state()

    embed(module, source, np.arange(3))

    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert all(p.requires_grad and p.grad is None and not p.is_inference() for p in module.parameters())


def test_one_block_draws_no_progress_bar(module, source, capsys):
    embed(module, source, np.arange(N_CELLS))

    assert tuple(capsys.readouterr()) == ("", "")


@pytest.mark.parametrize(("style", "drawn"), [("tqdm", True), (None, False)], ids=["by default", "switched off"])
def test_many_blocks_draw_a_progress_bar_unless_it_is_switched_off(module, source, capsys, monkeypatch, style, drawn):
    small_blocks(monkeypatch, 10)
    monkeypatch.setattr(_blocks.settings, "_pbar_style", style)

    embed(module, source, np.arange(N_CELLS))

    assert ("Embedding" in "".join(capsys.readouterr())) is drawn


# --------------------------------------------------------- blocks read ahead


@pytest.fixture
def reading_threads(monkeypatch) -> list[str]:
    """Blocks of 5 cells; the names of the threads that read them, in order."""
    small_blocks(monkeypatch, 5)
    read, names = CellSource.tokens, []

    def noted(self, indices):
        names.append(threading.current_thread().name)
        return read(self, indices)

    monkeypatch.setattr(CellSource, "tokens", noted)
    return names


def test_with_threads_to_spare_one_reads_ahead_or_each_embeds_and_nothing_changes(
    module, source, reading_threads, monkeypatch
):
    monkeypatch.setattr(_blocks.torch, "get_num_threads", lambda: 1)
    alone = embed(module, source, np.arange(N_CELLS))
    assert set(reading_threads) == {"MainThread"}
    reading_threads.clear()

    monkeypatch.setattr(_blocks.torch, "get_num_threads", lambda: 2)
    shared = embed(module, source, np.arange(N_CELLS))

    assert len(reading_threads) == 5
    assert "MainThread" not in reading_threads
    assert len(set(reading_threads)) <= (2 if is_compiled(module) else 1)
    np.testing.assert_array_equal(shared, alone)


def test_two_blocks_are_embedded_at_once(module, source, monkeypatch):
    small_blocks(monkeypatch, 12)
    monkeypatch.setattr(_blocks.torch, "get_num_threads", lambda: 2)
    both, of_type = threading.Barrier(2 if is_compiled(module) else 1, timeout=30), _inference._cells

    def together(*args):
        both.wait()  # fails unless the other block is embedded meanwhile
        return of_type(*args)

    monkeypatch.setattr(_inference, "_cells", together)
    assert embed(module, source, np.arange(N_CELLS), batch_size=12).shape == (N_CELLS, 8)


def test_few_cells_start_no_thread(module, source, reading_threads, monkeypatch):
    monkeypatch.setattr(_blocks.torch, "get_num_threads", lambda: 2)

    embed(module, source, np.arange(5))

    assert reading_threads == ["MainThread"]


@pytest.mark.parametrize("error", [KeyboardInterrupt("stopped"), ValueError("broken")], ids=["interrupted", "an error"])
def test_what_ends_the_encoder_ends_the_reading(module, source, reading_threads, monkeypatch, error):
    monkeypatch.setattr(_blocks.torch, "get_num_threads", lambda: 2)
    module.train()

    def stop(*args):
        raise error

    monkeypatch.setattr(_inference, "_cells", stop)
    with pytest.raises(type(error), match=str(error)):
        embed(module, source, np.arange(N_CELLS))

    assert module.training
    assert len(reading_threads) <= (3 if is_compiled(module) else 2)
    assert not [thread for thread in threading.enumerate() if thread.name in reading_threads]


def test_an_error_in_a_block_read_ahead_is_told(module, source, reading_threads, monkeypatch):
    monkeypatch.setattr(_blocks.torch, "get_num_threads", lambda: 2)

    with pytest.raises(IndexError, match=r"indices must lie in \[0, 23\)"):
        embed(module, source, np.array([*range(20), 99]))


def test_the_bar_counts_cells_to_the_last(module, source, capsys, monkeypatch):
    small_blocks(monkeypatch, 10)

    embed(module, source, np.arange(N_CELLS))

    drawn = "".join(capsys.readouterr()).split("\r")[-1]
    assert f"{N_CELLS}/{N_CELLS}" in drawn
    assert "cells/s" in drawn
