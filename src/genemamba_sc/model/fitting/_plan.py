"""Define the training: optimiser, schedule, averaging, logging."""

import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from genemamba_sc._checks import finite_number, whole_number
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.training._callbacks import KeepBestWeights
from genemamba_sc.training._epoch_means import EpochMeans
from genemamba_sc.training._optimiser import OptimisedPlan

# Number of labelled cells below which a type is too small to be validated on.
FEWEST_OF_TYPE = 5


@dataclass(frozen=True)
class PlanConfig:
    """Configure the training.

    Parameters
    ----------
    lr
        Peak learning rate of AdamW.
    layer_lr
        Peak learning rate of the Mamba layers.
    table_lr
        Peak learning rate of the gene table; ``None`` takes 0 after a spectral start and ``lr`` after a random one. The
        table holds nearly all parameters and memorises a few thousand cells within two passes.
    weight_decay
        Decoupled weight decay of the matrices of table, layers and heads; norms, biases and the parameters of the scan
        are not decayed.
    warmup
        Share of the steps with a rising learning rate, after which it follows a cosine to zero.
    ema_decay
        Decay of the exponential moving average of the weights, per step; 0 switches it off. The averaged weights are
        the ones that are validated and kept.
    gradient_clip
        Largest norm of the gradient.
    mask_rate
        Share of the genes that training hides, among those that the layers read.
    mgm_weight, classification_weight
        Weights of the two objectives.
    label_smoothing
        Label smoothing of the cell-type cross-entropy.
    max_masked
        Largest number of hidden genes of a batch that enter the softmax over the vocabulary. ``train`` takes 32 where
        cell types are learned.
    """

    lr: float = 3e-3
    layer_lr: float = 1e-3
    table_lr: float | None = None
    weight_decay: float = 0.05
    warmup: float = 0.1
    ema_decay: float = 0.98
    gradient_clip: float = 1.0
    mask_rate: float = 0.15
    mgm_weight: float = 0.1
    classification_weight: float = 1.0
    label_smoothing: float = 0.0
    max_masked: int = 128

    @classmethod
    def of(cls, plan_kwargs: Mapping[str, Any] | None, **defaults: Any) -> "PlanConfig":
        """Combine the choices of a user with defaults that depend on the model.

        Parameters
        ----------
        plan_kwargs
            Fields by name.
        **defaults
            Fields that apply where ``plan_kwargs`` does not name them.

        Raises
        ------
        TypeError
            If ``plan_kwargs`` is no mapping.
        ValueError
            If a name is no field, or a value is out of range.
        """
        if plan_kwargs is not None and not isinstance(plan_kwargs, Mapping):
            raise TypeError(f"plan_kwargs must be a dict. Got {plan_kwargs!r}. Pass e.g. plan_kwargs={{'lr': 1e-3}}.")
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(plan_kwargs or {}) - set(known))
        if unknown:
            raise ValueError(f"plan_kwargs must name choices of the training. Got {unknown}. Choose among {known}.")
        # None means the default of the model, whoever passes it.
        given = {
            name: value for name, value in (plan_kwargs or {}).items() if value is not None or name not in defaults
        }
        return cls(**{**defaults, **given})

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name != "table_lr" or self.table_lr is not None:
                finite_number(field.name, getattr(self, field.name), f"Its default is {field.default!r}.")
        whole_number("max_masked", self.max_masked, 1)
        for name in ("lr", "layer_lr", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive. Got {getattr(self, name)!r}.")
        for name in ("table_lr", "weight_decay", "mgm_weight", "classification_weight"):
            if getattr(self, name) is not None and not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative. Got {getattr(self, name)!r}.")
        for name in ("warmup", "ema_decay", "mask_rate", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1). Got {getattr(self, name)!r}.")
        if self.mgm_weight == 0 and self.classification_weight == 0:
            raise ValueError("mgm_weight and classification_weight are both 0: nothing would be learned.")


class GeneMambaPlan(OptimisedPlan):
    """Train as a Lightning module: AdamW, warm-up and cosine, parts of the loss in ``history``.

    Parameters
    ----------
    module
        Module to train.
    config
        Choices of the training.
    keep_best
        Callback that restores the weights of the best epoch; ``None`` keeps those of the last one.
    """

    def __init__(self, module: GeneMambaModule, config: PlanConfig, keep_best: KeepBestWeights | None = None) -> None:
        super().__init__(config)
        self._keep_best = keep_best
        # Lightning keeps the mode it finds, and a model that was queried or loaded is in evaluation mode.
        self.module = module.train()
        self.config = config
        self._means = {"train": EpochMeans(), "validation": EpochMeans()}
        # This also switches it on again where an earlier training had kept the table as it was.
        self.module.encoder.embeddings.requires_grad_(config.table_lr != 0)

    def forward(self, batch: dict[str, Tensor]) -> Any:
        """Compute the loss of a minibatch, with ``mask_rate`` of its genes hidden."""
        config = self.config
        _, _, loss = self.module(
            batch,
            inference_kwargs={"mask_rate": config.mask_rate if config.mgm_weight > 0 else 0.0},
            loss_kwargs={
                "mgm_weight": config.mgm_weight,
                "classification_weight": config.classification_weight,
                "label_smoothing": config.label_smoothing,
                "max_masked": config.max_masked,
            },
        )
        return loss

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute the loss to minimise."""
        output = self(batch)
        self._log(output, "train")
        if self.trainer.is_last_batch:  # and not when the epoch has ended: the progress bar would be an epoch behind
            self._log_means("train")
        return output.loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the same loss on the held-out cells, with the same genes hidden in every epoch."""
        # Validation draws from its own fixed stream, so that epochs are comparable and the random numbers of training
        # do not depend on whether somebody validates.
        with torch.random.fork_rng(devices=_cuda_devices(self.device)):
            torch.manual_seed(batch_idx)
            output = self(batch)
        self._log(output, "validation")

    def _log(self, output: Any, stage: str) -> None:
        parts = {name: value for name, value in output.extra_metrics.items() if not torch.isnan(value)}
        self._means[stage].add({"loss": output.loss, **parts}, output.n_obs_minibatch)

    def on_validation_epoch_end(self) -> None:
        """Log the means of the validation, before early stopping reads them."""
        self._log_means("validation")

    def _log_means(self, stage: str) -> None:
        for name, (value, n_cells) in self._means[stage].take().items():
            options: dict[str, Any] = {"batch_size": n_cells, "sync_dist": self.trainer.world_size > 1}
            self.log(f"{stage}_{name}", value, prog_bar=name == "loss", on_step=False, on_epoch=True, **options)

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rates of the gene table, of the layers and of the rest."""
        config = self.config
        # A table with the rate of the rest is in their group, because the norm of the gradient is summed in that order.
        table = {} if config.table_lr is None else {"module.encoder.embeddings.": config.table_lr}
        return {**table, "module.encoder.layers.": config.layer_lr, "": config.lr}

    def configure_callbacks(self) -> list[pl.Callback]:
        """Average the weights and keep the best of them, where that is on."""
        # This order matters: restoring the best comes after the average, also when the training is interrupted.
        keeping: list[pl.Callback] = [] if self._keep_best is None else [self._keep_best]
        return [*super().configure_callbacks(), *keeping]


def default_max_epochs(n_train: int, *, learns_types: bool = False) -> int:
    """Choose the number of passes over the training cells: 4 from 2,500 cells on, more for fewer cells, at most 20.

    Parameters
    ----------
    n_train
        Number of training cells.
    learns_types
        Whether cell types are learned. Most is known from the fit that precedes training, so that there are fewer: 2
        from 1,500 cells on.
    """
    cells, least = (3_000, 2) if learns_types else (10_000, 4)
    return min(20, max(least, math.ceil(cells / max(1, n_train))))


def chooses_split(train_size: float | None, validation_size: float | None, further: Mapping[str, Any]) -> bool:
    """Tell whether a user leaves it to ``train`` which cells validate.

    Parameters
    ----------
    train_size, validation_size
        As in ``train``.
    further
        May hold ``external_indexing``.
    """
    return train_size is None and validation_size is None and further.get("external_indexing") is None


def default_train_size(labels: Integer[np.ndarray, "n"] | None, n_labels: int) -> float:
    """Choose the share of the cells that trains: 0.9, or 1 where a type has fewer than five labelled cells.

    Such a type cannot spare any cell for validation.

    Parameters
    ----------
    labels
        Codes of all cells; those not in ``[0, n_labels)`` mean no label. ``None`` where there are no labels.
    n_labels
        Number of types.
    """
    if labels is None or n_labels == 0:
        return 0.9
    cells = np.bincount(labels[(labels >= 0) & (labels < n_labels)], minlength=n_labels)
    return 1.0 if ((cells > 0) & (cells < FEWEST_OF_TYPE)).any() else 0.9


@contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt end a training as it ends any other Python code.

    Lightning turns ``KeyboardInterrupt`` into ``SystemExit`` and makes the process deaf to further interrupts.

    Raises
    ------
    KeyboardInterrupt
        If the training was interrupted.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler if handler is None else handler)
        raise KeyboardInterrupt("The training was interrupted.") from None


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
