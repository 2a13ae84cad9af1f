"""Pretraining: what is saved is all there is, and several processes learn what one learns."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors.torch import load_file

from genemamba_sc import EncoderConfig, GeneVocabulary, PathwaySet, read_pretrained
from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc.corpus import TokenCorpus, build_corpus
from genemamba_sc.nn import BiMambaEncoder, ObjectiveConfig, PretrainingObjectives
from genemamba_sc.pretraining import _run as run_module
from genemamba_sc.pretraining._config import RunConfig, RunReport, encoder_of_size
from genemamba_sc.pretraining._plan import PretrainingConfig, PretrainingPlan, recompute_activations
from genemamba_sc.pretraining._run import pretrain
from genemamba_sc.pretraining._settings import check_state
from genemamba_sc.pretraining._start import start_from
from genemamba_sc.pretraining._state import STATE_FILE, RunState, read_state

N_STEPS = 8
Run = Callable[..., RunReport]


@pytest.fixture(scope="module")
def corpus_folder(make_cells: Callable[..., AnnData], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_cells(90).write_h5ad(folder / "cells.h5ad")
    build_corpus([folder / "cells.h5ad"], folder / "corpus", vocabulary=GeneVocabulary.from_anndata(make_cells()))
    return folder / "corpus"


@pytest.fixture(scope="module")
def corpus(corpus_folder: Path) -> TokenCorpus:
    return TokenCorpus.open(corpus_folder)


def tiny(corpus: TokenCorpus) -> EncoderConfig:
    return EncoderConfig(vocab_size=corpus.vocabulary.size, d_model=16, n_layer=2, headdim=16, token_dropout=0.1)


@pytest.fixture
def run(corpus: TokenCorpus) -> Run:
    """Run a tiny training; a few passes over the cells, two batches per step, weights averaged, some cells held out."""

    def start(
        out: Path | str,
        *,
        steps: int = N_STEPS,
        seed: int = 0,
        resume: str = "auto",
        pathways: PathwayIndex | None = None,
        **settings: Any,
    ) -> RunReport:
        values: dict[str, Any] = {
            "token_budget": 400,
            "accumulate": 2,
            "n_validation": 10,
            "validate_every": 3,
            "save_every": 1,
            "log_every": 1,
            "accelerator": "cpu",
        }
        optimisation = PretrainingConfig(n_steps=steps, ema_decay=settings.pop("ema", 0.9), seed=seed)
        return pretrain(
            corpus,
            out,
            tiny(corpus),
            settings.pop("objectives", ObjectiveConfig(contrast_weight=0.3)),
            optimisation,
            RunConfig(**{**values, **settings}),
            pathways=pathways,
            resume=resume,
        )

    return start


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def logged(out: Path) -> list[dict[str, str]]:
    import csv

    lines: list[dict[str, str]] = []
    for version in sorted((Path(f"{out}.run") / "logs").iterdir()):
        with (version / "metrics.csv").open() as stream:
            lines += list(csv.DictReader(stream))
    return lines


def test_a_run_writes_weights_that_depend_on_the_seed_alone(run: Run, tmp_path: Path):
    before = torch.get_rng_state()
    assert run(tmp_path / "one") == RunReport(n_steps=N_STEPS, finished=True, is_main=True)
    assert torch.equal(before, torch.get_rng_state())  # nobody's random numbers are touched
    torch.rand(3)
    run(tmp_path / "two")
    run(tmp_path / "other", seed=1)
    assert same(tmp_path / "one", tmp_path / "two")
    assert not same(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("settings", [{}, {"ema": 0.0, "accumulate": 1, "save_every": 3}], ids=["averaged", "plain"])
@pytest.mark.parametrize("broken_at", [1, 7, 10, 15])
def test_a_run_that_broke_goes_on_to_the_same_weights(
    broken_at: int, settings: dict[str, Any], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Break in the middle of a batch, also between the two batches of a step and in a later pass over the cells."""
    settings = {"steps": 16, **settings} if settings else settings
    run(tmp_path / "whole", **settings)
    step = PretrainingPlan.training_step

    def breaking(plan: PretrainingPlan, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if batch_idx == broken_at:
            raise MemoryError("the machine is gone")
        return step(plan, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainingPlan, "training_step", breaking)
        with pytest.raises(MemoryError, match="the machine is gone"):
            run(tmp_path / "broken", **settings)
    assert not (tmp_path / "broken").exists()
    torch.rand(5)
    assert run(tmp_path / "broken", **settings).finished
    assert same(tmp_path / "whole", tmp_path / "broken")


def test_a_run_that_was_killed_before_its_weights_were_written_writes_them(run: Run, tmp_path: Path):
    run(tmp_path / "whole")
    Path(f"{tmp_path / 'whole'}.run").rename(f"{tmp_path / 'late'}.run")
    assert run(tmp_path / "late") == RunReport(n_steps=N_STEPS, finished=True, is_main=True)
    assert same(tmp_path / "whole", tmp_path / "late")


def test_sigterm_saves_the_state_ends_the_run_and_the_next_call_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(tmp_path / "whole")
    step, handler = PretrainingPlan.training_step, signal.getsignal(signal.SIGTERM)

    def told(plan: PretrainingPlan, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if batch_idx == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(plan, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PretrainingPlan, "training_step", told)
        assert run(tmp_path / "told", save_every=100) == RunReport(n_steps=3, finished=False, is_main=True)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert not (tmp_path / "told").exists()
    assert run(tmp_path / "told", save_every=100).finished
    assert same(tmp_path / "whole", tmp_path / "told")


def sending(monkeypatch: pytest.MonkeyPatch, number: int, at: int, times: int = 1) -> None:
    """Send this process a signal in the batch of a number."""
    step = PretrainingPlan.training_step

    def told(plan: PretrainingPlan, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if batch_idx == at:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return step(plan, batch, batch_idx)

    monkeypatch.setattr(PretrainingPlan, "training_step", told)


def test_ctrl_c_saves_the_state_and_the_next_call_goes_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        sending(patch, signal.SIGINT, at=4)
        with pytest.raises(KeyboardInterrupt, match=r"told\.run: stopped after step 3 of 8, state saved\. The same"):
            run(tmp_path / "told", save_every=100)
    assert signal.getsignal(signal.SIGINT) == handler
    assert run(tmp_path / "told", save_every=100).finished
    assert same(tmp_path / "whole", tmp_path / "told")


def test_a_second_ctrl_c_does_not_wait_for_the_step(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        sending(patch, signal.SIGINT, at=4, times=2)
        with pytest.raises(KeyboardInterrupt, match="^$"):
            run(tmp_path / "told", save_every=2)
    assert signal.getsignal(signal.SIGINT) == handler
    assert read_state(tmp_path / "told.run" / STATE_FILE)["global_step"] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_before_the_first_step_or_while_weights_are_written_ends_nothing_by_force(
    number: signal.Signals, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def told(of: Any, name: str) -> None:
        function = getattr(of, name)

        def with_signal(*args: Any, **kwargs: Any) -> Any:
            os.kill(os.getpid(), number)
            return function(*args, **kwargs)

        patch.setattr(of, name, with_signal)

    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        told(run_module, "start_from")
        assert run(tmp_path / "told", steps=2) == RunReport(0, finished=False, is_main=True)
    with monkeypatch.context() as patch:
        told(TokenCorpus, "cell_hashes")
        assert run(tmp_path / "told", steps=2).finished
    assert signal.getsignal(number) == handler
    assert read_pretrained(tmp_path / "told").manifest["steps"] == 2


def test_weights_are_those_of_the_state_that_was_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder of the run holds an earlier state, and the named one is finished."""
    run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        sending(patch, signal.SIGTERM, at=4)
        assert not run(tmp_path / "half").finished
    named = str(tmp_path / "whole.run" / STATE_FILE)
    assert run(tmp_path / "half", resume=named) == RunReport(N_STEPS, finished=True, is_main=True)
    assert same(tmp_path / "whole", tmp_path / "half")


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"seed": 5}, "optimisation"),
        ({"steps": 1}, "optimisation"),
        ({"n_validation": 0}, "n_validation"),
        ({"objectives": ObjectiveConfig()}, "objectives"),
    ],
)
@pytest.mark.parametrize("noted", ["in the state", "beside it", "nowhere"])
def test_a_state_of_other_settings_is_refused(
    run: Run, settings: dict[str, Any], changed: str, noted: str, tmp_path: Path
):
    run(tmp_path / "one", steps=2)
    folder, told = tmp_path / "one.run", rf"is the state of a run with other settings \({changed} changed\)\. Give the"
    if noted == "in the state":
        (folder / "settings.json").unlink()
    else:  # as states of earlier versions are
        state = read_state(folder / STATE_FILE)
        torch.save({key: value for key, value in state.items() if key != "genemamba_settings"}, folder / "old.ckpt")
        (folder / "old.ckpt").replace(folder / STATE_FILE)
        (folder / f"{STATE_FILE}.sha256").unlink()
    if noted == "nowhere":
        (folder / "settings.json").unlink()
        told = "must come with the settings of its run. .* has none in it, and no settings.json beside it"
    with pytest.raises(ValueError, match=told):
        run(tmp_path / "two", **{"steps": 2, **settings}, resume=str(folder / STATE_FILE))
    assert not (tmp_path / "two").exists() and not (tmp_path / "two.run").exists()


def test_what_is_no_state_is_refused_as_such(run: Run, tmp_path: Path):
    with pytest.raises(TypeError, match=r"resume must be 'auto' or the path of a state\. Got None\. To start anew"):
        run_module._state_to_load(tmp_path, None)
    run(tmp_path / "one", steps=2)
    state = read_state(tmp_path / "one.run" / STATE_FILE)
    settings = json.loads(state["genemamba_settings"])
    with pytest.raises(ValueError, match="A state has at most the steps of its run, 2. .* has 3. Give another one"):
        check_state(tmp_path / STATE_FILE, {**state, "global_step": 3}, settings)


def test_weights_of_fewer_steps_are_not_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.save({"global_step": 3}, tmp_path / STATE_FILE)
    monkeypatch.setattr(pl.Trainer, "fit", lambda *_, **__: shutil.copy(tmp_path / STATE_FILE, tmp_path / "out.run"))
    with pytest.raises(RuntimeError, match=r"after the last step, 8\. .*state\.ckpt is the state after step 3\. Run"):
        run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_slash_at_the_end_of_the_name_changes_nothing(run: Run, tmp_path: Path):
    assert run(f"{tmp_path}/out/", steps=2).finished
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.run"}


def test_a_folder_that_appears_meanwhile_stays_and_the_message_names_no_option_that_is_not_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(RunState, "on_train_start", lambda *_: (tmp_path / "out").mkdir())
        with pytest.raises(FileExistsError, match="out exists already. Choose another folder for the weights") as told:
            run(tmp_path / "out", steps=2)
    assert "overwrite" not in str(told.value)
    (tmp_path / "out").rmdir()
    assert run(tmp_path / "out", steps=2).finished


def test_what_was_refused_or_killed_before_its_first_state_is_in_nobodys_way(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(tmp_path / "alone", steps=2, seed=3)
    with pytest.raises(ValueError, match="n_validation must leave cells"):
        run(tmp_path / "out", n_validation=90)
    assert not (tmp_path / "out.run").exists()
    with monkeypatch.context() as patch:
        patch.setattr(PretrainingPlan, "training_step", lambda *_: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            run(tmp_path / "out", steps=2)
    assert (tmp_path / "out.run" / "settings.json").exists()
    assert run(tmp_path / "out", steps=2, seed=3).finished
    assert same(tmp_path / "alone", tmp_path / "out")  # nor was the start of the other seed taken


def test_a_precision_that_the_device_lacks_is_refused(run: Run, tmp_path: Path):
    with pytest.raises(ValueError, match=r"Got '16-mixed', which is bf16-mixed here\. Choose 'bf16-mixed' or"):
        run(tmp_path / "out", precision="16-mixed")
    assert not (tmp_path / "out.run").exists()


def test_the_state_holds_nothing_that_could_run_code(run: Run, tmp_path: Path):
    run(tmp_path / "out")
    state = read_state(Path(f"{tmp_path / 'out'}.run") / STATE_FILE)  # torch refuses anything else
    assert state["global_step"] == N_STEPS
    assert {"state_dict", "optimizer_states", "lr_schedulers", "loops", "current_model_state"} <= set(state)
    (tmp_path / "state").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="is not a readable state of a run .* Remove its folder to start again"):
        read_state(tmp_path / "state")


def test_other_settings_do_not_go_on(run: Run, tmp_path: Path):
    run(tmp_path / "out")
    with pytest.raises(FileExistsError, match="exists already. Choose another folder for the weights"):
        run(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match=r"other settings \(optimisation, token_budget changed\)"):
        run(tmp_path / "out", seed=7, token_budget=300)
    with pytest.raises(FileNotFoundError, match="none.ckpt is not a file. Give the state.ckpt"):
        run(tmp_path / "out", resume=str(tmp_path / "none.ckpt"))
    (tmp_path / "out.run" / "settings.json").write_text('{"encoder": 1}')
    with pytest.raises(ValueError, match=r"settings\.json must hold a JSON object in encoder\. .* to start anew"):
        run(tmp_path / "out")


def test_other_pathways_of_as_many_genes_do_not_go_on(run: Run, tmp_path: Path):
    first, second = (pathways_of([4, 5], [6, 7]).index(), pathways_of([4, 6], [5, 7]).index())
    objectives = ObjectiveConfig(pathway_weight=1.0)
    run(tmp_path / "out", steps=1, objectives=objectives, pathways=first)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match=r"a run with other settings \(pathways_sha256 changed\)\. Give the same"):
        run(tmp_path / "out", steps=1, objectives=objectives, pathways=second)
    again = pathways_of([6, 7], [4, 5]).index()  # in another order they say the same
    assert run(tmp_path / "out", steps=1, objectives=objectives, pathways=again).finished


def test_pathways_of_genes_in_another_order_are_refused(run: Run, corpus: TokenCorpus, tmp_path: Path):
    (tmp_path / "sets.gmt").write_text("one\t\t" + "\t".join(corpus.vocabulary.gene_ids[:12]) + "\n")
    genes = corpus.vocabulary
    turned = GeneVocabulary(genes.gene_ids[::-1], genes.symbols[::-1], genes.medians[::-1].copy(), genes.species)
    objectives = ObjectiveConfig(pathway_weight=1.0)
    for vocabulary in (turned, genes):
        pathways = PathwaySet.from_gmt(tmp_path / "sets.gmt", vocabulary).select([0]).index().to("cpu")
        if vocabulary is genes:
            assert run(tmp_path / "out", steps=1, objectives=objectives, pathways=pathways).finished
            continue
        with pytest.raises(ValueError, match=r"Pathways must be those of the corpus's genes.* Got pathways of another"):
            run(tmp_path / "out", steps=1, objectives=objectives, pathways=pathways)


def test_a_run_that_began_before_pathways_were_noted_goes_on(run: Run, tmp_path: Path):
    pathways = pathways_of([4, 5], [6, 7]).index()
    objectives = ObjectiveConfig(pathway_weight=1.0)
    run(tmp_path / "out", steps=1, objectives=objectives, pathways=pathways)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    noted = tmp_path / "out.run" / "settings.json"
    settings = json.loads(noted.read_text())
    assert (settings["pathway_genes"], settings.pop("pathways_sha256")) == (4, pathways.sha256)
    noted.write_text(json.dumps(settings))
    assert run(tmp_path / "out", steps=1, objectives=objectives, pathways=pathways).finished
    (tmp_path / "out").rename(tmp_path / "elsewhere too")
    with pytest.raises(FileExistsError, match=r"\(pathway_genes changed\)"):
        run(tmp_path / "out", steps=1, objectives=objectives, pathways=pathways_of([4, 5]).index())


def pathways_of(*members: list[int]) -> PathwaySet:
    names = tuple(map(str, range(len(members))))
    return PathwaySet(names, tuple(np.array(genes, np.int32) for genes in members), 44)


def test_what_is_logged(run: Run, tmp_path: Path):
    run(tmp_path / "out")
    lines = logged(tmp_path / "out")
    training = [line for line in lines if line["train_loss"]]
    assert [int(line["step"]) for line in training] == list(range(N_STEPS))
    parts = {"train_mgm", "train_contrast", "train_masked_accuracy", "train_baseline_accuracy", "lr"}
    assert parts <= set(lines[0])
    for line in training:
        expected = float(line["train_mgm"]) + 0.3 * float(line["train_contrast"])
        assert float(line["train_loss"]) == pytest.approx(expected, rel=1e-5)
        assert float(line["tokens_per_second"]) > 0
    assert [int(line["step"]) for line in lines if line["validation_loss"]] == [2, 5, N_STEPS - 1]  # and after the last


def test_it_learns(run: Run, tmp_path: Path):
    run(tmp_path / "out", steps=60, ema=0.0, n_validation=0, objectives=ObjectiveConfig())
    loss = [float(line["train_mgm"]) for line in logged(tmp_path / "out") if line["train_mgm"]]
    assert np.mean(loss[-10:]) < np.mean(loss[:10]) - 0.05


def test_the_manifest_tells_where_the_weights_come_from(run: Run, corpus: TokenCorpus, tmp_path: Path):
    run(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["steps"] == N_STEPS
    assert manifest["corpus"]["fingerprint"] == corpus.manifest["fingerprint"]
    assert manifest["settings"]["encoder"] == tiny(corpus).to_dict()
    assert manifest["cells"] == {"training": corpus.n_cells - 10, "held_out": 10}
    cells = read_pretrained(tmp_path / "out").cells  # those held out are not among them
    assert cells is not None and len(cells) == corpus.n_cells - 10
    assert set(cells.exact.tolist()) < set(corpus.token_hashes.tolist())
    assert cells.sources == ("cells.h5ad",)


def test_the_start_is_spectral_and_kept(corpus: TokenCorpus, tmp_path: Path):
    cells = np.arange(corpus.n_cells)
    start = start_from(corpus, cells, 8, 40, 0, tmp_path)
    again = start_from(corpus, cells[:3], 8, 40, 1, tmp_path)  # from the file, whatever is asked
    assert torch.equal(start.table, again.table)
    seen = torch.from_numpy(np.unique(corpus.tokens(cells).ids))
    weight = torch.full_like(start.table, 9.0)
    start.set_table(weight)
    known = start.table.abs().sum(dim=1) > 0
    assert torch.equal(weight[known], start.table[known]) and bool((weight[~known] == 9.0).all())
    start.set_table(weight, "denoised")
    assert torch.equal(weight[known], start.denoised[known]) and not torch.equal(start.denoised, start.table)
    assert set(known.nonzero().flatten().tolist()) <= set(seen.tolist())
    frequency = np.bincount(corpus.tokens(cells).ids.ravel(), minlength=corpus.vocabulary.size)
    assert start.log_frequency[2:].argmax() == frequency[2:].argmax()


def test_recomputed_activations_change_neither_loss_nor_gradient_nor_names(corpus: TokenCorpus):
    batch = {
        "token_ids": torch.from_numpy(corpus.tokens(np.arange(6)).ids.astype(np.int64)),
        "token_values": torch.from_numpy(corpus.tokens(np.arange(6)).values),
        "lengths": torch.from_numpy(corpus.lengths[:6].astype(np.int64)),
    }
    results = []
    for recomputes in (False, True):
        torch.manual_seed(0)
        module = PretrainingObjectives(BiMambaEncoder(tiny(corpus)), ObjectiveConfig(contrast_weight=0.3))
        if recomputes:
            recompute_activations(module.encoder)
        torch.manual_seed(1)
        loss = module(batch, torch.Generator().manual_seed(2)).loss
        loss.backward()
        results.append((loss, [p.grad for p in module.parameters()], list(module.state_dict())))
    (loss, gradients, names), (other, others, other_names) = results
    assert torch.equal(loss, other)
    assert all(torch.equal(a, b) for a, b in zip(gradients, others))
    assert names == other_names


def test_matrices_decay_and_the_rest_does_not(corpus: TokenCorpus):
    module = PretrainingObjectives(BiMambaEncoder(tiny(corpus)), ObjectiveConfig())
    plan = PretrainingPlan(module, PretrainingConfig(n_steps=10, weight_decay=0.1))
    optimizer = plan.configure_optimizers()["optimizer"]
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decays) == len(list(module.parameters()))
    assert decays[id(module.encoder.embeddings.weight)] == 0.1
    assert decays[id(module.encoder.layers[0].mixer.out_proj.weight)] == 0.1
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            assert decays[id(parameter)] == 0.0, name


def test_sizes(corpus: TokenCorpus):
    published = encoder_of_size("published", 25_428)
    assert (published.n_layer, published.d_model, published.pre_norm) == (24, 512, False)
    assert encoder_of_size("mini", 100).vocab_size == 100
    with pytest.raises(ValueError, match="size must be one of .*'mini'.* Got 'huge'"):
        encoder_of_size("huge", 100)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("n_steps", 0, "n_steps must be at least 1. Got 0"),
        ("lr", 0.0, "lr must be positive. Got 0.0"),
        ("warmup", 1.0, r"warmup must lie in \[0, 1\). Got 1.0"),
        ("ema_decay", -0.1, r"ema_decay must lie in \[0, 1\). Got -0.1"),
        ("weight_decay", -1.0, "weight_decay must not be negative. Got -1.0"),
        ("lr", "1e-3", "lr must be a number. Got '1e-3'. Its default works for most"),
        ("lr", float("inf"), "lr must be finite. Got inf"),
        ("gradient_clip", None, "gradient_clip must be a number. Got None"),
        ("weight_decay", float("inf"), "weight_decay must be finite. Got inf"),
        ("table_lr", float("nan"), "table_lr must be finite. Got nan"),
    ],
)
def test_choices_out_of_range_are_refused(field: str, value: Any, told: str):
    config = PretrainingConfig(n_steps=10)
    object.__setattr__(config, field, value)  # where the tests' own check of types does not look
    with pytest.raises((TypeError, ValueError), match=told):
        config.__post_init__()


def test_settings_that_do_not_fit_are_refused(run: Run, corpus: TokenCorpus, tmp_path: Path):
    with pytest.raises(ValueError, match="strategy must be auto, ddp or fsdp. Got 'dp'"):
        RunConfig(strategy="dp")
    with pytest.raises(ValueError, match="ema_decay needs whole weights on each device"):
        run(tmp_path / "out", strategy="fsdp")
    with pytest.raises(ValueError, match="n_validation must leave cells to train on; got 90 of 90"):
        run(tmp_path / "out", n_validation=90)
    other = EncoderConfig(vocab_size=12, d_model=64)
    with pytest.raises(ValueError, match="one row per token: 44. Got vocab_size=12"):
        pretrain(corpus, tmp_path / "o", other, ObjectiveConfig(), PretrainingConfig(n_steps=1), RunConfig())
    assert not list(tmp_path.glob("*.ckpt"))


SCRIPT = """
import sys, json, torch, lightning.pytorch as pl
from pathlib import Path
from genemamba_sc import EncoderConfig
from genemamba_sc.pretraining import _run as runs
from genemamba_sc.pretraining._plan import PretrainingConfig, PretrainingPlan
from genemamba_sc.corpus import TokenCorpus
from genemamba_sc.nn import ObjectiveConfig

folder, out, options = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(1)
corpus = TokenCorpus.open(folder)
step, seen, losses = PretrainingPlan.training_step, [], []

def noting(plan, batch, batch_idx):
    seen.append(batch["token_ids"].tolist())
    if "slow" in options:
        print("step", batch_idx, flush=True)
    loss = step(plan, batch, batch_idx)
    losses.append(float(loss))
    return loss

PretrainingPlan.training_step = noting

def keep(plan):
    rank = plan.trainer.global_rank
    torch.save({"seen": seen, "losses": losses, "weights": plan.state_dict()}, f"{out}-{rank}.pt")

PretrainingPlan.on_train_end = keep
encoder = EncoderConfig(vocab_size=corpus.vocabulary.size, d_model=16, n_layer=1, headdim=16, token_dropout=0.1)
report = runs.pretrain(
    corpus, out, encoder, ObjectiveConfig(), PretrainingConfig(n_steps=options["steps"]),
    runs.RunConfig(token_budget=400, save_every=options.get("save_every", 100), accelerator="cpu", log_every=1,
                   accumulate=options.get("accumulate", 1), devices=options.get("devices", 1)),
)
print("finished" if report.finished else "stopped", report.n_steps, report.is_main, flush=True)
"""


def started(corpus_folder: Path, out: Path, **options: Any) -> subprocess.Popen[str]:
    script = out.parent / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(corpus_folder), str(out), json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=170)
    assert process.returncode == code, err[-3000:]
    return out


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_that_accumulates_two_batches(corpus_folder: Path, tmp_path: Path):
    told = ended(started(corpus_folder, tmp_path / "two", steps=12, devices=2))
    assert "finished 12 True" in told and "finished 12 False" in told
    ended(started(corpus_folder, tmp_path / "one", steps=12, accumulate=2))
    first, second = (torch.load(tmp_path / f"two-{rank}.pt", weights_only=True) for rank in range(2))
    alone = torch.load(tmp_path / "one-0.pt", weights_only=True)
    # Equal numbers of batches, each process its own, together what one process sees.
    assert len(first["seen"]) == len(second["seen"]) == 12
    assert alone["seen"] == [batch for pair in zip(first["seen"], second["seen"]) for batch in pair]
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name
        assert torch.allclose(weight, alone["weights"][name], rtol=1e-3, atol=1e-5), name
    pairs = zip(first["losses"], second["losses"])
    assert alone["losses"] == pytest.approx([loss for pair in pairs for loss in pair], rel=1e-4)


@pytest.mark.slow
def test_sigterm_to_two_processes_saves_once_and_ends_both(corpus_folder: Path, tmp_path: Path):
    process = started(corpus_folder, tmp_path / "out", steps=400, devices=2, slow=True)
    assert process.stdout is not None
    while "step 5" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGTERM)  # to the first process alone: the other one learns of it
    told = ended(process)
    assert told.count("stopped") == 2
    state = read_state(Path(f"{tmp_path / 'out'}.run") / STATE_FILE)
    assert 5 <= state["global_step"] < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_weights_of_an_unbroken_one(corpus_folder: Path, tmp_path: Path):
    ended(started(corpus_folder, tmp_path / "whole", steps=60, accumulate=2))
    seed = int(time.time())
    rng = np.random.default_rng(seed)
    n_killed = 0
    for _ in range(3):
        process = started(corpus_folder, tmp_path / "killed", steps=60, accumulate=2, save_every=1, slow=True)
        assert process.stdout is not None
        process.stdout.readline()  # the first step
        time.sleep(rng.uniform(0, 0.6))
        n_killed += process.poll() is None
        process.kill()
        process.communicate()
    told = ended(started(corpus_folder, tmp_path / "killed", steps=60, accumulate=2, save_every=1))
    assert told == "finished 60 True\n"
    assert n_killed
    assert same(tmp_path / "whole", tmp_path / "killed"), f"seed {seed}"


def test_the_loader_is_resumable_for_lightning(corpus: TokenCorpus):
    from lightning.fabric.utilities.types import _Stateful

    from genemamba_sc.corpus import CorpusDataModule

    data = CorpusDataModule(corpus, token_budget=400, n_batches=30)
    loader = data.train_dataloader()
    assert isinstance(loader, _Stateful) and isinstance(data, pl.LightningDataModule)


@pytest.mark.parametrize("table_lr", [0.0, 1e-2])
def test_the_table_learns_at_its_own_rate(table_lr: float):
    torch.manual_seed(0)
    objectives = PretrainingObjectives(
        BiMambaEncoder(EncoderConfig(vocab_size=20, d_model=8, headdim=8)), ObjectiveConfig(pathway_weight=0.0)
    )
    plan = PretrainingPlan(objectives, PretrainingConfig(n_steps=2, lr=1e-3, table_lr=table_lr))
    groups = plan.configure_optimizers()["optimizer"].param_groups
    table = objectives.encoder.embeddings.weight
    rates = {group["initial_lr"] for group in groups if any(parameter is table for parameter in group["params"])}
    assert rates == ({table_lr} if table_lr else set())
    assert table.requires_grad == bool(table_lr)
    others = {group["initial_lr"] for group in groups if all(parameter is not table for parameter in group["params"])}
    assert others == {1e-3}


@pytest.mark.parametrize("name", ["state.ckpt", "start.safetensors"])
def test_a_run_does_not_go_on_from_a_changed_file(run: Run, name: str, tmp_path: Path):
    run(tmp_path / "w", steps=2)
    (tmp_path / "w" / "model.safetensors").unlink()
    for file in sorted((tmp_path / "w").iterdir()):
        file.unlink()
    (tmp_path / "w").rmdir()
    damaged = tmp_path / "w.run" / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    if name == "start.safetensors":
        (tmp_path / "w.run" / "state.ckpt").unlink()  # the start is read by a run that has no state yet

    with pytest.raises(ValueError, match=f"{name} must be as it was written"):
        run(tmp_path / "w", steps=2)


def test_two_runs_into_one_folder_are_refused(run: Run, tmp_path: Path):
    from filelock import FileLock

    (tmp_path / "w.run").mkdir()
    with FileLock(tmp_path / "w.run" / ".lock"):
        with pytest.raises(FileExistsError, match=r"The run .* must have one writer at a time"):
            run(tmp_path / "w", steps=2)
    assert run(tmp_path / "w", steps=2).finished


@pytest.mark.parametrize("change", ["cut", "renamed", "not a number"])
def test_a_start_without_digest_is_read_by_its_content(corpus: TokenCorpus, change: str, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    arguments = (corpus, np.arange(corpus.n_cells), 16, 30, 0, tmp_path)
    before = start_from(*arguments)
    kept = tmp_path / "start.safetensors"
    (tmp_path / "start.safetensors.sha256").unlink()
    assert torch.equal(start_from(*arguments).table, before.table)
    tensors = load_file(kept)
    if change == "renamed":
        tensors["rank"] = tensors.pop("rank_genes")
    else:
        tensors["table"][0, 0] = torch.nan
    save_file(tensors, kept)
    if change == "cut":
        kept.write_bytes(kept.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"start\.safetensors (is not a readable|must hold finite).* computes it anew"):
        start_from(*arguments)


def test_a_disk_that_fills_under_a_run_is_told_with_its_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(self: RunState, trainer: pl.Trainer) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunState, "save", refuse)
        with pytest.raises(OSError, match=r"No space left on device: .*w\.run could not be written; .*Free some space"):
            run(tmp_path / "w", steps=2)
    assert run(tmp_path / "w", steps=2).finished
