"""Embedding without hidden states: the same numbers as the encoder's own, and from each cell alone."""

import pytest
import torch

from genemamba_sc.nn import BiMambaEncoder, Embedder, EncoderConfig

LENGTHS = torch.tensor([40, 33, 7, 1, 0])
SHORT = {
    "as by default": {},
    "sum": {"combine": "sum"},
    "context": {"context_len": 9},
    "no norm": {"pre_norm": False},
    "no weights": {"expression": "none"},
    "exact edges": {"exact_edges": True},
    "groups": {"ngroups": 2, "expand": 2},
}
LONG = {
    "gate": {"combine": "gate"},
    "two layers": {"n_layer": 2},
    "no layer": {"n_layer": 0},
    "norm per token": {"norm": "token"},
}


def new_encoder(**fields) -> BiMambaEncoder:
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "d_model": 8, "d_state": 4, "headdim": 4, "residual_init": 1.0}
    encoder = BiMambaEncoder(EncoderConfig(**sizes | fields)).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, 0.5, 0.5)
    return encoder


def new_cells(lengths=LENGTHS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(int(lengths.max()), 1))
    pads = torch.arange(shape[1]) >= lengths[:, None]
    ids = torch.randint(2, 30, shape, generator=generator).masked_fill(pads, 1)
    values = torch.rand(shape, generator=generator).sub(0.5).mul(12).exp2().masked_fill(pads, 0)
    values[:, ::5] = 0  # unknown
    return ids, values, lengths


@torch.inference_mode()
@pytest.mark.parametrize("fields", [*SHORT.values(), *LONG.values()], ids=[*SHORT, *LONG])
def test_the_pools_are_those_of_the_encoder(fields):
    encoder, cells = new_encoder(**fields), new_cells()
    embedder, (ids, values, lengths) = Embedder(encoder), cells
    assert embedder.is_compiled == (fields in SHORT.values())
    pools = embedder(*cells)
    truth = encoder.double()(ids, values.double(), lengths)
    for name in ("cell", "context"):
        torch.testing.assert_close(getattr(pools, name), getattr(truth, name).float(), rtol=1e-5, atol=1e-5)
    assert not pools.cell[4].any()


@torch.inference_mode()
@pytest.mark.parametrize("fields", [*SHORT.values(), *LONG.values()], ids=[*SHORT, *LONG])
def test_the_sums_of_what_is_read_are_those_of_the_encoder(fields):
    encoder, (ids, values, lengths) = new_encoder(**fields), new_cells()
    sums = Embedder(encoder).read(ids, values, lengths)
    truth = encoder.double()(ids, values.double(), lengths)
    n_read = lengths.clamp(max=fields.get("context_len", ids.shape[1]))
    weights = torch.ones(ids.shape) if encoder.expression is None else encoder.expression(values.double())
    start = encoder.embeddings(ids) * (weights * (torch.arange(ids.shape[1]) < n_read[:, None]))[..., None]
    expected = (truth.hidden.sum(dim=1), start.sum(dim=1), truth.context)
    for name, value in zip(("hidden", "bag", "context"), expected):
        torch.testing.assert_close(getattr(sums, name), value.float(), rtol=1e-5, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("fields", SHORT.values(), ids=SHORT)
def test_neighbours_and_pads_change_no_bit_of_the_sums(fields):
    ids, values, lengths = new_cells()
    pool = Embedder(new_encoder(**fields))._pooler
    together = pool(ids, values, lengths)
    for i, n in enumerate(lengths.tolist()):
        alone = pool(ids[i : i + 1, :n], values[i : i + 1, :n], lengths[i : i + 1])
        for sums, own in zip(together, alone, strict=True):
            assert torch.equal(sums[i], own[0])


@torch.inference_mode()
def test_no_cell_gives_no_row():
    pools = Embedder(new_encoder())(torch.ones(0, 3, dtype=torch.long), torch.ones(0, 3), LENGTHS[:0])
    assert pools.cell.shape == pools.context.shape == (0, 8)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("ids", "length", "message"),
    [([[2, 30]], 2, "tokens from 2 to 30 and 2"), ([[2, -1]], 2, "tokens from -1 to 2"), ([[2, 3]], 3, "3 tokens")],
    ids=["beyond the table", "negative", "beyond the cell"],
)
def test_what_lies_beyond_the_arrays_is_refused(ids, length, message):
    with pytest.raises(IndexError, match=message):
        Embedder(new_encoder())(torch.tensor(ids), torch.ones(1, 2), torch.tensor([length]))


def test_the_weights_are_left_as_they_are_and_read_when_an_embedder_is_made():
    encoder, cells = new_encoder(), new_cells()
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    with torch.inference_mode():
        before = Embedder(encoder)(*cells).cell
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())
    with torch.no_grad():
        encoder.layers[0].mixer.in_proj.weight.mul_(2)
    with torch.inference_mode():
        after = Embedder(encoder)(*cells).cell
        torch.testing.assert_close(after, encoder(*cells).cell, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, after)


def test_other_backends_and_precisions_take_the_long_way():
    encoder = new_encoder()
    assert Embedder(encoder).is_compiled
    encoder.layers[0].mixer.backend = "chunked"
    assert not Embedder(encoder).is_compiled
    assert not Embedder(new_encoder().double()).is_compiled
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not Embedder(new_encoder()).is_compiled
