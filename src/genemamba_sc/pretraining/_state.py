"""Keep the state of a run on disk: save it at intervals, and when the run is told to stop."""

import json
import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint

from genemamba_sc._digests import announce_digest, check_digest
from genemamba_sc.pretraining._stop import StopRequest

STATE_FILE = "state.ckpt"
# Entry of a state with the settings of its run, as JSON.
SETTINGS_KEY = "genemamba_settings"


class RunState(Checkpoint):
    """Save everything that a run needs to continue, in one file that is whole at any moment.

    The file holds weights, optimiser, schedule, the place in the stream of batches and Lightning's counters. These are
    tensors, numbers and strings only, so that the file is read with ``weights_only=True`` and no code in it ever runs.
    As a :class:`lightning.pytorch.callbacks.Checkpoint`, this callback comes after all others, also after the average
    of the weights.

    Parameters
    ----------
    folder
        Folder of the file, the same for all processes.
    every_n_steps
        Number of steps between two saved states.
    settings
        Everything that decides the result, kept in the state.
    stop
        Whether somebody asked the run to stop.

    Attributes
    ----------
    interrupted
        Whether the run was told to stop and did so.
    """

    def __init__(self, folder: Path, every_n_steps: int, settings: dict[str, Any], stop: StopRequest) -> None:
        self.path = folder / STATE_FILE
        self.every_n_steps = every_n_steps
        self.interrupted = False
        self._settings = json.dumps(settings)
        self.stop = stop

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning; where one came before the first step, take no step."""
        self.stop.listen_again()
        if self._must_stop(trainer):
            self.interrupted = trainer.should_stop = True

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the settings in the state, so that it cannot be taken for that of another run."""
        checkpoint[SETTINGS_KEY] = self._settings

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after a step of the optimiser, where it is time; between two steps the gradient is incomplete."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        stop, last = self._must_stop(trainer), trainer.global_step >= trainer.max_steps
        if stop or last or trainer.global_step % self.every_n_steps == 0:
            self.save(trainer)
        self.interrupted = stop and not last
        if stop or last:
            trainer.should_stop = True  # Lightning validates once more before it stops, so the last loss is logged

    def save(self, trainer: pl.Trainer) -> None:
        """Write the state beside the old one, then put it in its place.

        Parameters
        ----------
        trainer
            Trainer of the run; all processes must call this method.
        """
        temporary = self.path.with_name(f".writing-{self.path.name}")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            announce_digest(self.path, temporary)
            os.replace(temporary, self.path)
        trainer.strategy.barrier("state saved")

    def _must_stop(self, trainer: pl.Trainer) -> bool:
        # All processes must agree, otherwise one would wait for the others for ever.
        return trainer.strategy.reduce_boolean_decision(self.stop.asked, all=False)


def read_state(path: Path) -> dict[str, Any]:
    """Read a saved state of tensors, numbers and strings; refuse a file with anything else in it.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    ValueError
        If the file is damaged or holds anything else.
    """
    check_digest(path, "Remove its folder to start again, or give another saved state.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for a file that is not whole
        raise ValueError(
            f"{path} is not a readable state of a run ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Remove its folder to start again."
        ) from error
    return state
