"""Run a pretraining from corpus to weights: on one process or many, interrupted or not."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from genemamba_sc._files import naming_full_disk, only_writer
from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc._version import __version__
from genemamba_sc.corpus import CorpusDataModule, TokenCorpus
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, ObjectiveConfig, PretrainingObjectives
from genemamba_sc.pretraining._config import RunConfig, RunReport
from genemamba_sc.pretraining._plan import PretrainingConfig, PretrainingPlan, recompute_activations
from genemamba_sc.pretraining._settings import Job, Settings, begin_folder, check_folder, check_state
from genemamba_sc.pretraining._start import start_from
from genemamba_sc.pretraining._state import STATE_FILE, RunState, read_state
from genemamba_sc.pretraining._stop import CTRL_C, OF_SCHEDULERS, StopRequest
from genemamba_sc.pretraining._trainer import make_trainer
from genemamba_sc.weights._read import Pretrained, write_pretrained

logger = logging.getLogger(__name__)

RUN_SUFFIX = ".run"
_OBJECTIVES = "objectives."


def pretrain(
    corpus: TokenCorpus,
    out: str | Path,
    encoder: EncoderConfig,
    objectives: ObjectiveConfig,
    optimisation: PretrainingConfig,
    run: RunConfig,
    *,
    pathways: PathwayIndex | None = None,
    resume: str | Path = "auto",
) -> RunReport:
    """Pretrain an encoder on a corpus and write the weights.

    Parameters
    ----------
    corpus
        The corpus with the cells.
    out
        Folder for the weights. The state of the run lies beside it, in ``out`` + ``.run``.
    encoder, objectives, optimisation, run
        What is trained, by which objectives, and how.
    pathways
        Which genes share a pathway.
    resume
        ``"auto"`` continues from the state in ``out.run`` where there is one; a path names another state, of a run with
        the same settings.

    Returns
    -------
    A report of how the run ended. A run that is told to stop (SIGTERM, SIGUSR1) saves its state and returns.

    Raises
    ------
    FileExistsError
        If ``out`` exists, or ``out.run`` is of a run with other settings (the corpus and the pathways among them) or is
        being written by another process.
    ValueError
        If settings do not fit each other, or ``resume`` names the state of a run with other settings.
    TypeError
        If ``resume`` is neither ``"auto"`` nor a path.
    KeyboardInterrupt
        After Ctrl-C: during the steps the first one finishes the step and saves the state, the second one does not
        wait. The same call continues the run.
    """
    target = Path(out)
    _refuse_existing(target)
    folder = run_folder(target)
    if run.strategy == "fsdp" and optimisation.ema_decay:
        raise ValueError("ema_decay needs whole weights on each device, which fsdp does not keep. Use ddp, or 0.")
    job, stop = Job(corpus, encoder, objectives, optimisation, run, pathways), StopRequest()
    settings = job.settings()
    with stop.listening(*OF_SCHEDULERS), _writing(folder):
        return _train(target, folder, job, settings, resume, stop)


def run_folder(out: str | Path) -> Path:
    """Return where the state of a run lies, beside the folder ``out`` of its weights."""
    target = Path(out)  # a slash at the end of the name is gone
    return target.with_name(target.name + RUN_SUFFIX)


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise FileExistsError(f"{target} exists already. Choose another folder for the weights.")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Hold the folder of a run; where there are several processes, the first one holds it for all."""
    try:
        with only_writer(folder / ".lock", f"The run {folder}") if _is_main() else nullcontext():
            yield
    finally:
        with suppress(OSError):
            folder.rmdir()  # only an empty one goes: what was refused leaves nothing


def _is_main() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0  # also without a trainer, by the launcher's environment


def _train(
    target: Path, folder: Path, job: Job, settings: Settings, resume: str | Path, stop: StopRequest
) -> RunReport:
    """Continue the run where it is, to its end or until it is told to stop; the caller holds the lock."""
    check_folder(folder, settings)
    run, optimisation = job.run, job.optimisation
    data = CorpusDataModule(
        job.corpus,
        token_budget=run.token_budget,
        n_batches=optimisation.n_steps * run.accumulate,
        max_len=run.max_len,
        n_validation=run.n_validation,
        seed=optimisation.seed,
        n_workers=run.n_workers,
    )
    path, done = _state_to_load(folder, resume), 0
    if path is not None:
        state = read_state(path)
        check_state(path, state, settings)
        done = int(state["global_step"])
    if done < optimisation.n_steps:
        keeper = RunState(folder, run.save_every, settings, stop)
        done = _fit(folder, job, settings, data, path, keeper)
        path = keeper.path
        if keeper.interrupted:
            _tell_interrupt(folder, done, optimisation.n_steps, stop)
            return RunReport(done, False, _is_main())
    if _is_main() and path is not None:
        _write(target, path, job, data, settings)
    return RunReport(done, True, _is_main())


def _fit(
    folder: Path, job: Job, settings: Settings, data: CorpusDataModule, state: Path | None, keeper: RunState
) -> int:
    """Take the steps that are left; return the number of all steps done."""
    n_steps, run = job.optimisation.n_steps, job.run
    trainer = make_trainer(folder, n_steps, run, keeper)  # it refuses devices that are not there: before the start
    begin_folder(folder, settings)
    module = _build(data, job, folder)
    if run.activation_checkpointing and run.strategy != "fsdp":
        recompute_activations(module.encoder)
    plan = PretrainingPlan(module, job.optimisation)
    with naming_full_disk(folder), keeper.stop.listening(CTRL_C):  # the saved state and the logs
        try:
            trainer.fit(plan, datamodule=data, ckpt_path=state, weights_only=True)
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # Lightning ends the process at Ctrl-C
                raise KeyboardInterrupt from None
            raise
    return trainer.global_step


def _tell_interrupt(folder: Path, done: int, n_steps: int, stop: StopRequest) -> None:
    """Raise what Ctrl-C raises, now that the state is saved."""
    if stop.by_user:
        saved = f"stopped after step {done} of {n_steps}, state saved" if done else "stopped before the first step"
        raise KeyboardInterrupt(f"{folder}: {saved}. The same call continues the run." if _is_main() else "")


def _state_to_load(folder: Path, resume: object) -> Path | None:
    if not isinstance(resume, str | os.PathLike):
        raise TypeError(
            f"resume must be 'auto' or the path of a state. Got {resume!r}. To start anew, choose another folder."
        )
    if resume == "auto":
        return folder / STATE_FILE if (folder / STATE_FILE).exists() else None
    if not Path(resume).is_file():
        raise FileNotFoundError(f"{resume} is not a file. Give the {STATE_FILE} of a run, or leave resume on 'auto'.")
    return Path(resume)


def _build(data: CorpusDataModule, job: Job, folder: Path) -> PretrainingObjectives:
    seed, objectives = job.optimisation.seed, job.objectives
    start = start_from(data.corpus, data.training_cells, job.encoder.d_model, data.max_len, seed, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = PretrainingObjectives(
            BiMambaEncoder(job.encoder),
            objectives,
            spectral=start.table if objectives.spectral_weight or objectives.denoise_weight else None,
            pathways=job.pathways,
            rank_genes=start.rank_genes,
        )
    start.set_table(module.encoder.embeddings.weight, job.optimisation.start)
    module.initialise_heads(start.log_frequency)
    return module


def _write(target: Path, state_file: Path, job: Job, data: CorpusDataModule, settings: Settings) -> None:
    """Write the weights of a finished run from its last state, so that a run killed here can still do it."""
    state, corpus = read_state(state_file), job.corpus
    if (steps := state["global_step"]) != job.optimisation.n_steps:
        raise RuntimeError(
            f"Weights are those after the last step, {job.optimisation.n_steps}. {state_file} is the state after step "
            f"{steps}. Run the same call again, and report this if it stays."
        )
    _refuse_existing(target)  # somebody wrote there meanwhile; the state stays
    weights = {name.removeprefix(_OBJECTIVES): tensor for name, tensor in state["state_dict"].items()}
    parts = {
        part: {name.removeprefix(part): tensor for name, tensor in weights.items() if name.startswith(part)}
        for part in ("encoder.", "gene_head.")
    }
    manifest = {
        "package_version": __version__,
        "steps": steps,
        "settings": settings,
        "corpus": {key: value for key, value in corpus.manifest.items() if key != "shards"},
        "cells": {"training": len(data.training_cells), "held_out": len(data.validation_cells)},
    }
    product = Pretrained(
        encoder_config=EncoderConfig.from_dict(settings["encoder"]),
        encoder=parts["encoder."],
        gene_head=parts["gene_head."],
        vocabulary=corpus.vocabulary,
        max_len=data.max_len,
        manifest=manifest,
        evaluation=[],
        origin=target.name,
        cells=corpus.cell_hashes(data.training_cells),
    )
    write_pretrained(target, product)
    logger.info("Weights written to %s.", target)
