"""The training: optimiser, schedule, averaging, what is logged."""

import math
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from genemamba_sc._module import GeneMambaModule, gene_log_frequency
from genemamba_sc.data import TokenDataset, spectral_gene_table

# Cells the gene table is initialised from; the factorisation changes little beyond.
_INIT_CELLS = 20_000


@dataclass(frozen=True)
class PlanConfig:
    """Choices of the training.

    Parameters
    ----------
    lr
        Peak learning rate of AdamW.
    table_decay
        Decoupled weight decay of the gene table, per unit of learning rate. The table holds nearly all
        parameters and memorises the training cells unless it is held back.
    weight_decay
        Decoupled weight decay of the matrices of the layers and heads; norms, biases and the parameters of
        the scan are not decayed.
    warmup
        Share of the steps with a rising learning rate; a cosine to zero follows.
    ema_decay
        Decay of the exponential moving average of the weights, per step; 0 switches it off. The averaged
        weights are the ones that are validated and kept.
    gradient_clip
        Largest norm of the gradient.
    mask_rate
        Share of the genes hidden in training.
    mgm_weight, classification_weight
        Weights of the objectives.
    label_smoothing
        Of the cell-type cross-entropy.
    max_masked
        Most hidden genes of a batch that enter the softmax over the vocabulary.
    """

    lr: float = 5e-3
    table_decay: float = 20.0
    weight_decay: float = 0.01
    warmup: float = 0.1
    ema_decay: float = 0.98
    gradient_clip: float = 1.0
    mask_rate: float = 0.15
    mgm_weight: float = 0.1
    classification_weight: float = 1.0
    label_smoothing: float = 0.0
    max_masked: int = 512

    def __post_init__(self) -> None:
        for name in ("lr", "gradient_clip", "max_masked"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive. Got {getattr(self, name)!r}.")
        for name in ("table_decay", "weight_decay", "mgm_weight", "classification_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative. Got {getattr(self, name)!r}.")
        for name in ("warmup", "ema_decay", "mask_rate", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1). Got {getattr(self, name)!r}.")
        if self.mgm_weight == 0 and self.classification_weight == 0:
            raise ValueError("mgm_weight and classification_weight are both 0: nothing would be learned.")


class GeneMambaPlan(pl.LightningModule):
    """Lightning module: AdamW, warm-up and cosine, parts of the loss in ``history``.

    Parameters
    ----------
    module
        What is trained.
    config
        How.
    """

    def __init__(self, module: GeneMambaModule, config: PlanConfig) -> None:
        super().__init__()
        self.module = module
        self.config = config

    def forward(self, batch: dict[str, Tensor]) -> Any:
        """Loss of a minibatch, with ``mask_rate`` of its genes hidden."""
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
        """Loss to minimise."""
        output = self(batch)
        self._log(output, "train")
        return output.loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """The same loss on the cells held out, the same genes hidden in every epoch."""
        # Validation draws from its own fixed stream, so that epochs are comparable and training's random
        # numbers do not depend on whether somebody validates.
        with torch.random.fork_rng(devices=_cuda_devices(self.device)):
            torch.manual_seed(batch_idx)
            output = self(batch)
        self._log(output, "validation")

    def _log(self, output: Any, stage: str) -> None:
        options = {
            "on_step": False,
            "on_epoch": True,
            "batch_size": output.n_obs_minibatch,
            "sync_dist": self.trainer.world_size > 1,
        }
        self.log(f"{stage}_loss", output.loss, prog_bar=True, **options)
        for name, value in output.extra_metrics.items():
            if not torch.isnan(value):
                self.log(f"{stage}_{name}", value, **options)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over three groups of parameters; the learning rate follows warm-up and cosine."""
        optimizer = torch.optim.AdamW(parameter_groups(self.module, self.config), lr=self.config.lr, betas=(0.9, 0.98))
        n_steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, WarmupCosine(n_steps, self.config.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Clip the norm of the gradient."""
        self.clip_gradients(optimizer, gradient_clip_val=self.config.gradient_clip, gradient_clip_algorithm="norm")

    def configure_callbacks(self) -> list[pl.Callback]:
        """The averaging of the weights, where it is on."""
        return [EMAWeightAveraging(decay=self.config.ema_decay)] if self.config.ema_decay > 0 else []


@dataclass(frozen=True)
class WarmupCosine:
    """Factor of the learning rate at a step: linear warm-up, then a cosine to zero.

    Parameters
    ----------
    n_steps
        Steps in all.
    warmup
        Share of them that warms up.
    """

    n_steps: int
    warmup: float

    def __call__(self, step: int) -> float:
        rising = max(1, round(self.n_steps * self.warmup))
        if step < rising:
            return (step + 1) / rising
        progress = (step - rising) / max(1, self.n_steps - rising)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def parameter_groups(module: GeneMambaModule, config: PlanConfig) -> list[dict[str, Any]]:
    """Gene table, matrices, and everything that must not decay.

    Parameters
    ----------
    module
        Whose parameters are grouped; each stands in exactly one group.
    config
        The decays.
    """
    table = module.encoder.embeddings.weight
    matrices, plain = [], []
    for name, parameter in module.named_parameters():
        if parameter is table:
            continue
        is_matrix = parameter.ndim == 2 and name.endswith("weight")
        (matrices if is_matrix else plain).append(parameter)
    return [
        {"params": [table], "weight_decay": config.table_decay},
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def default_max_epochs(n_train: int, batch_size: int) -> int:
    """Passes that make about 1,000 steps, between 4 and 30.

    Parameters
    ----------
    n_train
        Training cells.
    batch_size
        Cells per step.
    """
    return int(min(30, max(4, math.ceil(1_000 * batch_size / max(1, n_train)))))


def initialise_from_cells(
    module: GeneMambaModule, dataset: TokenDataset, indices: np.ndarray, gene_init: str, seed: int = 0
) -> None:
    """Set the gene table and the gene frequencies from the training cells.

    Parameters
    ----------
    module
        Whose table is set.
    dataset
        All cells.
    indices
        The training cells; of more than 20,000 a fixed random subset is read.
    gene_init
        ``"spectral"`` or ``"random"``; the frequencies are set in both cases.
    seed
        Of the subset and of the solver.
    """
    rng = np.random.default_rng(seed)
    rows = indices if len(indices) <= _INIT_CELLS else np.sort(rng.choice(indices, _INIT_CELLS, replace=False))
    tokens = dataset.tokens(rows)
    config = module.encoder_config
    counts = np.bincount(tokens.ids.ravel(), minlength=config.vocab_size).astype(np.float32)
    table = np.zeros((config.vocab_size, config.d_model), dtype=np.float32)
    if gene_init == "spectral":
        table = spectral_gene_table(tokens, config.vocab_size, config.d_model, seed=seed)
    module.initialise_genes(torch.from_numpy(table), gene_log_frequency(torch.from_numpy(counts)))


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
