"""The weights that are kept: those of the best epoch, as they were validated."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from genemamba_sc.training._callbacks import KeepBestWeights


class Counter(pl.LightningModule):
    """A weight that each epoch raises by one; the metric of epoch e is ``metrics[e]``."""

    def __init__(self, metrics: list[float], callbacks: list[pl.Callback]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.frozen = torch.nn.Parameter(torch.full((1,), 5.0), requires_grad=False)
        self.metrics, self.callbacks, self.validated = metrics, callbacks, []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return -self.weight.sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.weight.item())
        self.log("judged", self.metrics[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], lr=1.0)

    def configure_callbacks(self) -> list[pl.Callback]:
        return self.callbacks


def fit(metrics: list[float], callbacks: list[pl.Callback], **options: object) -> Counter:
    module = Counter(metrics, callbacks)
    cells = DataLoader(torch.zeros(1, 1), batch_size=1)
    trainer = pl.Trainer(
        max_epochs=len(metrics), accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **{"num_sanity_val_steps": 0, **options},
    )  # fmt: skip
    trainer.fit(module, cells, cells)
    return module


@pytest.mark.parametrize(
    ("metrics", "mode", "epoch"),
    [
        ([3.0, 1.0, 2.0, 4.0], "min", 2),
        ([3.0, 2.0, 1.0], "min", 3),
        ([1.0, 1.0, 1.0], "min", 1),
        ([1.0, 3.0, 2.0], "max", 2),
        ([float("nan"), 2.0, 3.0], "min", 2),
        ([float("nan"), float("nan")], "min", 2),
    ],
    ids=["in between", "last", "first of equals", "highest", "after a nan", "nothing but nan: the last"],
)
def test_the_weights_of_the_best_epoch_are_kept(metrics: list[float], mode: str, epoch: int):
    module = fit(metrics, [KeepBestWeights("judged", mode)])

    assert (module.weight.item(), module.frozen.item()) == (epoch, 5.0)
    assert module.validated == list(range(1, len(metrics) + 1))


@pytest.mark.parametrize("first", [True, False], ids=["before the average", "after it"])
def test_averaged_weights_are_kept_as_they_were_validated(first: bool):
    callbacks = [KeepBestWeights("judged"), EMAWeightAveraging(decay=0.5)]
    module = fit([3.0, 1.0, 2.0], callbacks if first else callbacks[::-1])

    assert module.validated[1] not in (1.0, 2.0, 3.0)  # an average
    assert module.weight.item() == module.validated[1]


def test_an_unknown_metric_leaves_the_last_weights():
    assert fit([3.0, 1.0, 2.0], [KeepBestWeights("another")]).weight.item() == 3.0


def test_the_check_before_the_first_epoch_does_not_count():
    module = fit([1.0, 2.0, 3.0], [KeepBestWeights("judged")], num_sanity_val_steps=1)

    assert module.validated[0] == 0.0
    assert module.weight.item() == 1.0
