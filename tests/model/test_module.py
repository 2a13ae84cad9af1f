"""The module: what is hidden cannot be read, and what can learn does."""

import io
import math

import pytest
import torch
from torch import Tensor

from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.nn import EncoderConfig, gene_log_frequency, gene_loss

VOCAB = 24
MASK = VOCAB - 1
LENGTHS = [9, 6, 4, 1]
OTHER_GENE = 21  # of no cell


def new_module(n_labels: int = 3, seed: int = 0, **config) -> GeneMambaModule:
    torch.manual_seed(seed)
    return GeneMambaModule(
        EncoderConfig(**{"vocab_size": VOCAB, "d_model": 8, "n_layer": 1, "d_state": 4, "headdim": 4} | config),
        n_labels,
    )


def new_batch(seed: int = 0) -> dict[str, Tensor]:
    """Cells of genes 2 to 19, none twice, with values of which each lies in a half-octave of its own."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.ones(len(LENGTHS), max(LENGTHS), dtype=torch.long)
    values = torch.zeros(ids.shape)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = torch.randperm(18, generator=generator)[:length] + 2
        values[row, :length] = torch.exp2((torch.randperm(16, generator=generator)[:length] - 7.5) / 2)
    return {
        "token_ids": ids,
        "token_values": values,
        "lengths": torch.tensor(LENGTHS),
        "labels": torch.tensor([0, 2, 1, 0]),
    }


def encode(
    module: GeneMambaModule, batch: dict[str, Tensor], mask_rate: float = 0.4, seed: int = 5
) -> dict[str, Tensor]:
    """Hide the same positions, and drop the same tokens, for a given seed."""
    torch.manual_seed(seed)
    return module.inference(batch["token_ids"], batch["token_values"], batch["lengths"], mask_rate)


def predict_genes(module: GeneMambaModule, outputs: dict[str, Tensor], table: Tensor | None = None) -> Tensor:
    rows, columns = outputs["is_hidden"].nonzero(as_tuple=True)
    table = module.encoder.embeddings.weight if table is None else table
    return module.gene_head(outputs["hidden"][rows, columns], outputs["context"][rows], table)


def hidden_in_input(module: GeneMambaModule, batch: dict[str, Tensor], **options) -> Tensor:
    """Which positions of the input are hidden, (b, l); genes of a cell are unique, which finds them."""
    outputs = encode(module, batch, **options)
    hidden = torch.zeros(batch["token_ids"].shape, dtype=torch.bool)
    for row in range(len(LENGTHS)):
        targets = outputs["targets"][row][outputs["is_hidden"][row]]
        hidden[row] = torch.isin(batch["token_ids"][row], targets)
    return hidden


# ------------------------------------------------- the target is not visible

ENCODERS = {
    "one layer": {},
    "bag of tokens": {"n_layer": 0},
    "two layers with a gate": {"n_layer": 2, "combine": "gate"},
    "a norm per token, no expression": {"norm": "token", "expression": "none"},
    "no expression": {"expression": "none"},
    "a short context": {"context_len": 5},
}


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["all tokens", "with token dropout"])
@pytest.mark.parametrize("name", ENCODERS)
def test_the_identity_of_a_hidden_gene_changes_nothing_but_the_target(name, dropout):
    module = new_module(token_dropout=dropout, **ENCODERS[name]).train()
    batch = new_batch()
    hidden = hidden_in_input(module, batch)
    changed = batch | {"token_ids": batch["token_ids"].masked_fill(hidden, OTHER_GENE)}

    before, after = encode(module, batch), encode(module, changed)

    assert hidden.sum() >= 3
    assert torch.equal(after["hidden"], before["hidden"])
    assert torch.equal(after["cell"], before["cell"])
    assert torch.equal(after["context"], before["context"])
    assert torch.equal(predict_genes(module, after), predict_genes(module, before))
    assert (after["targets"][after["is_hidden"]] == OTHER_GENE).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_the_identity_of_a_visible_gene_matters(name):
    module = new_module(**ENCODERS[name]).eval()
    batch = new_batch()
    hidden = hidden_in_input(module, batch)
    row = 0
    first_visible = int((~hidden[row]).nonzero()[0])
    ids = batch["token_ids"].clone()
    ids[row, first_visible] = OTHER_GENE

    before, after = encode(module, batch), encode(module, batch | {"token_ids": ids})

    assert not torch.equal(after["cell"][row], before["cell"][row])
    assert torch.equal(after["cell"][1:], before["cell"][1:])
    assert not torch.equal(predict_genes(module, after)[0], predict_genes(module, before)[0])


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["all tokens", "with token dropout"])
def test_no_gradient_reaches_the_row_of_a_hidden_gene_through_the_input(dropout):
    module = new_module(token_dropout=dropout).train()
    batch = new_batch()
    hidden = hidden_in_input(module, batch)
    outputs = encode(module, batch)
    table = module.encoder.embeddings.weight

    # The output layer is tied to the table: a detached copy leaves the input path alone.
    gene_loss(predict_genes(module, outputs, table.detach()), outputs["targets"][outputs["is_hidden"]]).backward()

    reached = set(table.grad.abs().sum(1).nonzero().flatten().tolist())
    visible = set(batch["token_ids"][~hidden & (batch["token_values"] > 0)].tolist())
    never_visible = set(batch["token_ids"][hidden].tolist()) - visible
    assert len(never_visible) >= 2
    assert not reached & never_visible
    assert MASK in reached
    assert reached <= visible | {MASK}


def test_a_cell_whose_genes_are_all_hidden_shows_none():
    outputs = encode(new_module().eval(), new_batch(), mask_rate=1 - 1e-9)

    assert outputs["is_hidden"].sum(1).tolist() == LENGTHS
    assert not outputs["cell"].any()
    assert not outputs["context"].any()


# ------------------------------------------------------------------ inference


@pytest.mark.parametrize("context_len", [None, 5], ids=["whole cells", "a short context"])
@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["all tokens", "with token dropout"])
def test_hidden_states_stand_beside_their_targets(dropout, context_len):
    # Without layers the hidden state of a token is its embedding times the weight of its value.
    module = new_module(n_layer=0, expression="bins", token_dropout=dropout, context_len=context_len).train()
    batch = new_batch()
    table = module.encoder.embeddings.weight
    for seed in range(5):
        outputs = encode(module, batch, seed=seed)
        for row, length in enumerate(LENGTHS):
            value_of = dict(zip(batch["token_ids"][row, :length].tolist(), batch["token_values"][row].tolist()))
            for state, target, is_hidden in zip(*(outputs[name][row] for name in ("hidden", "targets", "is_hidden"))):
                if not state.any():  # a pad or a token left out
                    assert not is_hidden
                    continue
                token = MASK if is_hidden else int(target)
                weight = module.encoder.expression(torch.tensor([[value_of[int(target)]]]))
                torch.testing.assert_close(state, table[token] * weight[0, 0])


def test_token_dropout_leaves_no_hidden_gene_out():
    module, batch = new_module(token_dropout=0.5).train(), new_batch()
    n_read = []
    for seed in range(8):
        dropped = encode(module, batch, mask_rate=0.5, seed=seed)
        whole = encode(new_module().train(), batch, mask_rate=0.5, seed=seed)
        assert dropped["is_hidden"].sum(1).tolist() == whole["is_hidden"].sum(1).tolist()
        n_read.append(int(dropped["hidden"].any(dim=2).sum()))

    assert max(n_read) <= sum(LENGTHS)
    assert min(n_read) < sum(LENGTHS)


def test_genes_beyond_the_context_are_not_hidden():
    outputs = encode(new_module(context_len=3).eval(), new_batch(), mask_rate=1 - 1e-9)

    assert outputs["is_hidden"].tolist() == [[True] * 3, [True] * 3, [True] * 3, [True, False, False]]


def test_without_masking_nothing_is_hidden_and_no_random_number_is_drawn():
    module, batch = new_module().eval(), new_batch()
    state = torch.random.get_rng_state()

    outputs = module.inference(batch["token_ids"], batch["token_values"], batch["lengths"])

    assert torch.equal(torch.random.get_rng_state(), state)
    assert not outputs["is_hidden"].any()
    assert torch.equal(outputs["targets"], batch["token_ids"])
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "cell": (4, 8),
        "context": (4, 8),
        "hidden": (4, 9, 8),
        "targets": (4, 9),
        "is_hidden": (4, 9),
    }


def test_the_mask_token_is_the_last():
    assert new_module().mask_id == VOCAB - 1


# ----------------------------------------------------------------------- loss


def run(module: GeneMambaModule, batch: dict[str, Tensor], mask_rate: float = 0.4, **weights):
    torch.manual_seed(0)
    return module(batch, inference_kwargs={"mask_rate": mask_rate}, loss_kwargs=weights)[2]


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({}, id="mean"),
        pytest.param({"combine": "sum", "expression": "none"}, id="sum without expression"),
        pytest.param({"combine": "gate"}, id="gate"),
        pytest.param({"combine": "concat", "shared_combiner": True}, id="shared concat"),
        pytest.param({"norm": "token", "pre_norm": False, "residual_init": 1.0}, id="as published"),
        pytest.param({"context_len": 6, "token_dropout": 0.2}, id="as trained by default"),
    ],
)
def test_every_parameter_gets_a_gradient_from_one_loss(config):
    module = new_module(**config).train()

    run(module, new_batch()).loss.backward()

    silent = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_the_loss_is_the_weighted_sum_of_its_parts():
    output = run(new_module(), new_batch(), mgm_weight=0.3, classification_weight=2.0)

    parts = output.extra_metrics
    assert set(parts) == {"mgm_loss", "classification_loss", "accuracy"}
    assert output.loss.item() == pytest.approx(0.3 * parts["mgm_loss"].item() + 2 * parts["classification_loss"].item())
    assert output.n_obs_minibatch == 4


@pytest.mark.parametrize(
    ("n_labels", "weights", "expected"),
    [
        pytest.param(0, {}, {"mgm_loss"}, id="no labels registered"),
        pytest.param(3, {"classification_weight": 0.0}, {"mgm_loss"}, id="no classification"),
        pytest.param(3, {"mgm_weight": 0.0}, {"classification_loss", "accuracy"}, id="no masked genes"),
    ],
)
def test_an_objective_that_does_not_apply_has_no_part(n_labels, weights, expected):
    output = run(new_module(n_labels), new_batch(), **weights)

    assert set(output.extra_metrics) == expected
    assert output.loss.item() == next(iter(output.extra_metrics.values())).item() > 0


def test_the_gene_loss_is_that_of_the_hidden_genes():
    module, batch = new_module(0).eval(), new_batch()
    outputs = encode(module, batch, seed=0)
    logits = predict_genes(module, outputs)
    targets = outputs["targets"][outputs["is_hidden"]]
    expected = -sum(row.log_softmax(0)[target].item() for row, target in zip(logits, targets)) / len(targets)

    assert run(module, batch).loss.item() == pytest.approx(expected, rel=1e-5)


def test_at_most_so_many_hidden_genes_enter_the_softmax():
    module = new_module(0)
    sizes = []
    module.gene_head.register_forward_hook(lambda head, inputs, output: sizes.append(len(output)))

    for limit in (2, 1024):
        run(module, new_batch(), mask_rate=1 - 1e-9, max_masked=limit)

    assert sizes == [2, sum(LENGTHS)]


def test_cells_without_genes_give_a_finite_loss_and_gradient():
    module = new_module()
    batch = {
        "token_ids": torch.ones(2, 1, dtype=torch.long),
        "token_values": torch.zeros(2, 1),
        "lengths": torch.zeros(2, dtype=torch.long),
        "labels": torch.tensor([3, -1]),
    }

    output = run(module, batch)
    output.loss.backward()

    assert output.loss.item() == 0.0
    assert math.isnan(output.extra_metrics["accuracy"].item())
    assert all(not p.grad.any() for p in module.parameters() if p.grad is not None)


def test_unlabelled_cells_count_for_the_genes_alone():
    module, batch = new_module(), new_batch()
    batch["labels"] = torch.tensor([3, 3, 3, 3])

    output = run(module, batch)

    assert output.extra_metrics["classification_loss"].item() == 0.0
    assert output.loss.item() == output.extra_metrics["mgm_loss"].item() > 0


def test_the_accuracy_is_that_of_the_labelled_cells():
    module, batch = new_module(), new_batch()
    # The bias alone decides: every cell is of type 2.
    module.set_gene_scores(
        torch.zeros(VOCAB, 3), torch.zeros(VOCAB, 3), torch.tensor([0.0, 0.0, 5.0]), torch.ones(VOCAB)
    )
    batch["labels"] = torch.tensor([2, 0, 3, 2])

    assert run(module, batch).extra_metrics["accuracy"].item() == pytest.approx(2 / 3)


def test_label_smoothing_reaches_the_loss():
    losses = [run(new_module(), new_batch(), mgm_weight=0.0, label_smoothing=s).loss.item() for s in (0.0, 0.2)]
    module, batch = new_module(), new_batch()
    module.set_gene_scores(
        torch.zeros(VOCAB, 3), torch.zeros(VOCAB, 3), torch.tensor([0.0, 0.0, 5.0]), torch.ones(VOCAB)
    )
    smoothed = [run(module, batch, mgm_weight=0.0, label_smoothing=s).loss.item() for s in (0.0, 0.2)]

    # Even scores are no surer with smoothing; sure and wrong ones are punished less.
    assert losses[1] == pytest.approx(losses[0])
    assert smoothed[1] < smoothed[0]


# ------------------------------------------------- gene scores, genes, extras


def test_given_gene_scores_take_the_place_of_those_of_the_head():
    module, batch = new_module(), new_batch()
    module.set_gene_scores(torch.randn(VOCAB, 3), torch.randn(VOCAB, 3), torch.randn(3), torch.rand(VOCAB) + 0.5)
    given = torch.arange(12.0).reshape(4, 3)

    _, own = module(batch, compute_loss=False)
    _, others = module(batch | {"gene_scores": given}, compute_loss=False)

    head = module.cell_type_head
    assert torch.equal(own["cell_type_logits"], head.score_genes(batch["token_ids"], batch["token_values"]))
    assert torch.equal(others["cell_type_logits"], given)


def test_without_labels_there_are_no_logits():
    module, batch = new_module(n_labels=0), new_batch()

    assert module.cell_type_head is None
    assert module(batch, compute_loss=False)[1] == {}


def test_markers_and_programs_are_buffers_that_are_saved():
    module, other = new_module(), new_module(seed=1)
    markers, programs = torch.randn(2, VOCAB, 3)
    bias, medians = torch.randn(3), torch.rand(VOCAB) + 0.5
    module.set_gene_scores(markers, programs, bias, medians)
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    stream.seek(0)

    other.load_state_dict(torch.load(stream, weights_only=True))

    assert torch.equal(other.cell_type_head.markers, markers)
    assert torch.equal(other.cell_type_head.programs, programs)
    assert torch.equal(other.cell_type_head.marker_bias, bias)
    assert torch.equal(other.cell_type_head.medians, medians)
    assert {name for name, _ in module.cell_type_head.named_parameters()} == {"linear.weight", "linear.bias"}


def test_known_genes_start_from_the_table_and_others_at_random():
    module = new_module()
    before = module.encoder.embeddings.weight.detach().clone()
    table = torch.zeros(VOCAB, 8)
    table[[2, 5]] = torch.randn(2, 8)
    log_frequency = torch.randn(VOCAB)

    module.initialise_genes(table, log_frequency)

    after = module.encoder.embeddings.weight
    known = torch.zeros(VOCAB, dtype=torch.bool)
    known[[2, 5]] = True
    assert torch.equal(after[known], table[known])
    assert torch.equal(after[~known], before[~known])
    assert torch.equal(module.gene_head.bias, log_frequency)
    assert after.requires_grad and after.grad_fn is None


def test_log_frequencies_of_six_tokens():
    # The counts of [UNK] and of pads do not count; every token has one pseudo-count.
    logs = gene_log_frequency(torch.tensor([50.0, 1000.0, 3.0, 0.0, 0.0, 0.0]))

    expected = [math.log(n / 9) for n in (1, 1, 4, 1, 1, 1)]
    torch.testing.assert_close(logs, torch.tensor(expected))
    assert logs.exp().sum().item() == pytest.approx(1.0)


def test_no_cells_are_sampled():
    with pytest.raises(NotImplementedError, match="encodes cells and defines no distribution"):
        new_module().sample()
