"""Keep the weights of the epoch with the best validation when training stops early."""

import logging
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

logger = logging.getLogger(__name__)


class KeepBestWeights(pl.Callback):
    """Remember the weights of the epoch where a validation metric was best, and restore them when training ends.

    A model memorises a few hundred cells within some passes. The weights of the last pass, for which early stopping
    waited in vain, are then worse than earlier ones. Averaged weights are kept as they were validated. What another
    callback puts in place when training ends is overwritten.

    Parameters
    ----------
    monitor
        Name of the validation metric.
    mode
        ``"min"`` or ``"max"``: which values are best.
    """

    def __init__(self, monitor: str, mode: str = "min") -> None:
        self.monitor = monitor
        self._sign = -1.0 if mode == "max" else 1.0
        self._best = float("inf")
        self._epoch = -1
        self._validated: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] = {}

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Copy the validated weights while they are in place: averages are swapped in around the batches."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and not self._validated:
            self._validated = {
                name: weight.detach().clone() for name, weight in pl_module.named_parameters() if weight.requires_grad
            }

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the copy if the metric, which is known now, is better than before."""
        value = trainer.callback_metrics.get(self.monitor)
        if self._validated and value is not None and self._sign * float(value) < self._best:
            self._best, self._epoch = self._sign * float(value), trainer.current_epoch
            self._kept = self._validated
        self._validated = {}

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the best weights also when the user stops the training."""
        if isinstance(exception, KeyboardInterrupt):
            self.on_fit_end(trainer, pl_module)

    @torch.no_grad()
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the best weights."""
        weights: dict[str, Any] = dict(pl_module.named_parameters())
        for name, kept in self._kept.items():
            weights[name].copy_(kept)
        if self._kept and self._epoch + 1 < trainer.current_epoch:
            best = self._sign * self._best
            logger.info("Kept the weights of epoch %d, where %s was best: %.4f.", self._epoch + 1, self.monitor, best)
        self._kept = {}
