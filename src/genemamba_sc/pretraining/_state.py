"""The state of a run on disk: saved every so often, and when the machine is taken away."""

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
    """Saves all that a run needs to go on, in one file that is whole at any moment.

    The file holds weights, optimiser, schedule, the place in the stream of batches and Lightning's counters: tensors,
    numbers and strings only, so that it is read with ``weights_only=True`` and no code in it is ever run. Being a
    :class:`lightning.pytorch.callbacks.Checkpoint`, it comes after all other callbacks, the average of the weights too.

    Parameters
    ----------
    folder
        Where the file lies, for all processes.
    every_n_steps
        Steps between two savings.

    Attributes
    ----------
    interrupted
        Whether the run was told to stop (SIGTERM or SIGUSR1) and did.
    """

    def __init__(self, folder: Path, every_n_steps: int) -> None:
        self.path = folder / STATE_FILE
        self.every_n_steps = every_n_steps
        self.interrupted = False
        self._asked = False
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to what schedulers send before they take a machine away.

        Lightning's own handlers talk to other processes from within the signal, where these may be in the middle of
        another exchange; this one only takes a note.
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
        """Save after a step of the optimiser, where it is time; between two steps there is a half gradient."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        # All processes must agree, or one would wait for the others for ever.
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
            Of the run; all processes must call this.
        """
        temporary = self.path.with_name(f".writing-{self.path.name}")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            announce_digest(self.path, temporary)
            os.replace(temporary, self.path)
        trainer.strategy.barrier("state saved")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the signals back; Lightning's own handlers follow, so this must not wait for the teardown."""
        self._give_back()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the signals back also after an error."""
        self._give_back()

    def _give_back(self) -> None:
        while self._handlers:
            number, handler = self._handlers.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def read_state(path: Path) -> dict[str, Any]:
    """Read a saved state: tensors, numbers and strings; anything else in it is refused.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        If it is damaged or holds anything else.
    """
    check_digest(path, "Remove its folder to start anew, or give another saved state.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors for a file that is not whole
        raise ValueError(
            f"{path} is no readable state of a run ({type(error).__name__}: {str(error).splitlines()[0]}). "
            "Remove its folder to start anew."
        ) from error
    return state
