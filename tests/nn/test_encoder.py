"""The encoder: its equations, and the properties a cell embedding must have."""

import pytest
import torch

from genemamba_sc.nn import BiMambaEncoder, EncoderConfig

LENGTHS = torch.tensor([40, 33, 7, 1, 0])
SMALL = {"vocab_size": 30, "d_model": 8, "d_state": 4, "expand": 2, "headdim": 4, "residual_init": 1.0}
PUBLISHED_LIKE = {"pre_norm": False, "shared_combiner": True, "expression": "none", "norm": "token"}


def new_encoder(dtype=torch.float64, seed=0, **fields):
    torch.manual_seed(seed)
    encoder = BiMambaEncoder(EncoderConfig(**SMALL | fields)).to(dtype).eval()
    with torch.no_grad():
        encoder.norm_f.weight.normal_(1, 0.2)
        if encoder.expression is not None:
            encoder.expression.weight.uniform_(0.5, 2)
    return encoder


def new_cells(lengths=LENGTHS, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(int(lengths.max()), 1))
    pads = torch.arange(shape[1]) >= lengths[:, None]
    ids = torch.randint(2, 30, shape, generator=generator).masked_fill(pads, 1)
    values = torch.rand(shape, generator=generator, dtype=torch.float64).mul(6).exp2().masked_fill(pads, 0)
    return ids, values.to(dtype), lengths


def rms_norm(x, weight, eps):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def reverse_valid(x, mask):
    turned = x.clone()
    for row, real in enumerate(mask):
        turned[row, real] = x[row, real].flip(0)
    return turned


def both_readings(layer, x, mask):
    """Residual plus mixer, left to right and right to left, as two whole passes."""
    backwards = reverse_valid(x, mask)
    backwards = backwards + layer.mixer(backwards, mask)
    return x + layer.mixer(x, mask), reverse_valid(backwards, mask)


@pytest.mark.parametrize("n_layer", [1, 3])
@pytest.mark.parametrize("combine", ["mean", "sum", "gate", "concat"])
def test_published_equations(combine, n_layer):
    encoder = new_encoder(**PUBLISHED_LIKE, combine=combine, n_layer=n_layer)
    if encoder.combiner is not None:
        torch.nn.init.normal_(encoder.combiner.weight, std=0.3)
        torch.nn.init.normal_(encoder.combiner.bias)
    ids, values, lengths = new_cells()
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    x = encoder.embeddings(ids) * mask[..., None]
    for layer in encoder.layers:
        f, b = both_readings(layer, x, mask)
        if combine == "mean":
            x = (f + b) / 2
        elif combine == "sum":
            x = f + b
        else:
            mixed = torch.cat([f, b], -1) @ encoder.combiner.weight.T + encoder.combiner.bias
            gate = torch.sigmoid(mixed)
            x = gate * f + (1 - gate) * b if combine == "gate" else mixed * mask[..., None]
    hidden = rms_norm(x, encoder.norm_f.weight, 1e-5)
    output = encoder(ids, values, lengths)
    torch.testing.assert_close(output.hidden, hidden, rtol=1e-8, atol=1e-10)
    cell = torch.stack([row[:n].mean(0) if n else 0 * row[0] for row, n in zip(hidden, lengths)])
    torch.testing.assert_close(output.cell, cell, rtol=1e-8, atol=1e-10)


def test_layer_with_norm_reads_the_weighted_tokens():
    encoder = new_encoder(expression="bins")
    ids, values, lengths = new_cells()
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    weight = encoder.expression(values) * mask
    x = encoder.embeddings(ids) * weight[..., None]
    layer = encoder.layers[0]
    read = rms_norm(x, layer.norm.weight, 1e-5) * weight[..., None]
    f = layer.mixer(read, mask)
    b = reverse_valid(layer.mixer(reverse_valid(read, mask), mask), mask)
    expected = x + (f + b) / 2
    output = encoder(ids, values, lengths)
    torch.testing.assert_close(output.hidden, expected, rtol=1e-8, atol=1e-10)
    cell = expected.sum(1) / lengths.clamp(min=1)[:, None]
    torch.testing.assert_close(output.cell, rms_norm(cell, encoder.norm_f.weight, 1e-10), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("combine", ["gate", "concat"])
@pytest.mark.parametrize(("shared", "count"), [(True, 1), (False, 3)], ids=["shared", "one per layer"])
def test_number_of_combiners(combine, shared, count):
    encoder = new_encoder(combine=combine, shared_combiner=shared, n_layer=3)
    weights = [name for name, _ in encoder.named_parameters() if "combiner" in name and name.endswith("weight")]
    assert len(weights) == count


@pytest.mark.parametrize(
    ("n_layer", "d_model", "combine", "backbone"),
    [
        (24, 512, "mean", 52_700_800),
        (24, 512, "gate", 53_225_600),
        (24, 768, "mean", 107_502_528),
        (48, 512, "sum", 92_382_976),
        (48, 768, "mean", 195_477_120),
    ],
)
def test_published_number_of_parameters(n_layer, d_model, combine, backbone):
    with torch.device("meta"):
        encoder = BiMambaEncoder(EncoderConfig.published(n_layer, d_model, combine))
        head = torch.nn.Linear(d_model, 25_426)
    assert sum(p.numel() for p in encoder.parameters()) == backbone
    if (n_layer, d_model, combine) == (24, 512, "mean"):
        assert backbone + sum(p.numel() for p in head.parameters()) == 65_744_338


def test_parameter_names():
    names = {name for name, _ in new_encoder(n_layer=1, combine="gate", expression="bins").named_parameters()}
    mixer = (
        "A_log",
        "D",
        "conv1d.bias",
        "conv1d.weight",
        "dt_bias",
        "in_proj.weight",
        "norm.weight",
        "out_proj.weight",
    )
    assert names == {
        "embeddings.weight",
        "expression.weight",
        "layers.0.norm.weight",
        *(f"layers.0.mixer.{name}" for name in mixer),
        "combiners.0.weight",
        "combiners.0.bias",
        "norm_f.weight",
    }


@pytest.mark.parametrize("norm", ["token", "cell"])
@pytest.mark.parametrize("expression", ["none", "bins"])
@pytest.mark.parametrize("combine", ["mean", "sum", "gate", "concat"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared combiner", "own combiners"])
def test_every_parameter_gets_a_gradient(combine, shared, expression, norm):
    encoder = new_encoder(combine=combine, shared_combiner=shared, expression=expression, norm=norm, n_layer=2)
    output = encoder(*new_cells())
    (output.cell * torch.randn_like(output.cell)).sum().backward()
    silent = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-9]
    assert silent == []
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("combine", ["mean", "sum", "gate", "concat"])
def test_a_token_is_seen_on_both_sides(combine):
    encoder = new_encoder(combine=combine, n_layer=1)
    ids, values, lengths = new_cells(torch.tensor([40]))
    changed = ids.clone()
    changed[0, 20] = 2 + (ids[0, 20] - 1) % 28
    difference = (encoder(ids, values, lengths).hidden - encoder(changed, values, lengths).hidden).abs().amax(-1)[0]
    assert (difference > 1e-9).all()


@pytest.mark.parametrize("fields", [{}, PUBLISHED_LIKE, {"combine": "concat"}], ids=["own", "published", "concat"])
def test_the_rest_of_the_batch_changes_nothing(fields):
    encoder = new_encoder(dtype=torch.float32, n_layer=2, **fields)
    ids, values, lengths = new_cells(dtype=torch.float32)
    whole = encoder(ids, values, lengths)
    for row, n in enumerate(lengths.tolist()):
        width = max(n, 1)
        alone = encoder(ids[row : row + 1, :width], values[row : row + 1, :width], lengths[row : row + 1])
        torch.testing.assert_close(alone.cell[0], whole.cell[row], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.hidden[0, :n], whole.hidden[row, :n], rtol=0, atol=1e-5)
        assert not whole.hidden[row, n:].any()


@pytest.mark.parametrize("fields", [{}, PUBLISHED_LIKE], ids=["own", "published"])
def test_pads_change_nothing(fields):
    encoder = new_encoder(dtype=torch.float32, n_layer=2, **fields)
    ids, values, lengths = new_cells(dtype=torch.float32)
    garbage_ids, garbage_values = torch.full((5, 30), 17), torch.full((5, 30), 99.0)
    padded = encoder(torch.cat([ids, garbage_ids], 1), torch.cat([values, garbage_values], 1), lengths)
    plain = encoder(ids, values, lengths)
    torch.testing.assert_close(padded.cell, plain.cell, rtol=0, atol=1e-5)
    torch.testing.assert_close(padded.hidden[:, :40], plain.hidden, rtol=0, atol=1e-5)
    assert not padded.mask[:, 40:].any()


@pytest.mark.parametrize("n_layer", [0, 2])
@pytest.mark.parametrize("norm", ["token", "cell"])
def test_a_cell_without_tokens_is_zero(n_layer, norm):
    encoder = new_encoder(n_layer=n_layer, norm=norm, combine="concat")
    ids, values, lengths = new_cells(torch.tensor([0, 0]))
    output = encoder(ids, values, lengths)
    output.cell.sum().backward()
    assert torch.equal(output.cell, torch.zeros(2, 8, dtype=torch.float64))
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("norm", ["token", "cell"])
@pytest.mark.parametrize("shape", [(2, 0), (0, 3)], ids=["no position", "no cell"])
@pytest.mark.parametrize("trains", [False, True])
def test_batches_without_tokens_give_no_states(shape, norm, trains):
    encoder = new_encoder(n_layer=2, norm=norm, token_dropout=0.3).train(trains)
    empty = torch.zeros(shape, dtype=torch.long)
    output = encoder(empty, empty.double(), torch.zeros(shape[0], dtype=torch.long))
    assert torch.equal(output.cell, torch.zeros(shape[0], 8, dtype=torch.float64))
    assert output.hidden.numel() == 0


def test_a_reading_that_is_none_is_refused():
    encoder = new_encoder(n_layer=1)
    with pytest.raises(
        ValueError, match=r"reading must be one of \['both', .*Got 'left_to_right'\. Choose one of them"
    ):
        type(encoder).forward.__wrapped__(encoder, *new_cells(), reading="left_to_right")


def test_bag_of_tokens():
    encoder = new_encoder(n_layer=0, expression="bins", n_bins=4)
    ids, values, lengths = torch.tensor([[5, 9, 1]]), torch.tensor([[1.5, 1.0, 0.0]]), torch.tensor([2])
    table, weight = encoder.embeddings.weight, encoder.expression.weight
    bag = (weight[3] * table[5] + weight[2] * table[9]) / 2
    expected = rms_norm(bag, encoder.norm_f.weight, 1e-10)[None]
    torch.testing.assert_close(encoder(ids, values.double(), lengths).cell, expected)


def test_a_new_stack_can_start_as_the_bag_of_tokens():
    cells = new_cells()
    for combine in ("mean", "gate", "concat"):
        stack = new_encoder(combine=combine, n_layer=3, residual_init=0.0)
        bag = new_encoder(n_layer=0)
        bag.load_state_dict(stack.state_dict(), strict=False)
        torch.testing.assert_close(stack(*cells).cell, bag(*cells).cell)


def test_expression_weight_of_each_half_octave():
    weight = BiMambaEncoder(EncoderConfig(**SMALL | {"n_bins": 4, "n_layer": 0})).expression
    # Bins [1/2, 0.71), [0.71, 1), [1, 1.41), [1.41, 2); the first and the last take what lies beyond.
    middles = torch.tensor([2**-0.75, 2**-0.25, 2**0.25, 2**0.75])
    torch.testing.assert_close(weight.weight.detach(), torch.log1p(middles) / torch.log1p(torch.tensor(1.0)))
    values = torch.tensor([[0.0, 1e-9, 0.6, 0.8, 1.0, 1.2, 1.5, 1e9]])
    with torch.no_grad():
        weight.weight.copy_(torch.tensor([10.0, 11, 12, 13]))
    assert weight(values).tolist() == [[1.0, 10, 10, 11, 12, 12, 13, 13]]


def test_without_values_every_token_weighs_one():
    ids, values, lengths = new_cells()
    with_weights, without = new_encoder(expression="bins"), new_encoder(expression="none")
    without.load_state_dict(with_weights.state_dict(), strict=False)
    expected = without(ids, values, lengths).cell
    torch.testing.assert_close(with_weights(ids, None, lengths).cell, expected)
    assert not torch.allclose(with_weights(ids, values, lengths).cell, expected)


def test_invisible_tokens_are_read_but_not_pooled():
    encoder = new_encoder()
    ids, values, lengths = new_cells(torch.tensor([6]))
    visible = torch.tensor([[True, True, False, True, False, True]])
    output = encoder(ids, values, lengths, visible)
    torch.testing.assert_close(output.hidden, encoder(ids, values, lengths).hidden)
    cell = rms_norm(output.hidden[0, visible[0]].mean(0), encoder.norm_f.weight, 1e-10)
    torch.testing.assert_close(output.cell[0], cell)


def test_context_reads_the_first_tokens():
    encoder = new_encoder(context_len=10)
    ids, values, lengths = new_cells(torch.tensor([40, 4]))
    output = encoder(ids, values, lengths)
    first = encoder(ids[:, :10], values[:, :10], lengths.clamp(max=10))
    assert torch.equal(output.hidden, first.hidden)
    torch.testing.assert_close(output.context, first.cell)
    assert output.mask.sum(1).tolist() == [10, 4]


def test_the_cell_pools_all_tokens_of_which_the_layers_change_the_first():
    encoder = new_encoder(context_len=10)
    ids, values, lengths = new_cells(torch.tensor([40, 4]))
    output = encoder(ids, values, lengths)
    tokens = encoder.embeddings(ids) * encoder.expression(values)[..., None]
    for row, length in enumerate(lengths.tolist()):
        read = min(length, 10)
        states = torch.cat([output.hidden[row, :read], tokens[row, read:length]])
        cell = rms_norm(states.mean(0), encoder.norm_f.weight, 1e-10)
        torch.testing.assert_close(output.cell[row], cell)


def test_dropout_takes_tokens_out_of_the_sequence():
    encoder = new_encoder(token_dropout=0.5).train()
    ids, values, lengths = new_cells()
    torch.manual_seed(3)
    output = encoder(ids, values, lengths)
    encoder.eval()
    for row in range(len(lengths)):
        kept = output.positions[row, output.mask[row]]
        assert kept.tolist() == sorted(set(kept.tolist()))
        assert (kept < lengths[row]).all()
        short = torch.tensor([len(kept)])
        if len(kept):
            alone = encoder(ids[row, kept][None], values[row, kept][None], short)
            torch.testing.assert_close(output.cell[row], alone.cell[0])
            torch.testing.assert_close(output.hidden[row, : len(kept)], alone.hidden[0])
    assert output.mask.sum() < lengths.sum()


def test_dropout_spares_invisible_tokens_and_keeps_its_rate():
    encoder = new_encoder(dtype=torch.float32, n_layer=0, token_dropout=0.3).train()
    ids, values, lengths = new_cells(torch.full((500,), 200), dtype=torch.float32)
    visible = torch.ones_like(ids, dtype=torch.bool)
    visible[:, ::10] = False
    torch.manual_seed(0)
    output = encoder(ids, values, lengths, visible)
    read = torch.zeros_like(visible).scatter(1, output.positions, output.mask)
    assert read[:, ::10].all()
    dropped = 1 - read[:, visible[0]].float().mean(1)
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.03)
    # Drawn for each cell, uniformly from 0 to 0.6, and within it for each token.
    assert dropped.quantile(0.05).item() == pytest.approx(0.03, abs=0.03)
    assert dropped.quantile(0.95).item() == pytest.approx(0.57, abs=0.06)


def test_dropout_is_for_training_only():
    encoder, cells = new_encoder(token_dropout=0.5), new_cells()
    assert torch.equal(encoder(*cells).cell, encoder(*cells).cell)
    assert encoder(*cells).hidden.shape[1] == 40


def test_autocast_gives_finite_embeddings_near_float32():
    for combine in ("mean", "gate", "concat"):
        encoder = new_encoder(dtype=torch.float32, combine=combine, n_layer=2)
        cells = new_cells(dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cell = encoder(*cells).cell.float()
        expected = encoder(*cells).cell
        assert ((cell - expected).norm() / expected.norm()).item() < 3e-2
