"""Make Lightning's trainer for a pretraining."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, Strategy

from genemamba_sc.pretraining._config import RunConfig
from genemamba_sc.pretraining._state import RunState


def make_trainer(folder: Path, n_steps: int, run: RunConfig, keeper: RunState) -> pl.Trainer:
    """Make the trainer; it writes nothing yet.

    Parameters
    ----------
    folder
        Folder of the run, for the log.
    n_steps
        Number of steps of the whole run.
    run
        How the run is executed.
    keeper
        The callback that saves the state.

    Raises
    ------
    ValueError
        If this machine lacks the devices, or has no such precision.
    """
    try:
        trainer = _trainer(folder, n_steps, run, keeper)
    except MisconfigurationException as error:
        raise ValueError(
            f"accelerator and devices must name what this machine has. Got accelerator={run.accelerator!r}, "
            f"devices={run.devices!r} ({str(error).splitlines()[0]}). Name fewer devices, or accelerator='cpu'."
        ) from error
    # Lightning takes bfloat16 in place of float16 on a CPU, and the manifest would say what was not done.
    if run.precision.startswith("16") and not str(trainer.precision).startswith("16"):
        raise ValueError(
            f"precision must be one that the device has. Got {run.precision!r}, which is {trainer.precision} here. "
            "Choose 'bf16-mixed' or '32-true'."
        )
    return trainer


def _trainer(folder: Path, n_steps: int, run: RunConfig, keeper: RunState) -> pl.Trainer:
    return pl.Trainer(
        accelerator=run.accelerator,
        devices=run.devices,
        num_nodes=run.num_nodes,
        strategy=_strategy(run),
        precision=run.precision,  # type: ignore[arg-type]
        # The whole run is one epoch for Lightning: passes over the cells follow each other in the stream of batches.
        max_epochs=1,
        max_steps=n_steps,
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
