"""Run a pretraining from corpus to weights: on one process or many, interrupted or not."""

import json
import logging
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, Strategy

from genemamba_sc._files import naming_full_disk, only_writer, replacing_file
from genemamba_sc._json import read_object
from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc._version import __version__
from genemamba_sc.corpus import CorpusDataModule, TokenCorpus
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig, ObjectiveConfig, PretrainingObjectives
from genemamba_sc.pretraining._config import RunConfig, RunReport
from genemamba_sc.pretraining._plan import PretrainingConfig, PretrainingPlan, recompute_activations
from genemamba_sc.pretraining._start import start_from
from genemamba_sc.pretraining._state import STATE_FILE, RunState, read_state
from genemamba_sc.weights._read import Pretrained, write_pretrained

logger = logging.getLogger(__name__)

RUN_SUFFIX = ".run"
_SETTINGS_FILE = "settings.json"
_OBJECTIVES = "objectives."
_PATHWAYS = "pathways_sha256"


@dataclass(frozen=True, eq=False)
class _Job:
    """Hold what is trained, on which cells, by what and how: the arguments of :func:`pretrain`."""

    corpus: TokenCorpus
    encoder: EncoderConfig
    objectives: ObjectiveConfig
    optimisation: PretrainingConfig
    run: RunConfig
    pathways: PathwayIndex | None

    def settings(self) -> dict[str, Any]:
        """Return everything that decides the result, except the number of processes."""
        if self.encoder.vocab_size != self.corpus.vocabulary.size:
            raise ValueError(
                f"The encoder needs one row per token: {self.corpus.vocabulary.size}. "
                f"Got vocab_size={self.encoder.vocab_size}. "
                "Make its configuration with the size of the corpus's vocabulary."
            )
        return {
            "corpus": self.corpus.identity(),
            "encoder": self.encoder.to_dict(),
            "objectives": asdict(self.objectives),
            "optimisation": asdict(self.optimisation),
            "pathway_genes": None if self.pathways is None else len(self.pathways.bits),
            _PATHWAYS: None if self.pathways is None else self.pathways.sha256,
            "token_budget": self.run.token_budget,
            "max_len": self.run.max_len,
            "n_validation": self.run.n_validation,
            "accumulate": self.run.accumulate,
            "precision": self.run.precision,
        }


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
        ``"auto"`` continues from the state in ``out.run`` where there is one; a path names another state.

    Returns
    -------
    A report of how the run ended. A run that is told to stop (SIGTERM, SIGUSR1) saves its state and returns.

    Raises
    ------
    FileExistsError
        If ``out`` exists, or ``out.run`` is of a run with other settings (the corpus and the pathways among them) or is
        being written by another process.
    ValueError
        If settings do not fit each other.
    """
    target, folder = Path(out), Path(f"{out}{RUN_SUFFIX}")
    if target.exists():
        raise FileExistsError(f"{target} exists already. Choose another folder for the weights.")
    if run.strategy == "fsdp" and optimisation.ema_decay:
        raise ValueError("ema_decay needs whole weights on each device, which fsdp does not keep. Use ddp, or 0.")
    job = _Job(corpus, encoder, objectives, optimisation, run, pathways)
    settings = job.settings()
    # Where there are several processes, the first one holds the lock for all.
    is_main = getattr(rank_zero_only, "rank", 0) == 0
    with only_writer(folder / ".lock", f"The run {folder}") if is_main else nullcontext():
        return _train(target, folder, job, settings, resume)


def _train(target: Path, folder: Path, job: _Job, settings: dict[str, Any], resume: str | Path) -> RunReport:
    """Continue the run where it is, to its end or until it is told to stop; the caller holds the lock."""
    _check_settings(folder, settings)
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
    state = _state_to_load(folder, resume)
    done = 0 if state is None else int(read_state(state)["global_step"])
    keeper = RunState(folder, run.save_every)
    if done < optimisation.n_steps:
        trainer = _trainer(folder, optimisation, run, keeper)  # it refuses devices that are not there: before the start
        module = _build(data, job, folder)
        if run.activation_checkpointing and run.strategy != "fsdp":
            recompute_activations(module.encoder)
        plan = PretrainingPlan(module, optimisation)
        with naming_full_disk(folder):  # the saved state and the logs
            trainer.fit(plan, datamodule=data, ckpt_path=state, weights_only=True)
        done = trainer.global_step
    is_main = getattr(rank_zero_only, "rank", 0) == 0  # also without a trainer, by the launcher's environment
    if is_main and not keeper.interrupted:
        _write(target, keeper.path if state is None or keeper.path.exists() else state, job.corpus, data, settings)
    return RunReport(done, not keeper.interrupted, is_main)


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse to continue with other settings: the result would belong to neither run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _SETTINGS_FILE
    if not path.exists():
        with replacing_file(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    before = read_object(path, "Remove the folder to start anew.")
    # Runs that began before these fields existed lack them. Edges do not matter to them: from a corpus an encoder reads
    # the middles of half-octaves, which lie on no edge. Of their pathways only the number of genes is known.
    before.object("encoder").values.setdefault("exact_edges", settings["encoder"]["exact_edges"])
    before.values.setdefault(_PATHWAYS, settings.get(_PATHWAYS))
    changed = [key for key in settings if before.values.get(key) != json.loads(json.dumps(settings[key]))]
    if changed:
        raise FileExistsError(
            f"{folder} holds a run with other settings ({', '.join(changed)} changed). Give the same ones to continue, "
            "choose another folder, or remove it to start again."
        )


def _state_to_load(folder: Path, resume: str | Path) -> Path | None:
    if resume == "auto":
        return folder / STATE_FILE if (folder / STATE_FILE).exists() else None
    if not Path(resume).is_file():
        raise FileNotFoundError(f"{resume} is not a file. Give the {STATE_FILE} of a run, or leave resume on 'auto'.")
    return Path(resume)


def _build(data: CorpusDataModule, job: _Job, folder: Path) -> PretrainingObjectives:
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


def _trainer(folder: Path, optimisation: PretrainingConfig, run: RunConfig, keeper: RunState) -> pl.Trainer:
    try:
        return _new_trainer(folder, optimisation, run, keeper)
    except MisconfigurationException as error:
        raise ValueError(
            f"accelerator and devices must name what this machine has. Got accelerator={run.accelerator!r}, "
            f"devices={run.devices!r} ({str(error).splitlines()[0]}). Name fewer devices, or accelerator='cpu'."
        ) from error


def _new_trainer(folder: Path, optimisation: PretrainingConfig, run: RunConfig, keeper: RunState) -> pl.Trainer:
    return pl.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.num_nodes,
        strategy=_strategy(run),
        precision=run.precision,  # type: ignore[arg-type]
        # The whole run is one epoch for Lightning: passes over the cells follow each other in the stream of batches.
        max_epochs=1,
        max_steps=optimisation.n_steps,
        accumulate_grad_batches=run.accumulate,
        use_distributed_sampler=False,
        logger=CSVLogger(folder, name="logs", flush_logs_every_n_steps=run.log_every),
        log_every_n_steps=run.log_every,
        callbacks=[keeper],
        num_sanity_val_steps=0,
        limit_val_batches=None if run.n_validation else 0,
        val_check_interval=run.validate_every * run.accumulate if run.n_validation else None,
        check_val_every_n_epoch=None,
        enable_progress_bar=run.progress,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def _strategy(run: RunConfig) -> str | Strategy:
    if run.strategy == "fsdp":
        from genemamba_sc.nn._encoder import BiMambaLayer

        return FSDPStrategy(
            auto_wrap_policy={BiMambaLayer},
            activation_checkpointing_policy={BiMambaLayer} if run.activation_checkpointing else None,
            state_dict_type="full",  # one file, whatever the number of devices
        )
    # Buffers are constants, so they are shared once and not at each step.
    several = run.strategy == "ddp" or run.devices not in (1, "auto") or run.num_nodes > 1
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True) if several else "auto"


def _write(
    target: Path, state_file: Path, corpus: TokenCorpus, data: CorpusDataModule, settings: dict[str, Any]
) -> None:
    """Write the weights of a finished run from its last state, so that a run killed here can still do it."""
    state = read_state(state_file)
    weights = {name.removeprefix(_OBJECTIVES): tensor for name, tensor in state["state_dict"].items()}
    parts = {
        part: {name.removeprefix(part): tensor for name, tensor in weights.items() if name.startswith(part)}
        for part in ("encoder.", "gene_head.")
    }
    manifest = {
        "package_version": __version__,
        "steps": state["global_step"],
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
