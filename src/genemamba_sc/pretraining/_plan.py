"""Define pretraining for Lightning: optimiser, schedule, draws that do not depend on the past, logging."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from genemamba_sc._checks import finite_number, whole_number
from genemamba_sc.nn import ObjectiveOutput
from genemamba_sc.training._optimiser import OptimisedPlan

_TABLE = "objectives.encoder.embeddings.weight"


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """Configure the optimisation.

    Parameters
    ----------
    n_steps
        Number of steps of the optimiser, over which the schedule runs.
    lr
        Peak learning rate of AdamW.
    table_lr
        Peak learning rate of the gene table. ``None`` takes the same as ``lr``; 0 keeps the table as it starts.
    start
        What the gene table starts from: the ``"spectral"`` factorisation of the corpus, or that table ``"denoised"``,
        shrunk to what halves of cells tell about each other.
    weight_decay
        Decoupled weight decay of matrices; norms, biases and the parameters of the scan are not decayed.
    warmup
        Share of the steps with a rising learning rate, after which it follows a cosine to zero.
    gradient_clip
        Largest norm of the gradient.
    ema_decay
        Decay of the moving average of the weights, per step. The averaged weights are then the result; 0 switches it
        off.
    seed
        Seed of everything that is drawn.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind or out of range.
    """

    n_steps: int
    lr: float = 1e-3
    table_lr: float | None = None
    start: Literal["spectral", "denoised"] = "denoised"
    weight_decay: float = 0.05
    warmup: float = 0.02
    gradient_clip: float = 1.0
    ema_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("n_steps", self.n_steps, 1)
        whole_number("seed", self.seed, 0)
        for name in ("lr", "table_lr", "weight_decay", "warmup", "gradient_clip", "ema_decay"):
            if name != "table_lr" or self.table_lr is not None:
                finite_number(name, getattr(self, name), "Its default works for most.")
        for name in ("lr", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive. Got {getattr(self, name)!r}. Its default works for most.")
        if self.start not in ("spectral", "denoised"):
            raise ValueError(f"start must be 'spectral' or 'denoised'. Got {self.start!r}. Choose one.")
        if self.table_lr is not None and not self.table_lr >= 0:
            raise ValueError(f"table_lr must not be negative. Got {self.table_lr!r}. Use 0 to keep the table as it is.")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative. Got {self.weight_decay!r}. Use 0 to switch it off.")
        for name in ("warmup", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1). Got {getattr(self, name)!r}. It is a share.")


class PretrainingPlan(OptimisedPlan):
    """Minimise the objectives; a run that continues from a saved state computes what it would have computed.

    What a batch draws (masks, dropout, negatives) is a function of the seed and of the batch's number in the whole run,
    not of what was drawn before. So no state of random numbers has to be saved, and two processes that take turns draw
    what one process draws that accumulates two batches.

    Parameters
    ----------
    objectives
        :class:`genemamba_sc.nn.PretrainingObjectives`, or a module that is called in the same way.
    config
        Choices of the optimisation.
    """

    def __init__(self, objectives: nn.Module, config: PretrainingConfig) -> None:
        super().__init__(config)
        self.objectives = objectives
        self.config = config
        if config.table_lr == 0:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(parameter.requires_grad and name != _TABLE)
        # The names are taken now: sharded parameters have lost their shape when the optimiser is made.
        self._decayed = frozenset(super().decayed())
        self._tokens, self._since = torch.zeros(()), 0.0

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute the loss to minimise."""
        with self._draws(batch_idx, stream=0) as generator:
            output: ObjectiveOutput = self.objectives(batch, generator)
        self._tokens = self._tokens + batch["lengths"].sum()  # on its device: nothing waits for it
        self._log(output, "train", {"on_step": True, "on_epoch": False})
        return output.loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss of held-out cells, with the same genes hidden each time."""
        with self._draws(batch_idx, stream=1) as generator:
            output: ObjectiveOutput = self.objectives(batch, generator)
        options = {"on_step": False, "on_epoch": True, "sync_dist": self.trainer.world_size > 1}
        self._log(output, "validation", {**options, "batch_size": len(batch["lengths"])})

    @contextmanager
    def _draws(self, batch_idx: int, stream: int) -> Iterator[torch.Generator]:
        """Seed everything that a batch draws by its number in the run, and keep the global stream as it was."""
        number = batch_idx * self.trainer.world_size + self.trainer.global_rank
        words = np.random.SeedSequence([self.config.seed, stream, number]).generate_state(2, np.uint32)
        seed = int(words[0]) << 31 | int(words[1]) >> 1
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)  # for what takes no generator: token dropout
            yield torch.Generator(self.device).manual_seed(seed)

    def _log(self, output: ObjectiveOutput, stage: str, options: dict[str, Any]) -> None:
        parts = {name: value.detach() for name, value in {**output.parts, **output.metrics}.items()}
        self.log_loss(stage, output.loss.detach(), parts, **options)

    def on_train_start(self) -> None:
        """Start the clock that measures the speed."""
        self._tokens, self._since = torch.zeros((), device=self.device), time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the learning rate, and the tokens per second of all processes, which are taken as equally busy."""
        every = self.trainer.log_every_n_steps * self.trainer.accumulate_grad_batches  # type: ignore[attr-defined]
        if (batch_idx + 1) % every:
            return
        n_tokens = float(self._tokens)
        now = time.perf_counter()
        rate = n_tokens * self.trainer.world_size / max(1e-9, now - self._since)
        self._tokens, self._since = torch.zeros((), device=self.device), now
        self.log("tokens_per_second", rate, prog_bar=True)
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rates of the gene table and of the rest."""
        config = self.config
        return {_TABLE: config.lr if config.table_lr is None else config.table_lr, "": config.lr}

    def decayed(self) -> frozenset[str]:
        """Return the names of the matrices, as they were before anything was sharded."""
        return self._decayed

    def n_steps(self) -> int:
        """Return the number of steps of the whole run, however many of them are done."""
        return self.config.n_steps


def recompute_activations(encoder: nn.Module) -> None:
    """Keep only the input of each layer, and compute the rest again in the backward pass.

    Parameters
    ----------
    encoder
        The encoder, whose ``layers`` are wrapped in place; the names in its state dict stay as they are.
    """
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

    layers = set(encoder.layers.children())  # type: ignore[union-attr]
    apply_activation_checkpointing(encoder, check_fn=lambda module: module in layers)
