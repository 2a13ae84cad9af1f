"""Pretraining: no target is in the input, every part reaches the weights it should, nothing breaks on little."""

import math

import pytest
import torch
from torch.nn import functional as F

from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, ObjectiveConfig, PretrainingObjectives
from genemamba_sc.nn._draws import Draws

VOCAB = 44  # 40 genes, 2..41
MASK = VOCAB - 1
ALONE = {"mgm_weight": 0.0, "pathway_weight": 0.0}
PARTS = {
    "mgm": ALONE | {"mgm_weight": 1.0},
    "spectral": ALONE | {"spectral_weight": 1.0},
    "decode": ALONE | {"decode_weight": 1.0},
    "contrast": ALONE | {"contrast_weight": 1.0},
    "pathway": ALONE | {"pathway_weight": 1.0},
    "pathway of hidden genes": ALONE | {"pathway_weight": 1.0, "pathway_tokens": "hidden"},
}
ALL = {"spectral_weight": 0.7, "decode_weight": 0.5, "contrast_weight": 0.3, "pathway_weight": 0.1}


def new_pathways():
    """Genes in blocks of four, every other gene in none of them."""
    rows = torch.full((VOCAB,), -1)
    rows[2:42:2] = torch.arange(20)
    block = torch.arange(20) // 4
    share = (block[:, None] == block).long()
    share = F.pad(share, (0, 4)).view(20, 3, 8)
    return PathwayIndex(rows, (share << torch.arange(8)).sum(-1).to(torch.uint8))


def new_objectives(part="mgm", *, encoder=None, dtype=torch.float64, seed=0, **fields):
    torch.manual_seed(seed)
    config = {"d_model": 8, "d_state": 4, "expand": 2, "headdim": 4, "residual_init": 1.0} | (encoder or {})
    return PretrainingObjectives(
        BiMambaEncoder(EncoderConfig(vocab_size=VOCAB, **config)),
        ObjectiveConfig(**PARTS.get(part, {}) | fields),
        spectral=torch.randn(VOCAB, 5),
        pathways=new_pathways(),
    ).to(dtype)


def new_batch(lengths=(30, 24, 12, 5), seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(lengths)
    width = max(1, int(lengths.max()))
    ids = torch.stack([torch.randperm(40, generator=generator)[:width] + 2 for _ in lengths])
    values = torch.rand(len(lengths), width, generator=generator, dtype=dtype).mul(4).exp2().sort(descending=True)[0]
    pads = torch.arange(width) >= lengths[:, None]
    return {"token_ids": ids.masked_fill(pads, 1), "token_values": values.masked_fill(pads, 0), "lengths": lengths}


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def watch_encoder(objectives):
    """What goes into the encoder and what comes out, call by call."""
    calls = []
    objectives.encoder.register_forward_hook(
        lambda _module, inputs, kwargs, output: calls.append((inputs, kwargs, output)), with_kwargs=True
    )
    return calls


def swap_hidden(batch, hidden):
    """Give every hidden gene another name (41 - name + 2, unless that one is visible) and another value."""
    other = {name: x.clone() for name, x in batch.items()}
    for row in range(len(hidden)):
        names = batch["token_ids"][row]
        shown = set(names[~hidden[row]].tolist())
        free = [gene for gene in range(2, 42) if gene not in shown]
        columns = hidden[row].nonzero().flatten().tolist()
        # One further along in those that are free: another name for each.
        for column in columns:
            other["token_ids"][row, column] = free[(free.index(int(names[column])) + 1) % len(free)]
        other["token_values"][row, columns] *= 1.37
    return other


@pytest.mark.parametrize("part", [name for name in PARTS if name not in ("contrast", "pathway")])
@pytest.mark.parametrize(
    "encoder",
    [{}, {"context_len": 9}, {"norm": "token", "expression": "none"}],
    ids=["all", "context_len", "published"],
)
def test_the_name_and_value_of_a_hidden_gene_change_nothing_the_model_sees(part, encoder):
    objectives = new_objectives(part, encoder=encoder)
    calls = watch_encoder(objectives)
    batch = new_batch()

    before = objectives(batch, seeded())
    hidden = ~calls[0][1]["visible"] & (torch.arange(30) < batch["lengths"][:, None])
    after = objectives(swap_hidden(batch, hidden), seeded())

    assert hidden.sum() > 8
    for first, second in zip(calls[0][0], calls[1][0]):
        assert torch.equal(first, second)
    for first, second in zip(calls[0][2], calls[1][2]):
        assert torch.equal(first, second)
    # The question is another one, though: the loss asks for the new names.
    assert not torch.equal(before.loss, after.loss)


@pytest.mark.parametrize("part", ["mgm", "decode"])
def test_token_dropout_does_not_show_a_hidden_gene(part):
    objectives = new_objectives(part, encoder={"token_dropout": 0.3, "context_len": 9}).train()
    calls = watch_encoder(objectives)
    batch = new_batch()
    torch.manual_seed(5)
    objectives(batch, seeded())
    hidden = ~calls[0][1]["visible"] & (torch.arange(30) < batch["lengths"][:, None])
    torch.manual_seed(5)

    objectives(swap_hidden(batch, hidden), seeded())

    for first, second in zip(calls[0][2], calls[1][2]):
        assert torch.equal(first, second)


def test_kept_genes_are_seen_and_swapped_ones_are_not():
    objectives = new_objectives("mgm", keep_rate=0.3, swap_rate=0.3, mask_rate=0.6)
    calls = watch_encoder(objectives)
    batch = new_batch((30,) * 40)

    objectives(batch, seeded())

    (ids, _, _), shown, _ = calls[0]
    hidden = ~shown["visible"]
    kept = (hidden & (ids == batch["token_ids"])).sum() / hidden.sum()
    masked = (hidden & (ids == MASK)).sum() / hidden.sum()
    assert hidden.float().mean().item() == pytest.approx(0.6, abs=0.06)
    assert kept.item() == pytest.approx(0.3 + 0.3 / 40, abs=0.06)
    assert masked.item() == pytest.approx(0.4, abs=0.06)
    assert ids[hidden & (ids != MASK)].min() >= 2 and ids[hidden & (ids != MASK)].max() <= 41
    assert torch.equal(ids[~hidden], batch["token_ids"][~hidden])


def test_accuracy_leaves_out_what_could_be_copied():
    # All hidden genes are kept, but for a few: a head that copies its input is right about the kept ones alone.
    objectives = new_objectives("mgm", keep_rate=0.9, mask_rate=0.9, encoder={"n_layer": 0})
    with torch.no_grad():
        objectives.encoder.embeddings.weight.copy_(F.normalize(torch.randn(VOCAB, 8), dim=1))
        objectives.gene_head.from_hidden.weight.copy_(torch.eye(8))
        objectives.gene_head.from_context.weight.zero_()

    output = objectives(new_batch(), seeded())

    assert output.metrics["masked_accuracy"].item() == 0.0


def test_views_see_nothing_of_each_other():
    objectives = new_objectives("contrast").eval()
    calls = watch_encoder(objectives)
    batch = new_batch((30, 24, 12))
    objectives(batch, seeded())
    first = [set(row[:n].tolist()) for row, n in zip(calls[0][0][0][:3], calls[0][0][2][:3].tolist())]
    other = {name: x.clone() for name, x in batch.items()}
    for row, names in enumerate(first):
        for column in range(int(batch["lengths"][row])):
            gene = int(batch["token_ids"][row, column])
            if gene not in names:
                other["token_ids"][row, column] = 2 + (gene - 2 + 17) % 40
                other["token_values"][row, column] *= 1.37

    objectives(other, seeded())

    assert torch.equal(calls[0][2].cell[:3], calls[1][2].cell[:3])
    assert not torch.isclose(calls[0][2].cell[3:], calls[1][2].cell[3:]).all(dim=1).any()


def test_the_contrast_between_genes_reads_their_context():
    # The other genes of the cell change, those that are compared do not.
    objectives = new_objectives("pathway", mask_rate=0.0)
    batch = new_batch((20, 20))
    batch["token_ids"] = torch.arange(2, 42).view(2, 20)
    turned = batch | {
        "token_ids": torch.where(batch["token_ids"] % 2 == 0, batch["token_ids"], 43 - batch["token_ids"] + 1)
    }

    before, after = objectives(batch, seeded()), objectives(turned, seeded())

    assert turned["token_ids"].min() >= 2 and turned["token_ids"].max() <= 42
    assert not torch.isclose(before.loss, after.loss)


@pytest.mark.parametrize("combine", ["mean", "gate"])
@pytest.mark.parametrize("part", PARTS)
def test_every_weight_of_the_encoder_gets_a_gradient_from_each_part(part, combine):
    objectives = new_objectives(part, encoder={"combine": combine, "n_layer": 2})

    objectives(new_batch(), seeded()).loss.backward()

    missing = {name for name, p in objectives.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # Hidden states are compared before the last norm, which only the pooled cell has.
    assert missing == ({"encoder.norm_f.weight"} if part.startswith("pathway") else set())


@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_all_parameters_take_part_in_the_loss_so_that_processes_can_agree(part):
    objectives = new_objectives(part, **(ALL if part == "all" else {}))

    for lengths in ((30, 24), (1, 0), (0, 0)):
        objectives.zero_grad()
        objectives(new_batch(lengths), seeded()).loss.backward()
        assert [name for name, p in objectives.named_parameters() if p.grad is None] == []


def test_the_loss_is_the_weighted_sum_of_its_parts():
    output = new_objectives(mgm_weight=1.5, **ALL)(new_batch(), seeded())

    weights = {"mgm": 1.5} | {name.removesuffix("_weight"): weight for name, weight in ALL.items()}
    assert set(output.parts) == set(weights)
    assert output.loss.item() == pytest.approx(sum(weights[name] * part.item() for name, part in output.parts.items()))
    assert output.loss.requires_grad
    assert not any(metric.requires_grad for metric in output.metrics.values())


@pytest.mark.parametrize("part", [name for name in PARTS if name != "pathway of hidden genes"])
def test_a_part_alone_costs_one_pass_and_no_weights_of_others(part):
    objectives = new_objectives(part)
    calls = watch_encoder(objectives)

    output = objectives(new_batch(), seeded())

    heads = {"mgm": "gene_head", "spectral": "spectral_head", "decode": "decoder"}
    assert len(calls) == 1
    assert list(output.parts) == [part]
    assert {name.split(".")[0] for name, _ in objectives.named_parameters()} == {"encoder"} | (
        {heads[part]} if part in heads else set()
    )


def test_masked_modelling_by_hand():
    objectives = new_objectives("mgm", encoder={"context_len": 9})
    calls = watch_encoder(objectives)
    batch = new_batch()

    output = objectives(batch, seeded())

    _, shown, seen = calls[0]
    head, table = objectives.gene_head, objectives.encoder.embeddings.weight
    losses, right = [], []
    for row, column in (~shown["visible"]).nonzero().tolist():
        if column >= min(9, int(batch["lengths"][row])):
            continue  # the layers do not read that far
        scores = head(seen.hidden[row, column, None], seen.context[row, None], table)[0]
        gene = int(batch["token_ids"][row, column])
        losses.append(-scores.log_softmax(0)[gene])
        right.append(float(scores.argmax() == gene))
    assert output.parts["mgm"].item() == pytest.approx(torch.stack(losses).mean().item())
    assert output.metrics["masked_accuracy"].item() == pytest.approx(sum(right) / len(right))


def test_token_dropout_keeps_states_and_names_together():
    objectives = new_objectives("mgm", encoder={"token_dropout": 0.4, "context_len": 9}, max_masked=1000).train()
    calls = watch_encoder(objectives)
    batch = new_batch()
    torch.manual_seed(5)

    output = objectives(batch, seeded())

    (_, _, _), shown, seen = calls[0]
    head, losses = objectives.gene_head, []
    for row, column in seen.mask.nonzero().tolist():
        place = int(seen.positions[row, column])
        if not shown["visible"][row, place]:
            hidden, context = seen.hidden[row, column, None], seen.context[row, None]
            scores = head(hidden, context, objectives.encoder.embeddings.weight)[0]
            losses.append(-scores.log_softmax(0)[batch["token_ids"][row, place]])
    assert not torch.equal(seen.positions, torch.arange(9).expand(4, 9))
    assert output.parts["mgm"].item() == pytest.approx(torch.stack(losses).mean().item())


def test_a_sample_of_the_hidden_genes_keeps_the_expectation():
    full, few = (new_objectives("mgm", max_masked=most) for most in (1000, 3))
    batch = new_batch()
    calls = watch_encoder(few)

    few(batch, seeded(3))
    generator = torch.Generator()
    hidden = ~calls[0][1]["visible"] & (torch.arange(30) < batch["lengths"][:, None])
    expected = full(batch, seeded(3)).loss
    losses = []
    for seed in range(300):
        # The genes that are hidden stay the same; which of them are scored changes.
        generator.manual_seed(seed)
        drawn = few._take_genes(calls[0][2], batch["token_ids"], hidden, hidden, Draws(hidden.device, generator))
        scores = few.gene_head(drawn.hidden, drawn.context, few.encoder.embeddings.weight)
        assert len(drawn.genes) == 3
        losses.append(F.cross_entropy(scores, drawn.genes))
    losses = torch.stack(losses).detach()
    assert losses.mean().item() == pytest.approx(expected.item(), abs=5 * losses.std().item() / math.sqrt(300))


def test_spectral_prediction_by_hand():
    objectives = new_objectives("spectral", max_masked=1000)
    calls = watch_encoder(objectives)
    batch = new_batch()

    output = objectives(batch, seeded())

    torch.manual_seed(0)
    _, shown, seen = calls[0]
    head = objectives.spectral_head
    rows, columns = (~shown["visible"] & (torch.arange(30) < batch["lengths"][:, None])).nonzero(as_tuple=True)
    query = F.rms_norm(head.from_hidden(seen.hidden[rows, columns]) + head.from_context(seen.context[rows]), (8,))
    cosine = F.cosine_similarity(head.out(query), head.targets[batch["token_ids"][rows, columns]])
    assert output.parts["spectral"].item() == pytest.approx(1 - cosine.mean().item())
    assert output.metrics["spectral_cosine"].item() == pytest.approx(cosine.mean().item())


def test_spectral_targets_are_centred_and_leave_out_rows_of_zeros():
    table = torch.tensor([[0.0, 0.0], [3.0, 1.0], [1.0, 1.0], [2.0, 4.0]])
    torch.manual_seed(0)
    objectives = PretrainingObjectives(
        BiMambaEncoder(EncoderConfig(vocab_size=4, d_model=4, n_layer=0)),
        ObjectiveConfig(**PARTS["spectral"]),
        spectral=table,
    )
    head = objectives.spectral_head

    torch.testing.assert_close(head.targets[1:], F.normalize(table[1:] - torch.tensor([2.0, 2.0]), dim=1))
    nothing = head(torch.randn(2, 4), torch.randn(2, 4), torch.tensor([0, 0]))
    assert nothing.loss.item() == 0.0
    assert nothing.cosine.isnan()
    assert not any("targets" in name or "pathway" in name for name in objectives.state_dict())


def test_the_baseline_names_the_usual_gene_of_the_rank():
    batch = new_batch((4, 4))
    batch["token_ids"] = torch.tensor([[2, 3, 4, 5], [6, 3, 7, 5]])
    objectives = new_objectives("mgm", mask_rate=0.999999)
    objectives.rank_genes = torch.tensor([2, 9, 5])

    metrics = objectives(batch, seeded()).metrics

    # Right at rank 0 of the first cell, and at rank 3 of both, for which the last entry stands.
    assert metrics["baseline_accuracy"].item() == pytest.approx(3 / 8)


def test_a_generator_makes_the_draws_repeatable_and_leaves_the_global_stream_alone():
    objectives = new_objectives(**ALL)
    state = torch.random.get_rng_state()

    first, again, other = (objectives(new_batch(), seeded(seed)).loss for seed in (3, 3, 4))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_pads_and_the_order_of_cells_change_nothing_but_the_draws():
    # Without hidden genes and with every occurrence compared, no draw is left.
    objectives = new_objectives("pathway", mask_rate=0.0, max_anchors=1000)
    batch = new_batch()
    padded = {
        "token_ids": F.pad(batch["token_ids"], (0, 7), value=1).flip(0),
        "token_values": F.pad(batch["token_values"], (0, 7)).flip(0),
        "lengths": batch["lengths"].flip(0),
    }

    torch.testing.assert_close(objectives(padded).loss, objectives(batch).loss)


@pytest.mark.parametrize("lengths", [(0, 0), (1, 1), (1, 0, 30), (0,)], ids=str)
@pytest.mark.parametrize("part", [*PARTS, "all"])
def test_empty_cells_and_single_genes_give_finite_losses_and_gradients(part, lengths):
    objectives = new_objectives(part, dtype=torch.float32, **(ALL if part == "all" else {}))

    output = objectives(new_batch(lengths, dtype=torch.float32), seeded())
    output.loss.backward()

    assert output.loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objectives.parameters())


def test_with_nothing_hidden_there_is_nothing_to_name():
    output = new_objectives(mask_rate=1e-12, **ALL)(new_batch(), seeded())

    assert [output.parts[name].item() for name in ("mgm", "spectral", "decode")] == [0.0, 0.0, 0.0]
    assert output.metrics["masked_accuracy"].isnan()
    assert output.parts["contrast"] > 0 and output.parts["pathway"] > 0


def test_heads_start_from_the_frequency_of_the_genes():
    objectives = new_objectives(**ALL)
    frequency = torch.linspace(-9, -2, VOCAB)

    objectives.initialise_heads(frequency)

    table = objectives.encoder.embeddings.weight
    query = F.rms_norm(torch.randn(500, 8, dtype=torch.float64), (8,))
    for head in (objectives.gene_head, objectives.decoder):
        torch.testing.assert_close(head.bias.float(), frequency)
        spread = F.linear(head.scale.reshape(-1)[0] * query, table).std()
        assert spread.item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("fields", "tables", "message"),
    [
        ({"spectral_weight": 1.0}, {}, r"spectral_weight=1\.0 needs the spectral vectors .* Got spectral=None"),
        ({}, {"spectral": torch.zeros(5, 3)}, r"spectral must have a row for each of the 44 tokens\. Got 5"),
        (
            {},
            {"pathways": PathwayIndex(torch.zeros(9, dtype=torch.long), torch.zeros(1, 1, dtype=torch.uint8))},
            r"pathways must know each of the 44 tokens\. Got 9",
        ),
        ({"mgm_weight": 0.0}, {}, r"pathway_weight=0\.1 alone needs pathways\. Got pathways=None"),
    ],
)
def test_what_a_part_lacks_is_said(fields, tables, message):
    encoder = BiMambaEncoder(EncoderConfig(vocab_size=VOCAB, d_model=8, n_layer=0))

    with pytest.raises(ValueError, match=message):
        PretrainingObjectives(encoder, ObjectiveConfig(**fields), **tables)


def test_without_pathways_their_part_is_left_out():
    encoder = BiMambaEncoder(EncoderConfig(vocab_size=VOCAB, d_model=8, n_layer=0))

    assert set(PretrainingObjectives(encoder, ObjectiveConfig())(new_batch(dtype=torch.float32)).parts) == {"mgm"}
