"""The training plan: schedule, groups, averaging, and what a step does."""

import math
import signal

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model.fitting._plan import (
    GeneMambaPlan,
    PlanConfig,
    default_max_epochs,
    default_train_size,
    interruptible,
)
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.training._optimiser import AveragedWeights, WarmupCosine, parameter_groups

VOCAB = 12


def new_module(**config) -> GeneMambaModule:
    torch.manual_seed(0)
    return GeneMambaModule(EncoderConfig(vocab_size=VOCAB, d_model=8, n_layer=1, d_state=4, headdim=4, **config), 2)


def new_batch(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "token_ids": torch.stack([torch.randperm(8, generator=generator)[:6] + 2 for _ in range(4)]),
        "token_values": torch.rand(4, 6, generator=generator) + 0.5,
        "lengths": torch.full((4,), 6),
        "labels": torch.tensor([0, 1, 0, 1]),
    }


class Recorder(pl.Callback):
    """The weights and the learning rates after each step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.rates: list[list[float]] = []

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        self.weights.append({name: p.detach().clone() for name, p in pl_module.module.named_parameters()})
        self.rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])


def fit(plan: GeneMambaPlan, tmp_path, *, steps: int = 3, val=None) -> tuple[pl.Trainer, Recorder]:
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[recorder],
        default_root_dir=tmp_path,
    )
    batches = DataLoader([new_batch(i) for i in range(steps)], batch_size=None)
    trainer.fit(plan, batches, val)
    return trainer, recorder


# ------------------------------------------------------------------- schedule


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        pytest.param(0, 0.5, id="first step, half warm"),
        pytest.param(1, 1.0, id="end of the warm-up"),
        pytest.param(2, 1.0, id="start of the cosine"),
        pytest.param(4, 0.5 * (1 + math.cos(math.pi / 4)), id="a quarter of the cosine"),
        pytest.param(6, 0.5, id="half of the cosine"),
        pytest.param(10, 0.0, id="end"),
        pytest.param(12, 0.0, id="beyond the end"),
    ],
)
def test_the_learning_rate_rises_and_falls(step, factor):
    assert WarmupCosine(n_steps=10, warmup=0.2)(step) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        pytest.param(WarmupCosine(4, 0.0), [1.0, 1.0, 0.75, 0.25, 0.0], id="no warm-up"),
        pytest.param(WarmupCosine(1, 0.1), [1.0, 1.0, 0.0], id="one step"),
        pytest.param(WarmupCosine(2, 0.99), [0.5, 1.0, 1.0, 0.0], id="nothing but warm-up"),
    ],
)
def test_short_schedules(schedule, factors):
    assert [schedule(step) for step in range(len(factors))] == pytest.approx(factors, abs=1e-12)


@pytest.mark.parametrize(
    ("n_train", "epochs"),
    [(0, 20), (1, 20), (500, 20), (501, 20), (600, 17), (1000, 10), (2499, 5), (2500, 4), (10**6, 4)],
)
def test_passes_by_the_number_of_training_cells(n_train, epochs):
    assert default_max_epochs(n_train) == epochs


@pytest.mark.parametrize(("n_train", "epochs"), [(0, 20), (100, 20), (441, 7), (1000, 3), (1500, 2), (10**6, 2)])
def test_fewer_passes_where_types_are_learned(n_train, epochs):
    assert default_max_epochs(n_train, learns_types=True) == epochs


# --------------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        pytest.param({"lr": 0.0}, r"lr must be positive\. Got 0\.0\.", id="no learning rate"),
        pytest.param({"lr": float("nan")}, r"lr must be finite\. Got nan\.", id="lr not a number"),
        pytest.param({"layer_lr": float("inf")}, r"layer_lr must be finite\. Got inf\. Its default", id="infinite lr"),
        pytest.param({"gradient_clip": -1.0}, r"gradient_clip must be positive\. Got -1\.0\.", id="negative clip"),
        pytest.param({"max_masked": 0}, r"max_masked must be at least 1\. Got 0\.", id="no masked gene enters"),
        pytest.param({"table_lr": -1e-3}, r"table_lr must not be negative\. Got -0\.001\.", id="negative table_lr"),
        pytest.param({"weight_decay": -0.1}, r"weight_decay must not be negative", id="negative decay"),
        pytest.param({"mgm_weight": -1.0}, r"mgm_weight must not be negative", id="negative gene loss"),
        pytest.param({"classification_weight": -1.0}, r"classification_weight must not be", id="negative type loss"),
        pytest.param({"warmup": 1.0}, r"warmup must lie in \[0, 1\)\. Got 1\.0\.", id="warm-up throughout"),
        pytest.param({"ema_decay": 1.0}, r"ema_decay must lie in \[0, 1\)", id="an average that never moves"),
        pytest.param({"mask_rate": 1.0}, r"mask_rate must lie in \[0, 1\)", id="all genes hidden"),
        pytest.param({"label_smoothing": -0.1}, r"label_smoothing must lie in \[0, 1\)", id="negative smoothing"),
        pytest.param(
            {"mgm_weight": 0.0, "classification_weight": 0.0}, r"both 0: nothing would be learned", id="no objective"
        ),
    ],
)
def test_impossible_choices_are_refused(choices, message):
    with pytest.raises(ValueError, match=message):
        PlanConfig(**choices)


def test_choices_of_the_user_come_before_those_of_the_model():
    assert PlanConfig.of({"lr": 0.1}, table_lr=0.0) == PlanConfig(lr=0.1, table_lr=0.0)
    assert PlanConfig.of({"table_lr": 0.2}, table_lr=0.0) == PlanConfig(table_lr=0.2)
    assert PlanConfig.of(None) == PlanConfig()


def test_none_leaves_the_choice_to_the_model():
    assert PlanConfig.of({"table_lr": None}, table_lr=0.0) == PlanConfig(table_lr=0.0)


def test_an_unknown_choice_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"Got \['learning_rate'\]\. Choose among \['lr', 'layer_lr', 'table_lr'"):
        PlanConfig.of({"learning_rate": 0.1})


# --------------------------------------------------------------------- groups


def named_groups(module: GeneMambaModule, config: PlanConfig) -> list[list[str]]:
    names = {id(p): name for name, p in module.named_parameters()}
    return [[names[id(p)] for p in group["params"]] for group in groups_of(module, config)]


def groups_of(module: GeneMambaModule, config: PlanConfig) -> list[dict]:
    plan = GeneMambaPlan(module, config)
    return parameter_groups(plan.named_parameters(), plan.learning_rates(), plan.decayed(), config.weight_decay)


@pytest.mark.parametrize("combine", ["mean", "gate"])
def test_each_parameter_is_in_one_group(combine):
    module = new_module(combine=combine, expression="bins")

    names = sum(named_groups(module, PlanConfig()), [])

    assert sorted(names) == sorted(name for name, _ in module.named_parameters())


def test_matrices_decay_and_norms_biases_and_scan_do_not():
    module, config = new_module(), PlanConfig(lr=0.01, layer_lr=0.002, table_lr=0.005, weight_decay=0.07)
    groups = groups_of(module, config)
    of_rates = {
        (group["lr"], group["weight_decay"]): names for group, names in zip(groups, named_groups(module, config))
    }

    assert of_rates[0.005, 0.07] == ["encoder.embeddings.weight"]
    assert of_rates[0.002, 0.07] == [
        "encoder.layers.0.mixer.in_proj.weight",
        "encoder.layers.0.mixer.out_proj.weight",
    ]
    assert of_rates[0.01, 0.07] == [
        "gene_head.from_hidden.weight",
        "gene_head.from_context.weight",
        "cell_type_head.linear.weight",
    ]
    assert {"encoder.layers.0.mixer.A_log", "encoder.layers.0.mixer.D"} <= set(of_rates[0.002, 0.0])
    assert "encoder.norm_f.weight" in of_rates[0.01, 0.0]
    assert len(groups) == 5


@pytest.mark.parametrize(("table_lr", "rate"), [(None, 0.01), (0.002, 0.002)], ids=["that of the rest", "its own"])
def test_the_table_has_the_rate(table_lr, rate):
    groups = groups_of(new_module(), PlanConfig(lr=0.01, table_lr=table_lr))

    assert groups[0]["lr"] == rate


def test_a_table_that_does_not_learn_is_in_no_group():
    module = new_module()

    names = sum(named_groups(module, PlanConfig(table_lr=0.0)), [])

    expected = sorted(name for name, _ in module.named_parameters() if name != "encoder.embeddings.weight")
    assert sorted(names) == expected


# ---------------------------------------------------------------------- steps


@pytest.mark.parametrize(("mgm_weight", "hides"), [(0.1, True), (0.0, False)], ids=["on", "off"])
def test_genes_are_hidden_only_where_they_are_predicted(mgm_weight, hides):
    plan = GeneMambaPlan(new_module(), PlanConfig(mgm_weight=mgm_weight, mask_rate=0.9))
    state = torch.random.get_rng_state()

    parts = plan(new_batch()).extra_metrics

    assert ("mgm_loss" in parts) is hides
    assert torch.equal(torch.random.get_rng_state(), state) is not hides


def test_the_choices_reach_the_loss():
    module, batch = new_module(), new_batch()
    config = PlanConfig(mgm_weight=0.25, classification_weight=3.0, mask_rate=0.5)

    output = GeneMambaPlan(module, config)(batch)

    parts = output.extra_metrics
    assert output.loss.item() == pytest.approx(
        0.25 * parts["mgm_loss"].item() + 3 * parts["classification_loss"].item()
    )


def test_validation_hides_the_same_genes_each_time_and_leaves_the_stream_alone():
    plan = GeneMambaPlan(new_module(), PlanConfig())
    logged = []
    plan._log = lambda output, stage: logged.append((stage, output.loss.item()))
    state = torch.random.get_rng_state()

    for _ in range(2):
        plan.validation_step(new_batch(), 0)
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.rand(3)  # training goes on
        state = torch.random.get_rng_state()
    plan.validation_step(new_batch(), 1)

    assert logged[0] == logged[1] != logged[2]
    assert logged[0][0] == "validation"


def test_a_fit_follows_the_schedule_and_logs_the_parts(tmp_path):
    plan = GeneMambaPlan(new_module(), PlanConfig(lr=0.01, layer_lr=0.01, table_lr=0.004, warmup=0.5, mask_rate=0.5))

    trainer, recorder = fit(plan, tmp_path, steps=4, val=DataLoader([new_batch(9)], batch_size=None))

    # The rates that the next step will use: 2 steps of warm-up, then half a cosine.
    factors = [1.0, 1.0, 0.5, 0.0]
    # Groups: table, layers and the rest, the latter two with and without decay.
    assert recorder.rates == [pytest.approx([0.004 * f, *[0.01 * f] * 4], abs=1e-12) for f in factors]
    names = ["loss", "mgm_loss", "classification_loss", "accuracy"]
    assert set(trainer.callback_metrics) == {f"{stage}_{name}" for stage in ("train", "validation") for name in names}


def test_parts_that_are_not_numbers_are_not_logged(tmp_path):
    plan = GeneMambaPlan(new_module(), PlanConfig())
    unlabelled = new_batch() | {"labels": torch.full((4,), 2)}

    trainer, _ = fit(plan, tmp_path, steps=1, val=DataLoader([unlabelled], batch_size=None))

    assert "validation_accuracy" not in trainer.callback_metrics
    assert trainer.callback_metrics["validation_classification_loss"].item() == 0.0


def test_the_weights_are_averaged(tmp_path):
    plan = GeneMambaPlan(new_module(), PlanConfig(ema_decay=0.75))

    _, recorder = fit(plan, tmp_path, steps=3)

    for name, kept in plan.module.named_parameters():
        average = recorder.weights[0][name]
        for weights in recorder.weights[1:]:
            average = 0.75 * average + 0.25 * weights[name]
        torch.testing.assert_close(kept.detach(), average)


def test_without_averaging_the_last_weights_are_kept(tmp_path):
    plan = GeneMambaPlan(new_module(), PlanConfig(ema_decay=0.0))

    _, recorder = fit(plan, tmp_path, steps=2)

    for name, kept in plan.module.named_parameters():
        assert torch.equal(kept, recorder.weights[-1][name])


@pytest.mark.parametrize(("decay", "kinds"), [(0.9, [AveragedWeights]), (0.0, [])], ids=["on", "off"])
def test_the_callback_of_the_averaging(decay, kinds):
    callbacks = GeneMambaPlan(new_module(), PlanConfig(ema_decay=decay)).configure_callbacks()

    assert [type(callback) for callback in callbacks] == kinds


@pytest.mark.parametrize("table_lr", [0.0, 0.01], ids=["fixed", "learned"])
def test_the_table_learns_only_where_it_has_a_rate(table_lr, tmp_path):
    module = new_module()
    table = module.encoder.embeddings.weight
    before = table.detach().clone()

    fit(GeneMambaPlan(module, PlanConfig(table_lr=table_lr, mask_rate=0.5)), tmp_path, steps=2)

    # The average of the weights rounds the last digit, also of what stays.
    moved = (table - before).abs().max().item()
    assert moved > 1e-3 if table_lr else moved < 1e-6
    assert table.requires_grad is (table_lr > 0)


@pytest.mark.parametrize(
    ("labels", "n_labels", "expected"),
    [
        (None, 0, 0.9),
        ([0] * 5 + [1] * 5, 2, 0.9),
        ([0] * 50 + [1] * 4, 2, 1.0),
        ([0] * 5 + [1] * 5 + [2] * 3, 2, 0.9),
        ([0] * 50, 2, 0.9),
    ],
    ids=["no labels", "five of each", "four of one", "unlabelled cells", "none of one"],
)
def test_a_type_with_few_cells_spares_none_for_validation(labels, n_labels, expected):
    assert default_train_size(None if labels is None else np.array(labels), n_labels) == expected


def test_markers_and_programs_do_not_learn(tmp_path):
    module = new_module()
    markers, programs = torch.randn(2, VOCAB, 2)
    module.set_gene_scores(markers, programs, torch.zeros(2), torch.ones(VOCAB))

    fit(GeneMambaPlan(module, PlanConfig()), tmp_path, steps=2)

    assert torch.equal(module.cell_type_head.markers, markers)
    assert torch.equal(module.cell_type_head.programs, programs)


def test_the_norm_of_the_gradient_is_clipped(tmp_path):
    norms = []

    class Measured(GeneMambaPlan):
        def configure_gradient_clipping(self, optimizer, *args, **kwargs):
            for clip in (lambda: None, lambda: super(Measured, self).configure_gradient_clipping(optimizer)):
                clip()
                gradients = [p.grad.flatten() for p in self.module.parameters() if p.grad is not None]
                norms.append(torch.cat(gradients).norm().item())

    fit(Measured(new_module(), PlanConfig(gradient_clip=1e-3)), tmp_path, steps=1)

    assert norms[0] > 1e-3
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)


# ------------------------------------------------------------------ interrupt


def test_an_interrupt_of_lightning_is_an_interrupt_again():
    handler = signal.getsignal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="The training was interrupted"), interruptible():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise SystemExit(1)  # noqa: B904 - as Lightning does

    assert signal.getsignal(signal.SIGINT) == handler


def test_any_other_exit_stays_an_exit():
    with pytest.raises(SystemExit, match="3"), interruptible():
        raise SystemExit(3)
