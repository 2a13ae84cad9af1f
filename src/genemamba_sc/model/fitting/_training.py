"""Run the steps of ``GeneMambaModel.train``: split cells, set the start, train."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from scvi.train import Trainer, TrainRunner

from genemamba_sc.model.fitting._plan import PlanConfig, chooses_split, default_train_size, interruptible
from genemamba_sc.model.fitting._splitter import TokenDataSplitter
from genemamba_sc.model.fitting._start import CellTypeStart, program_tables, sample_genes, start_cell_types, start_genes
from genemamba_sc.model.registration._setup import training_codes
from genemamba_sc.model.registration._trained_cells import note_split
from genemamba_sc.training._callbacks import KeepBestWeights
from genemamba_sc.training._dataset import TokenDataset

# Hidden genes of a batch that are predicted beside cell types: these weigh ten times as much, and the softmax over the
# vocabulary takes a fifth of a step with 128.
_MASKED_BESIDE_TYPES = 32


def cells_to_train(model: Any) -> TokenDataset:
    """Make the tokens of the registered cells, with their labels and batches.

    Parameters
    ----------
    model
        The model, which holds its AnnData.

    Raises
    ------
    ValueError
        If there is no AnnData, or it lacks the labels that the model knows.
    """
    codes = training_codes(model)  # it refuses a model without cells, before they are read
    return TokenDataset(model._source(model.adata), codes)


def split_cells(
    model: Any,
    dataset: TokenDataset,
    train_size: float | None,
    validation_size: float | None,
    shuffle: bool,
    further: Mapping[str, Any],
) -> TokenDataSplitter:
    """Choose which cells train and which validate; parameters as in ``train``.

    Parameters
    ----------
    model, dataset
        The model, and its cells.
    train_size, validation_size, shuffle
        Choices of the split.
    further
        ``batch_size`` and ``external_indexing``.
    """
    if chooses_split(train_size, validation_size, further):
        train_size = default_train_size(dataset.columns.get("labels"), model.module.n_labels)
    return model._data_splitter_cls(dataset, train_size, validation_size, shuffle, **further)


def set_start(
    model: Any,
    dataset: TokenDataset,
    splitter: TokenDataSplitter,
    config: PlanConfig,
    *,
    within_batches: bool = False,
    show: bool = False,
) -> CellTypeStart | None:
    """Set what is known before the first step: the gene table, and the scores of markers and programs.

    Parameters
    ----------
    model
        Model whose module is set.
    dataset
        Dataset of all cells.
    splitter
        Splitter that tells which cells train.
    config
        Choices that tell whether cell types are learned.
    within_batches
        Whether the gene table is to hold what varies within batches only.
    show
        Whether progress bars may be drawn.

    Returns
    -------
    What the fit of the cell types found; ``None`` where none are learned.
    """
    gene_init = model.origin.table_start(model.gene_init_)
    sample = sample_genes(dataset, splitter.train_idx, within_batches=within_batches)
    if model.origin.needs_start:
        start_genes(model.module, sample, gene_init, show=show)
        model._origin = replace(model._origin, table_within_batches=within_batches)
    if "labels" not in dataset.columns or config.classification_weight == 0:
        return None
    tables, seed = program_tables(model.module, sample, gene_init), sample.seed
    del sample  # its tokens take a third of a gigabyte where there are many cells
    return start_cell_types(model.module, dataset, splitter.train_idx, splitter.val_idx, tables, seed, show=show)


def plan_config(model: Any, plan_kwargs: Mapping[str, Any] | None) -> PlanConfig:
    """Combine the choices of a user with the defaults of a model.

    Parameters
    ----------
    model
        The model.
    plan_kwargs
        Fields of :class:`PlanConfig` by name.
    """
    config = PlanConfig.of(plan_kwargs, table_lr=None if model.gene_init_ == "random" else 0.0)
    learns_types = bool(model.cell_types) and config.classification_weight > 0
    if learns_types and "max_masked" not in (plan_kwargs or {}):
        return replace(config, max_masked=_MASKED_BESIDE_TYPES)
    return config


def new_runner(
    model: Any,
    splitter: TokenDataSplitter,
    config: PlanConfig,
    *,
    early_stopping: bool,
    **settings: Any,
) -> "KeepingRunner":
    """Combine plan, cells and trainer.

    Parameters
    ----------
    model, splitter, config
        What is trained, on which cells, and how.
    early_stopping
        Whether to stop early, and to return to the best weights.
    **settings
        Arguments of :class:`scvi.train.TrainRunner` and of the trainer.
    """
    monitor = settings.get("early_stopping_monitor", "validation_loss")
    settings = {
        "early_stopping_monitor": monitor,
        # Accuracy is the only metric that we log and that is better when it is larger.
        "early_stopping_mode": "max" if monitor.endswith("accuracy") else "min",
        "early_stopping": early_stopping,
        "check_val_every_n_epoch": 1 if splitter.n_val > 0 else None,
        **settings,
    }
    best = KeepBestWeights(settings["early_stopping_monitor"], settings["early_stopping_mode"])
    plan = model._training_plan_cls(model.module, config, best if early_stopping else None)
    with quiet():
        return KeepingRunner(model, training_plan=plan, data_splitter=splitter, **settings)


class KeepingTrainer(Trainer):
    """End an interrupted training as a short one: scvi-tools' trainer, which keeps what was learned.

    Attributes
    ----------
    interrupted
        Whether the user stopped the training.
    """

    interrupted = False

    def fit(self, *args: Any, **kwargs: Any) -> None:
        """Train; note an interrupt of the user instead of raising it."""
        try:
            with interruptible():
                super().fit(*args, **kwargs)
        except KeyboardInterrupt:
            self.interrupted = True


class KeepingRunner(TrainRunner):
    """Run a training with :class:`KeepingTrainer`, as scvi-tools' runner does."""

    _trainer_cls = KeepingTrainer

    def __call__(self) -> None:
        """Train.

        Raises
        ------
        KeyboardInterrupt
            If the user stopped the training. The model is trained all the same, by what it has learned until then.
        """
        super().__call__()
        note_split(self.model)
        if self.trainer.interrupted:
            raise KeyboardInterrupt(
                f"The training was interrupted in epoch {self.trainer.current_epoch + 1}: what was learned is kept, "
                "and the model can predict."
            )


def run(model: Any, runner: "KeepingRunner") -> None:
    """Train; keep the curves, also after an interrupt.

    Raises
    ------
    KeyboardInterrupt
        If the user stopped it.
    """
    is_first = not model.history_
    try:
        with quiet():
            runner()
    finally:
        if is_first and model.is_trained_:
            # For a model that was trained before, scvi-tools only adds curves that it already has.
            model.history_ = getattr(model.trainer.logger, "history", model.history_)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress what Lightning and torch say at every training and no user can act on; keep errors and warnings."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        # Users who asked for more, or for less, than the default get it.
        if logger.level in (logging.NOTSET, logging.INFO):
            logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
