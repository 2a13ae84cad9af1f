"""The steps of train(): what is refused before any work, and what an interrupt leaves."""

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import lightning.pytorch as pl
import numpy as np
import pytest
import scvi
import torch
from anndata import AnnData

from genemamba_sc import GeneMambaModel
from genemamba_sc.model import _model
from genemamba_sc.model.fitting import _refit
from genemamba_sc.model.fitting._plan import GeneMambaPlan
from genemamba_sc.model.fitting._splitter import TokenDataSplitter
from genemamba_sc.model.fitting._training import plan_config
from genemamba_sc.training._dataset import TokenDataset

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 1e-3}, r"no argument 'lr'\. It is a choice of the training plan: pass plan_kwargs=\{'lr': 0\.001\}\."),
        ({"epochs": 5}, r"no argument 'epochs'\. Did you mean max_epochs\?"),
        ({"max_epoch": 5}, r"no argument 'max_epoch'\. Did you mean max_epochs\?"),
        ({"nonsense": 5}, r"no argument 'nonsense'\. Choices of the training plan go into plan_kwargs"),
        (
            {"datasplitter_kwargs": {"pin_memory": True}},
            r"datasplitter_kwargs must name choices of the split\. Got \['pin_memory'\]\. .*\['external_indexing'\]",
        ),
        ({"datasplitter_kwargs": {"train_size": 0.5}}, r"must not name arguments of train\(\)\. Got \['train_size'\]"),
        ({"datasplitter_kwargs": {"batch_size": 5}}, r"must not name arguments of train\(\)\. Got \['batch_size'\]"),
        ({"datasplitter_kwargs": [1, 2]}, r"datasplitter_kwargs must be a dict\. Got \[1, 2\]"),
    ],
    ids=["a choice of the plan", "of another package", "misspelt", "unknown", "unknown of the split",
         "a share of the split", "batches of the split", "no dict"],
)  # fmt: skip
def test_unknown_arguments_are_refused_before_any_work(make_cells: Cells, unchecked: None, arguments, message):
    adata = make_cells()
    GeneMambaModel.setup_anndata(adata)
    model = GeneMambaModel(adata, d_model=16)
    before = copy.deepcopy(model.module.state_dict())

    with pytest.raises(TypeError, match=message):
        model.train(**arguments)

    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "7-bit"}, r"Got precision='7-bit' \(ValueError: .*\)\. Leave them out for the defaults"),
        ({"limit_train_batches": -1, "log_every_n_steps": 3}, r"takes\. Got limit_train_batches=-1 \(Misconfiguration"),
        ({"strategy": "nonsense"}, r"Got strategy='nonsense' \("),
        ({"fast_dev_run": -1}, r"Got fast_dev_run=-1 \("),
        (
            {"early_stopping_monitor": "elbo_validation"},
            r"early_stopping_monitor .* Got 'elbo_validation'\. Choose among",
        ),
        ({"checkpointing_monitor": "accuracy"}, r"must name what this training logs.*'validation_accuracy'"),
        ({"gradient_clip_val": 0.5}, r"Got 0\.5\. .* clips gradients, at 1\.0: pass plan_kwargs"),
        ({"max_steps": 5}, r"train\(\) does not follow max_steps\. Got 5\. .*pass max_epochs=\."),
        ({"early_stopping_patience": -1}, r"early_stopping_patience must be at least 0\. Got -1"),
        (
            {"train_size": 0.5, "datasplitter_kwargs": {"external_indexing": [range(60)]}},
            r"so sizes say nothing\. Got train_size=0\.5 with it\. Leave out one",
        ),
        ({"early_stopping_mode": "largest"}, r"early_stopping_mode must be 'min' or 'max'\. Got 'largest'\. Pass one"),
    ],
)
def test_values_that_the_trainer_does_not_take_are_refused_before_any_fit(
    make_cells: Cells, fit: Fit, monkeypatch: pytest.MonkeyPatch, arguments, message
):
    monkeypatch.setattr(_model, "set_start", lambda *args, **kwargs: pytest.fail("it was fitted"))
    with pytest.raises(ValueError, match=message):
        fit(make_cells(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"early_stopping": "no"}, r"early_stopping must be True or False\. Got 'no'\. Pass one of these"),
        ({"shuffle_set_split": "no"}, r"shuffle_set_split must be True or False\. Got 'no'\. Pass one of these"),
        ({"early_stopping_patience": "a"}, r"early_stopping_patience must be a whole number\. Got 'a'"),
    ],
)
def test_choices_of_another_kind_are_refused_before_any_fit(
    make_cells: Cells, fit: Fit, monkeypatch: pytest.MonkeyPatch, unchecked: None, arguments, message
):
    monkeypatch.setattr(_model, "set_start", lambda *args, **kwargs: pytest.fail("it was fitted"))
    with pytest.raises(TypeError, match=message):
        fit(make_cells(), **arguments)


def test_a_trial_of_the_trainer_leaves_the_callbacks_of_the_user_alone(make_cells: Cells, fit: Fit):
    class Count(pl.Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer, pl_module):
            self.epochs += 1

    counting = Count()
    model = fit(make_cells(), max_epochs=2, callbacks=[counting], early_stopping_monitor="validation_accuracy")
    assert counting.epochs == 2 and model.trainer.callbacks.count(counting) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_refused_with_those_that_are(make_cells: Cells, fit: Fit):
    with pytest.raises(ValueError, match=r"what this machine has: accelerator='cpu'.*Got accelerator='gpu'"):
        fit(make_cells(), accelerator="gpu")


def test_arguments_of_the_trainer_still_reach_it(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), max_epochs=3, limit_train_batches=1, enable_model_summary=False)
    assert model.trainer.limit_train_batches == 1


# ------------------------------------------------- what a default depends on, and the refit


@pytest.mark.parametrize(
    ("labels_key", "plan_kwargs", "masked"),
    [
        (None, None, 128),
        ("cell_type", None, 32),
        ("cell_type", {"max_masked": 128}, 128),
        ("cell_type", {"classification_weight": 0.0}, 128),
    ],
    ids=["no types", "types", "chosen", "types that are not learned"],
)
def test_fewer_masked_genes_are_predicted_beside_cell_types(make_cells: Cells, labels_key, plan_kwargs, masked):
    adata = make_cells()
    GeneMambaModel.setup_anndata(adata, labels_key=labels_key)
    assert plan_config(GeneMambaModel(adata, d_model=16), plan_kwargs).max_masked == masked


def trained_on(make_cells: Cells, wrong: bool, **arguments: Any) -> GeneMambaModel:
    """A model of cells whose validation labels, rows 48 to 59, are right or not."""
    adata = make_cells()
    if wrong:
        names = adata.obs["cell_type"].astype(str).to_numpy()
        names[48:] = np.roll(np.unique(names), 1)[np.unique(names, return_inverse=True)[1]][48:]
        adata.obs["cell_type"] = names
    scvi.settings.seed = 0
    GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    model = GeneMambaModel(adata, d_model=16, context_len=16)
    split = [np.arange(48), np.arange(48, 60)]
    model.train(
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
        early_stopping=False,
        datasplitter_kwargs={"external_indexing": split},
        **arguments,
    )
    return model


@pytest.mark.parametrize(("refit", "reads"), [(None, False), (False, False), (True, True)])
def test_a_refit_reads_the_labels_of_validation_cells(make_cells: Cells, refit, reads):
    right, wrong = (trained_on(make_cells, is_wrong, refit=refit).module for is_wrong in (False, True))
    assert torch.equal(right.cell_type_head.markers, wrong.cell_type_head.markers) != reads
    # The encoder, and what it adds, never do.
    for (name, one), (_, other) in zip(right.named_parameters(), wrong.named_parameters(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize(
    ("arguments", "refits"),
    [({}, True), ({"train_size": 0.8}, False), ({"train_size": 0.8, "refit": True}, True), ({"refit": False}, False)],
    ids=["a split of train()", "a split of the user", "on demand", "switched off"],
)
def test_validation_cells_are_fitted_where_train_chose_them(
    make_cells: Cells, fit: Fit, monkeypatch, arguments, refits
):
    seen = []
    monkeypatch.setattr(_refit, "refit_on_all", lambda module, dataset, cells, start: seen.append(cells))
    model = fit(make_cells(), max_epochs=1, **arguments)
    assert len(seen) == refits
    if refits:
        everyone = np.concatenate([model.train_indices, model.validation_indices])
        assert sorted(seen[0].tolist()) == sorted(everyone.tolist())


def test_a_model_that_is_refitted_is_saved_and_trained_on(make_cells: Cells, fit: Fit, tmp_path: Path):
    model = fit(make_cells(), max_epochs=1)
    model.save(tmp_path / "model", save_anndata=True)
    again = GeneMambaModel.load(tmp_path / "model", accelerator="cpu")
    np.testing.assert_array_equal(again.predict_celltype(soft=True), model.predict_celltype(soft=True))
    again.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    assert len(again.history["validation_loss"]) == 2


# -------------------------------------------------------------- labels that are measurements


def test_a_measurement_as_labels_is_refused(make_cells: Cells, fit: Fit):
    adata = make_cells()
    adata.obs["score"] = np.linspace(0, 1, adata.n_obs)
    with pytest.raises(ValueError, match=r"adata\.obs\['score'\] has 60 different values in 60 cells"):
        fit(adata, setup={"labels_key": "score"})


def test_one_labelled_cell_of_each_of_many_types_trains(make_cells: Cells, fit: Fit):
    adata = make_cells()
    adata.obs["few"] = [f"type {i}" if i < 25 else "?" for i in range(adata.n_obs)]
    model = fit(adata, setup={"labels_key": "few", "unlabeled_category": "?"}, max_epochs=0)
    assert len(model.cell_types) == 25
    assert set(model.predict_celltype()) <= set(model.cell_types)


# ------------------------------------------------------------------ interrupt


def stop_after(n_steps: int) -> type[GeneMambaPlan]:
    """A plan whose user presses Ctrl-C after so many steps."""

    class Stopped(GeneMambaPlan):
        n_done = 0

        def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
            if self.n_done == n_steps:
                raise KeyboardInterrupt
            self.n_done += 1
            return super().training_step(batch, batch_idx)

    return Stopped


@pytest.mark.parametrize("early_stopping", [True, False])
def test_what_was_learned_before_an_interrupt_is_kept(make_cells: Cells, fit: Fit, capsys, early_stopping: bool):
    class Model(GeneMambaModel):
        _training_plan_cls = stop_after(5)  # two steps an epoch

    adata = make_cells()
    Model.setup_anndata(adata, labels_key="cell_type")
    model = Model(adata, d_model=16, context_len=16)
    with pytest.raises(KeyboardInterrupt, match=r"in epoch 3: what was learned is kept, and the model can predict\."):
        model.train(max_epochs=9, accelerator="cpu", enable_progress_bar=False, early_stopping=early_stopping)

    assert "NameError" not in capsys.readouterr().out
    assert model.is_trained and len(model.history["validation_loss"]) == 2
    assert len(model.train_indices) == 54
    assert (model.predict_celltype() == adata.obs["cell_type"].astype(str)).mean() > 0.9
    started = fit(make_cells(), max_epochs=0)
    layer = "encoder.layers.0.mixer.in_proj.weight"
    assert not torch.equal(model.module.state_dict()[layer], started.module.state_dict()[layer])


def test_the_average_of_the_weights_is_what_an_interrupt_keeps(make_cells: Cells):
    """Interrupted after five steps, a model is the average of the weights after each of these."""
    seen = []

    class Watched(stop_after(5)):
        def on_train_batch_end(self, *arguments: Any) -> None:
            seen.append(self.module.encoder.norm_f.weight.detach().clone())

    class Model(GeneMambaModel):
        _training_plan_cls = Watched

    adata = make_cells()
    Model.setup_anndata(adata, labels_key="cell_type")
    model = Model(adata, d_model=16, context_len=16)
    with pytest.raises(KeyboardInterrupt):
        model.train(
            max_epochs=9,
            accelerator="cpu",
            enable_progress_bar=False,
            early_stopping=False,
            plan_kwargs={"ema_decay": 0.5},
        )

    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.5 * expected + 0.5 * weight
    torch.testing.assert_close(model.module.encoder.norm_f.weight.detach(), expected)


# ----------------------------------------------------------- quiet, copies, parts


def test_training_says_nothing_of_loggers_and_devices(make_cells: Cells, fit: Fit, capfd):
    fit(make_cells())
    said = "".join(capfd.readouterr())
    assert not any(word in said for word in ("GPU available", "TPU", "Tip", "LeafSpec", "Trainer.fit")), said


def test_whoever_asks_lightning_to_speak_is_heard(make_cells: Cells, fit: Fit, caplog):
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(caplog.handler)
    try:
        fit(make_cells())
    finally:
        logger.setLevel(level)
        logger.removeHandler(caplog.handler)
    assert "GPU available" in caplog.text


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_a_trained_model_can_be_copied_and_pickled(make_cells: Cells, fit: Fit, copied):
    model = fit(make_cells())
    np.testing.assert_array_equal(copied(model).get_latent_representation(), model.get_latent_representation())


def test_a_subclass_can_swap_plan_splitter_and_module(make_cells: Cells):
    class Splitter(TokenDataSplitter):
        pass

    class Model(GeneMambaModel):
        _data_splitter_cls = Splitter

    adata = make_cells()
    Model.setup_anndata(adata)
    model = Model(adata, d_model=16)
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    assert type(model.trainer.datamodule) is Splitter


# ------------------------------------------------------------- spawned workers


@pytest.mark.parametrize("cached", [True, False], ids=["tokens in memory", "read from the file"])
@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
def test_cells_of_a_backed_file_reach_a_process_that_is_not_forked(
    make_cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool, dense: bool
):
    from genemamba_sc.training import _dataset

    if not cached:
        monkeypatch.setattr(_dataset, "_CACHE_BYTES", 0)
    adata = make_cells()
    if dense:
        adata.X = adata.X.toarray()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    GeneMambaModel.setup_anndata(backed)
    model = GeneMambaModel(backed, d_model=16)
    dataset = TokenDataset(model._source(backed), {})

    other = pickle.loads(pickle.dumps(dataset))

    assert len(other) == len(dataset) and other.vocabulary.size == dataset.vocabulary.size
    for name, value in dataset[[3, 0, 59]].items():
        assert torch.equal(other[[3, 0, 59]][name], value)


def test_spawned_workers_train_from_a_backed_file(make_cells: Cells, tmp_path: Path):
    import multiprocessing

    import scvi
    from torch.utils.data import DataLoader

    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    GeneMambaModel.setup_anndata(backed)
    dataset = TokenDataset(GeneMambaModel(backed, d_model=16)._source(backed), {})
    loader = DataLoader(
        dataset,
        sampler=[[0, 1], [5, 4]],
        batch_size=None,
        num_workers=1,
        multiprocessing_context=multiprocessing.get_context("spawn"),
    )
    batches = list(loader)
    assert scvi.settings.dl_num_workers == 0
    assert torch.equal(batches[1]["token_ids"], dataset[[5, 4]]["token_ids"])
