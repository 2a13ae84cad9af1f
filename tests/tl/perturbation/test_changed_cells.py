"""The short way: changed sums give what encoding the changed lists from the start gives."""

import threading

import numpy as np
import pytest
import torch

from genemamba_sc.data import Tokens, to_batch
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.nn import Embedder, EncoderConfig
from genemamba_sc.tl.perturbation._changed_cells import ChangedCells
from genemamba_sc.tl.perturbation._changes import changes_of

V = 30


def tokens_of(lengths, seed=0) -> Tokens:
    rng = np.random.default_rng(seed)
    ids = np.ones((len(lengths), max(lengths)), np.int32)
    values = np.zeros(ids.shape, np.float32)
    for row, n in enumerate(lengths):
        ids[row, :n] = rng.choice(np.arange(2, V - 2), n, replace=False)
        values[row, :n] = np.sort(rng.gamma(1.0, 2.0, n))[::-1]
    return Tokens(ids, values, np.array(lengths, np.int32))


def make_module(n_labels=3, **config) -> GeneMambaModule:
    torch.manual_seed(0)
    shape = {"d_model": 8, "d_state": 4, "headdim": 4, "residual_init": 1.0, "token_dropout": 0.3, **config}
    module = GeneMambaModule(EncoderConfig(vocab_size=V, **shape), n_labels=n_labels)
    if n_labels:
        markers, programs = torch.randn(2, V, n_labels)
        module.set_gene_scores(markers, programs, torch.randn(n_labels), torch.rand(V) + 0.5)
        torch.nn.init.normal_(module.cell_type_head.linear.weight)
    return module.eval()


def from_the_start(module, tokens):
    batch = to_batch(tokens)
    read = module.inference(batch["token_ids"], batch["token_values"], batch["lengths"])
    logits = module.generative(read["context"], batch["token_ids"], batch["token_values"]).get("cell_type_logits")
    return read["cell"], torch.zeros(len(tokens.ids), 0) if logits is None else logits


CONFIGS = {
    "layers read some": {"context_len": 5},
    "layers read all": {"context_len": None},
    "two layers, gate": {"context_len": 5, "n_layer": 2, "combine": "gate"},
    "one layer, sum": {"context_len": 5, "combine": "sum"},
    "no layer": {"n_layer": 0, "context_len": 5},
    "no values": {"context_len": 5, "expression": "none"},
    "published": {"norm": "token", "pre_norm": False, "expression": "none"},
}


@pytest.mark.parametrize("kind", ["delete", "top", "shift"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@torch.inference_mode()
def test_embeddings_and_scores_are_those_of_the_changed_list(config, kind):
    module, tokens = make_module(**config), tokens_of([12, 9, 4, 1, 0])
    cells = ChangedCells(module, Embedder(module.encoder), tokens)
    expected = from_the_start(module, tokens)
    torch.testing.assert_close((cells.cell, cells.logits), expected, atol=1e-5, rtol=1e-4)
    seen, largest = 0, 0.0
    for changes in changes_of(tokens, np.arange(2, V - 2), kind, -3 if kind == "shift" else 0):
        after = cells.after(changes)
        expected = from_the_start(module, changes.applied(tokens, 99))
        torch.testing.assert_close(after, expected, atol=1e-5, rtol=1e-4)
        seen += len(changes.rows)
        largest = max(largest, float((after[0] - cells.cell[changes.rows]).abs().max()))
    assert seen == (4 * (V - 4) if kind == "top" else 26)
    assert largest > 0.05


def topped(n_threads, monkeypatch):
    """Put every gene first, and tell which threads read."""
    module, tokens = make_module(context_len=5), tokens_of([12, 9, 4])
    cells, seen = ChangedCells(module, Embedder(module.encoder), tokens), set()
    assert cells.embedder.is_compiled
    sums = cells.embedder.read
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    monkeypatch.setattr(cells.embedder, "read", lambda *batch: seen.add(threading.get_ident()) or sums(*batch))
    (changes,) = changes_of(tokens, np.arange(2, V - 2), "top", 0)
    return cells.after(changes), seen


@torch.inference_mode()
def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr("genemamba_sc.tl.perturbation._changed_cells._TOKEN_BUDGET", 20)
    one, own = topped(1, monkeypatch)
    several, others = topped(3, monkeypatch)
    assert own == {threading.get_ident()}
    assert others and threading.get_ident() not in others
    torch.testing.assert_close(one, several, rtol=0, atol=0)


@torch.inference_mode()
def test_a_module_without_types_gives_none():
    module, tokens = make_module(n_labels=0, context_len=3), tokens_of([6, 5])
    cells = ChangedCells(module, Embedder(module.encoder), tokens)
    (changes,) = changes_of(tokens, np.arange(2, V - 2), "delete", 0)
    after, logits = cells.after(changes)
    assert logits.shape == (11, 0)
    torch.testing.assert_close(after, from_the_start(module, changes.applied(tokens, 99))[0], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_the_layers_read_again_only_what_changed_before_their_reach(monkeypatch):
    module, tokens = make_module(context_len=3), tokens_of([6, 5])
    cells, read = ChangedCells(module, Embedder(module.encoder), tokens), []
    sums = cells.embedder.read
    monkeypatch.setattr(cells.embedder, "read", lambda ids, *rest: read.append(len(ids)) or sums(ids, *rest))
    for changes in changes_of(tokens, np.arange(2, V - 2), "delete", 0):
        cells.after(changes)
    assert sum(read) == 6  # three places of two cells, out of eleven
