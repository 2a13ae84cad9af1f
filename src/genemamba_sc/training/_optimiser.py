"""Provide what the optimisers of all trainings share: schedule, parameter groups, clipping, averaging, logging."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

_BETAS = (0.9, 0.98)
# What wrappers (sharding, recomputed activations) add to the names of parameters.
_WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")


@runtime_checkable
class OptimiserChoices(Protocol):
    """Name what a plan must find in its configuration, whatever else that holds."""

    @property
    def lr(self) -> float:
        """Peak learning rate."""

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay of matrices."""

    @property
    def warmup(self) -> float:
        """Share of the steps with a rising learning rate."""

    @property
    def gradient_clip(self) -> float:
        """Largest norm of the gradient."""

    @property
    def ema_decay(self) -> float:
        """Decay of the average of the weights, per step; 0 switches it off."""


@dataclass(frozen=True)
class WarmupCosine:
    """Compute the factor of the learning rate at a step: linear warm-up, then a cosine to zero.

    Parameters
    ----------
    n_steps
        Number of all steps.
    warmup
        Share of the steps that warms up.
    """

    n_steps: int
    warmup: float

    def __call__(self, step: int) -> float:
        rising = max(1, round(self.n_steps * self.warmup))
        if step < rising:
            return (step + 1) / rising
        progress = (step - rising) / max(1, self.n_steps - rising)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


@dataclass(frozen=True)
class MovingAverage:
    """Take one step of exponential moving averages, in place; unlike the closure that torch makes, it can be pickled.

    Parameters
    ----------
    decay
        Share of the old average that stays.
    """

    decay: float

    @torch.no_grad()
    def __call__(self, averages: Sequence[Tensor], current: Sequence[Tensor], n_averaged: Tensor | int) -> None:
        for average, weight in zip(averages, current):
            average.lerp_(weight, 1 - self.decay)


class AveragedWeights(WeightAveraging):
    """Keep a moving average of the weights; this average is validated and is the result.

    Parameters
    ----------
    decay
        Decay of the average, per step.
    device
        Device of the average.
    """

    def __init__(self, decay: float, device: torch.device | None = None) -> None:
        # Buffers do not learn: an average of equal numbers would only round them.
        super().__init__(device=device, use_buffers=False, multi_avg_fn=MovingAverage(decay))

    @torch.no_grad()
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Put the average in place when the user stops the training, as at its end."""
        average = self._average_model
        # While cells validate, the average is already in place.
        if (
            isinstance(exception, KeyboardInterrupt)
            and average is not None
            and trainer.state.stage != RunningStage.VALIDATING
        ):
            kept = dict(average.module.named_parameters())
            for name, weight in pl_module.named_parameters():
                weight.copy_(kept[name])

    @property
    def state_key(self) -> str:
        """Name under which saved runs hold the state: that of Lightning's own average, which older runs used."""
        return "EMAWeightAveraging"


class OptimisedPlan(pl.LightningModule):
    """Base every training on AdamW with matrices decayed, warm-up and cosine, clipping, averaged weights.

    Parameters
    ----------
    config
        Choices of the optimisation.
    """

    def __init__(self, config: OptimiserChoices) -> None:
        super().__init__()
        self._choices = config

    def learning_rates(self) -> Mapping[str, float]:
        """Return peak learning rates by the first letters of a parameter's name; the first that fits counts.

        A rate of 0 keeps the parameters as they are.
        """
        return {"": self._choices.lr}

    def decayed(self) -> Collection[str]:
        """Return the names of the parameters that decay: the matrices."""
        return {name for name, parameter in self.named_parameters() if parameter.ndim == 2 and name.endswith("weight")}

    def n_steps(self) -> int:
        """Count the steps of the optimiser over which the schedule runs."""
        return max(1, int(self.trainer.estimated_stepping_batches))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build AdamW with matrices decayed and the rest not; the learning rate follows warm-up and cosine."""
        groups = parameter_groups(
            self.named_parameters(), self.learning_rates(), self.decayed(), self._choices.weight_decay
        )
        optimizer = torch.optim.AdamW(groups, lr=self._choices.lr, betas=_BETAS)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, WarmupCosine(self.n_steps(), self._choices.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip the norm of the whole gradient, wherever its shards lie."""
        strategy = self.trainer.strategy
        if isinstance(strategy, FSDPStrategy):
            strategy.model.clip_grad_norm_(self._choices.gradient_clip)  # type: ignore[union-attr, operator]
        else:
            self.clip_gradients(optimizer, self._choices.gradient_clip, "norm")

    def configure_callbacks(self) -> list[pl.Callback]:
        """Average the weights, where that is on."""
        if self._choices.ema_decay == 0:
            return []
        # Lightning makes the average before it moves the weights; without a device the average would stay on the CPU.
        device = None if self._trainer is None else self._trainer.strategy.root_device
        return [AveragedWeights(self._choices.ema_decay, device)]

    def log_loss(self, stage: str, loss: Tensor, parts: Mapping[str, Tensor], **options: Any) -> None:
        """Log a loss, also in the progress bar, and its parts.

        Parameters
        ----------
        stage
            ``"train"`` or ``"validation"``, with which every name begins.
        loss, parts
            The loss, and its parts by name.
        **options
            Options of :meth:`lightning.pytorch.LightningModule.log`.
        """
        self.log(f"{stage}_loss", loss, prog_bar=True, **options)
        for name, value in parts.items():
            self.log(f"{stage}_{name}", value, **options)


def parameter_groups(
    parameters: Iterable[tuple[str, nn.Parameter]],
    rates: Mapping[str, float],
    decayed: Collection[str],
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Sort parameters by learning rate and decay; leave out those without a rate, or frozen at the start.

    Parameters
    ----------
    parameters
        Parameters with their names.
    rates
        Learning rates; see :meth:`OptimisedPlan.learning_rates`.
    decayed
        Names of the parameters that decay.
    weight_decay
        Strength of the decay.

    Returns
    -------
    Groups as an optimiser of torch takes them; each parameter is in one group at most.
    """
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        for wrapper in _WRAPPERS:
            name = name.replace(wrapper, "")
        kind = next(prefix for prefix in rates if name.startswith(prefix))
        if rates[kind] > 0 and parameter.requires_grad:
            groups.setdefault((kind, name in decayed), []).append(parameter)
    return [
        {"params": members, "lr": rates[kind], "weight_decay": weight_decay if decays else 0.0}
        for (kind, decays), members in groups.items()
    ]
