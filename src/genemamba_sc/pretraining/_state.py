"""Keep the state of a run on disk: save it at intervals, and when the machine is taken away."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint

from genemamba_sc._digests import announce_digest, check_digest

STATE_FILE = "state.ckpt"


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

    Attributes
    ----------
    interrupted
        Whether the run was told to stop (SIGTERM or SIGUSR1) and did so.
    """

    def __init__(self, folder: Path, every_n_steps: int) -> None:
        self.path = folder / STATE_FILE
        self.every_n_steps = every_n_steps
        self.interrupted = False
        self._asked = False
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to the signals that schedulers send before they take a machine away.

        Lightning's own handlers talk to other processes from within the signal, where these may be in the middle of
        another exchange; this handler only takes a note.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGTERM", "SIGUSR1"):
            number = getattr(signal, name, None)
            if number is not None:
                self._handlers[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after a step of the optimiser, where it is time; between two steps the gradient is incomplete."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        # All processes must agree, otherwise one would wait for the others for ever.
        stop = trainer.strategy.reduce_boolean_decision(self._asked, all=False)
        last = trainer.global_step >= trainer.max_steps
        if stop or last or trainer.global_step % self.every_n_steps == 0:
            self.save(trainer)
        if stop and not last:
            self.interrupted = True
            trainer.should_stop = True

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

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the signals; Lightning's own handlers follow, so this must not wait for the teardown."""
        self._give_back()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the signals also after an error."""
        self._give_back()

    def _give_back(self) -> None:
        while self._handlers:
            number, handler = self._handlers.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


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
