"""The model that users hold: what it promises about its numbers, and what it leaves alone."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scvi
import torch
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import accuracy_score, f1_score

import genemamba_sc as gm
from genemamba_sc import GeneMambaModel
from genemamba_sc.model import GeneMambaPlan
from genemamba_sc.model.fitting import _training

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]

TYPES = ["B cell", "T cell", "monocyte"]
QUICK: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}


def latent(model: GeneMambaModel, adata: AnnData, **arguments: Any) -> np.ndarray:
    return model.get_latent_representation(adata, key_added=None, **arguments)


@pytest.fixture(scope="module")
def expected(trained: GeneMambaModel, make_cells: Cells) -> np.ndarray:
    return latent(trained, make_cells())


@pytest.fixture(scope="module")
def of_seed_3(fit: Fit, make_cells: Cells) -> np.ndarray:
    return latent(fit(make_cells(), seed=3), make_cells())


# ----------------------------------------------------------------- same numbers


def test_the_same_seed_gives_bit_identical_embeddings_and_another_seed_others(
    make_cells: Cells, fit: Fit, of_seed_3: np.ndarray
):
    assert np.array_equal(latent(fit(make_cells(), seed=3), make_cells()), of_seed_3)
    assert not np.array_equal(latent(fit(make_cells(), seed=4), make_cells()), of_seed_3)


@pytest.mark.parametrize("batch_size", [1, 7, 60], ids=["one cell per pass", "seven cells", "all, padded together"])
def test_an_embedding_does_not_depend_on_the_batch(
    trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray, batch_size: int
):
    lengths = np.diff(make_cells().X.indptr)
    assert lengths.min() < lengths.max() / 1.5  # so that cells are padded
    np.testing.assert_allclose(latent(trained, make_cells(), batch_size=batch_size), expected, atol=1e-5)


def test_an_embedding_does_not_depend_on_the_order_of_cells(
    trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray
):
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(latent(trained, make_cells()[order].copy()), expected[order], atol=1e-5)


def test_an_embedding_does_not_depend_on_the_order_of_genes(
    trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray
):
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_allclose(latent(trained, make_cells()[:, order].copy()), expected, atol=1e-5)


def in_memory(form: str) -> Callable[[sparse.csr_matrix], Any]:
    return {
        "csr_matrix": sparse.csr_matrix,
        "csc_matrix": sparse.csc_matrix,
        "csr_array": sparse.csr_array,
        "csc_array": sparse.csc_array,
        "dense": lambda matrix: matrix.toarray(),
        "dense, column by column": lambda matrix: np.asfortranarray(matrix.toarray()),
        "whole numbers": lambda matrix: matrix.astype(np.int32),
        "double precision": lambda matrix: matrix.astype(np.float64),
    }[form]


@pytest.mark.parametrize(
    "form",
    ["csr_matrix", "csc_matrix", "csr_array", "csc_array", "dense", "dense, column by column", "whole numbers",
     "double precision"],
)  # fmt: skip
def test_every_kind_of_matrix_gives_the_same(
    trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray, form: str
):
    adata = make_cells()
    adata.X = in_memory(form)(adata.X)
    np.testing.assert_allclose(latent(trained, adata), expected, atol=1e-5)


@pytest.mark.parametrize("form", ["csr_matrix", "csc_matrix", "dense"])
def test_a_backed_file_gives_the_same_and_unsorted_indices_in_the_asked_order(
    trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray, tmp_path: Path, form: str
):
    adata = make_cells()
    adata.X = in_memory(form)(adata.X)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    asked = [41, 3, 59, 0, 3]
    np.testing.assert_allclose(latent(trained, backed), expected, atol=1e-5)
    np.testing.assert_allclose(latent(trained, backed, indices=asked), expected[asked], atol=1e-5)
    soft = trained.predict_celltype(backed, indices=asked, soft=True)
    assert list(soft.index) == ["cell41", "cell3", "cell59", "cell0", "cell3"]


def test_a_model_trains_on_a_backed_file(make_cells: Cells, fit: Fit, of_seed_3: np.ndarray, tmp_path: Path):
    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    model = fit(anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r"), seed=3)
    assert np.array_equal(latent(model, make_cells()), of_seed_3)


@pytest.mark.parametrize(
    "indices",
    [
        np.array([5, 2, 9]),
        pd.Series([5, 2, 9]),
        pd.Index([5, 2, 9]),
        np.array([5, 2, 9], dtype=np.uint8),
    ],
    ids=["array", "series", "index", "small unsigned numbers"],
)
def test_every_kind_of_row_numbers_is_read(
    trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray, indices: Any
):
    np.testing.assert_allclose(latent(trained, make_cells(), indices=indices), expected[[5, 2, 9]], atol=1e-5)


def test_a_mask_takes_its_cells_in_the_order_of_the_file(
    trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray
):
    mask = (make_cells().obs["cell_type"] == "B cell").to_numpy()
    np.testing.assert_allclose(latent(trained, make_cells(), indices=mask), expected[mask], atol=1e-5)


def test_no_indices_give_no_rows(trained: GeneMambaModel, make_cells: Cells):
    assert latent(trained, make_cells(), indices=[]).shape == (0, 16)
    assert trained.predict_celltype(make_cells(), indices=[]).shape == (0,)


# ---------------------------------------------------------------------- queries


def test_a_query_needs_no_labels_and_may_have_new_batches(trained: GeneMambaModel, make_cells: Cells):
    query, encoded = make_cells(), latent(trained, make_cells(), integrated=False)
    query.obs = pd.DataFrame({"batch": ["never seen"] * 60}, index=query.obs_names)
    np.testing.assert_allclose(latent(trained, query, integrated=False), encoded, atol=1e-5)
    assert np.isfinite(latent(trained, query)).all()
    soft = trained.predict_celltype(query, soft=True)
    np.testing.assert_allclose(soft, trained.predict_celltype(make_cells(), soft=True), atol=1e-6)
    assert set(query.obs.columns) == {"batch"} and not query.uns


def test_missing_genes_are_as_genes_without_counts(trained: GeneMambaModel, make_cells: Cells):
    silent = make_cells()
    silent.X = sparse.csr_matrix(silent.X.toarray() * (np.arange(40) < 25))
    fewer = silent[:, 10:25].copy()
    silent.X = sparse.csr_matrix(silent.X.toarray() * (np.arange(40) >= 10))
    np.testing.assert_allclose(latent(trained, fewer), latent(trained, silent), atol=1e-5)


def test_unknown_genes_without_counts_change_nothing(trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray):
    query = make_cells()
    unknown = AnnData(sparse.csr_matrix((60, 7)), obs=query.obs, var=pd.DataFrame(index=[f"new{i}" for i in range(7)]))
    wider = anndata.concat([unknown, query], axis=1)
    assert wider.n_vars == 47
    wider.obs = query.obs
    np.testing.assert_allclose(latent(trained, wider), expected, atol=1e-5)


def test_shuffled_fewer_and_unknown_genes_are_predicted(trained: GeneMambaModel, make_cells: Cells):
    query = make_cells()[:, np.random.default_rng(0).permutation(40)[:34]].copy()
    query.var_names = [f"unknown{i}" if i < 4 else name for i, name in enumerate(query.var_names)]
    truth = query.obs.pop("cell_type").astype(str)
    assert np.mean(trained.predict_celltype(query) == truth) > 0.9


def test_columns_of_one_gene_are_added(trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray):
    halves = make_cells()
    halves.X = sparse.csr_matrix(halves.X.toarray() / 2)
    twice = anndata.concat([halves, halves], axis=1)
    twice.X = sparse.csr_matrix(twice.X.toarray() * 2)
    twice.obs = halves.obs
    np.testing.assert_allclose(latent(trained, twice), expected, atol=1e-5)


def test_a_layer_is_read_where_the_setup_says_so(make_cells: Cells, fit: Fit, of_seed_3: np.ndarray):
    adata = make_cells()
    adata.layers["counts"] = adata.X
    adata.X = sparse.csr_matrix(np.full((60, 40), -1.0, dtype=np.float32))
    model = fit(adata, setup={"labels_key": "cell_type", "layer": "counts"}, seed=3)
    assert np.array_equal(latent(model, adata), of_seed_3)


# ------------------------------------------------------- what is left alone


def test_training_leaves_the_data_as_they_are_but_for_the_keys_of_scvi_tools(make_cells: Cells, fit: Fit):
    adata, before = make_cells(), make_cells()
    matrix = adata.X
    fit(adata, setup={"labels_key": "cell_type", "batch_key": "batch"})
    assert adata.X is matrix and adata.X.dtype == np.float32
    assert (adata.X != before.X).nnz == 0
    assert set(adata.obs.columns) - set(before.obs.columns) == {"_scvi_batch", "_scvi_labels"}
    pd.testing.assert_frame_equal(adata.obs[list(before.obs.columns)], before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert set(adata.uns) == {"_scvi_uuid", "_scvi_manager_uuid"}
    assert not adata.obsm and not adata.layers


def test_embeddings_of_all_cells_are_written_under_the_key(trained: GeneMambaModel, make_cells: Cells):
    adata = make_cells()
    returned = trained.get_latent_representation(adata)
    assert list(adata.obsm) == ["X_genemamba"]
    assert np.array_equal(adata.obsm["X_genemamba"], returned)
    assert returned.shape == (60, 16) and returned.dtype == np.float32
    trained.get_latent_representation(adata, key_added="mine")
    assert set(adata.obsm) == {"X_genemamba", "mine"}


@pytest.mark.parametrize(
    "arguments",
    [{"key_added": None}, {"indices": [1, 0]}, {"indices": list(range(60))}],
    ids=["no key", "some cells", "all cells by their numbers"],
)
def test_nothing_is_written_when_not_asked(trained: GeneMambaModel, make_cells: Cells, arguments: dict[str, Any]):
    adata = make_cells()
    trained.get_latent_representation(adata, **arguments)
    trained.predict_celltype(adata)
    assert not adata.obsm and not adata.uns
    assert set(adata.obs.columns) == {"cell_type", "batch"}


def test_a_copy_of_a_registered_adata_does_not_break_the_original(make_cells: Cells, fit: Fit):
    adata = make_cells()
    model = fit(adata, setup={})
    before = latent(model, adata)
    copy = adata.copy()
    assert np.array_equal(latent(model, copy), before)
    GeneMambaModel.setup_anndata(copy, batch_key="batch")
    assert np.array_equal(latent(model, adata), before)
    model.train(**QUICK)
    assert len(model.history["train_loss"]) == 2


def test_several_adatas_and_models_live_side_by_side(make_cells: Cells, fit: Fit):
    left, right = make_cells(), make_cells(n_obs=45, n_vars=30, seed=9)
    first, second = fit(left), fit(right, setup={"labels_key": "batch"}, seed=1)
    third = fit(left, seed=2)
    assert first.cell_types == third.cell_types == TYPES
    assert second.cell_types == ["first", "second"]
    assert first.get_latent_representation().shape == (60, 16)
    assert second.get_latent_representation().shape == (45, 16)
    assert (first.vocabulary.n_genes, second.vocabulary.n_genes) == (40, 30)
    assert not np.array_equal(latent(first, left), latent(third, left))


def test_a_model_embeds_a_view(trained: GeneMambaModel, make_cells: Cells, expected: np.ndarray):
    adata = make_cells()
    np.testing.assert_allclose(latent(trained, adata[10:20]), expected[10:20], atol=1e-5)


def test_scanpy_takes_the_embedding(trained: GeneMambaModel, make_cells: Cells):
    adata = make_cells()
    trained.get_latent_representation(adata)
    sc.pp.neighbors(adata, use_rep="X_genemamba", n_neighbors=5, method="gauss")
    assert adata.obsp["connectivities"].shape == (60, 60)


# ------------------------------------------------------------------- cell types


def test_soft_predictions_are_probabilities_in_the_order_of_the_registry(trained: GeneMambaModel, make_cells: Cells):
    query = make_cells()
    soft = trained.predict_celltype(query, soft=True)
    assert list(soft.columns) == TYPES == trained.cell_types
    assert list(soft.index) == list(query.obs_names)
    np.testing.assert_allclose(soft.sum(axis=1), 1.0, atol=1e-6)
    hard = trained.predict(query)
    assert isinstance(hard, pd.Categorical) and list(hard.categories) == TYPES
    assert list(hard) == list(soft.idxmax(axis=1))
    assert np.mean(hard == query.obs["cell_type"].astype(str)) > 0.9


def test_predicted_types_have_the_order_of_the_reference_also_those_that_no_cell_has(make_cells: Cells, fit: Fit):
    cells = make_cells()
    order = ["monocyte", "T cell", "B cell"]
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.reorder_categories(order)
    model = fit(cells)
    query = make_cells()[1::3].copy()  # B cells only
    query.obs["predicted"] = model.predict_celltype(query)
    assert list(query.obs["predicted"].cat.categories) == order and not query.obs["predicted"].cat.ordered
    assert set(query.obs["predicted"]) == {"B cell"}


def test_predicted_types_are_compared_counted_and_indexed_as_an_array_is(trained: GeneMambaModel, make_cells: Cells):
    query = make_cells()
    query.obs["cell_type"] = query.obs["cell_type"].to_numpy()[[*range(57), 0, 0, 0]]
    predicted, truth = trained.predict_celltype(query), query.obs["cell_type"].astype("category")
    array = np.asarray(predicted)
    assert array.dtype == object and predicted.shape == (60,) and set(predicted) == set(TYPES)
    n_right = int((array == truth.to_numpy()).sum())
    assert 50 < n_right < 60  # some are wrong, so that equal numbers say something
    for known in (
        truth,
        truth.to_numpy(),
        truth.astype(str),
        truth.tolist(),
        truth.cat.reorder_categories(TYPES[::-1]),
    ):
        assert np.sum(predicted == known) == n_right == np.sum(known == predicted)
        assert accuracy_score(known, predicted) == n_right / 60
        assert f1_score(known, predicted, average="macro") == f1_score(truth.to_numpy(), array, average="macro")
    table = pd.crosstab(truth.to_numpy(), predicted)
    assert list(table.columns) == TYPES and np.trace(table) == n_right
    chosen = predicted[predicted == "B cell"]
    assert len(chosen) == (array == "B cell").sum() and set(chosen) == {"B cell"}
    with pytest.raises(TypeError, match="Categoricals can only be compared"):
        predicted == truth.cat.add_categories("platelet")  # noqa: B015


def test_cells_without_a_label_are_never_predicted_as_such(make_cells: Cells, fit: Fit):
    adata = make_cells()
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    labels[9:] = "Unknown"
    adata.obs["some"] = labels
    model = fit(adata, setup={"labels_key": "some", "unlabeled_category": "Unknown"})
    soft = model.predict_celltype(soft=True)
    assert list(soft.columns) == model.cell_types == TYPES
    np.testing.assert_allclose(soft.sum(axis=1), 1.0, atol=1e-6)
    assert np.mean(model.predict_celltype() == adata.obs["cell_type"].astype(str)) > 0.9


def test_a_head_that_learned_nothing_is_not_asked(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), plan_kwargs={"classification_weight": 0.0})
    with pytest.raises(ValueError, match=r"trained without its labels \(classification_weight=0\).*Train again with a"):
        model.predict_celltype()
    model.train(**QUICK)
    assert len(model.predict_celltype()) == 60


def test_a_split_without_a_label_to_train_on_is_refused(make_cells: Cells, fit: Fit):
    adata = make_cells()
    adata.obs["some"] = np.where(np.arange(60) < 40, "Unknown", adata.obs["cell_type"].astype(str))
    with pytest.raises(ValueError, match=r"40 training cells without any label\. Choose another split"):
        fit(
            adata,
            setup={"labels_key": "some", "unlabeled_category": "Unknown"},
            datasplitter_kwargs={"external_indexing": [np.arange(40), np.arange(40, 60)]},
        )


@pytest.mark.parametrize(
    ("values", "names"),
    [([10, 9, 100], [9, 10, 100]), ([True, False, True], [False, True])],
    ids=["numbers, not in the order of letters", "booleans"],
)
def test_labels_need_not_be_text(make_cells: Cells, fit: Fit, values: list[Any], names: list[Any]):
    adata = make_cells()
    adata.obs["code"] = np.array(values)[np.arange(60) % 3]
    model = fit(adata, setup={"labels_key": "code"})
    assert model.cell_types == names
    predicted = model.predict_celltype()
    assert np.mean(predicted == adata.obs["code"].to_numpy()) > 0.9
    assert list(predicted.categories) == names
    assert np.asarray(predicted).dtype == np.array(names).dtype
    assert list(model.predict_celltype(soft=True).columns) == names


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string"])
def test_labels_of_nullable_types_are_labels(make_cells: Cells, fit: Fit, dtype: str, tmp_path: Path):
    adata = make_cells()
    adata.obs["code"] = pd.array([0, 1, 1] * 20, dtype="Int64").astype(dtype)
    model = fit(adata, setup={"labels_key": "code"})
    adata.obs["predicted"] = model.predict_celltype()
    assert list(adata.obs["predicted"].cat.categories) == model.cell_types
    assert np.mean(np.asarray(adata.obs["predicted"]) == np.asarray(adata.obs["code"])) > 0.9
    del adata.obs["code"]  # older anndata writes no strings of pandas
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = anndata.read_h5ad(tmp_path / "cells.h5ad")
    assert list(again.obs["predicted"]) == list(adata.obs["predicted"])


# --------------------------------------------------------------------- training


def test_history_has_the_losses_of_training_and_validation(trained: GeneMambaModel):
    parts = ("loss", "mgm_loss", "classification_loss", "accuracy")
    assert set(trained.history) == {f"{stage}_{part}" for stage in ("train", "validation") for part in parts}
    for name, column in trained.history.items():
        assert list(column.columns) == [name] and len(column) == 2
        assert np.isfinite(column.to_numpy(dtype=float)).all()


def test_the_history_is_that_of_all_batches_of_its_epoch(make_cells: Cells):
    """Cells of equal weight, whatever the batch they were in; the last batch has fewer."""
    losses: list[tuple[int, float, int]] = []

    class Noted(GeneMambaPlan):
        def forward(self, batch: dict[str, Any]) -> Any:
            output = super().forward(batch)
            if self.trainer.training:
                losses.append((self.current_epoch, float(output.loss), output.n_obs_minibatch))
            return output

    class Model(GeneMambaModel):
        _training_plan_cls = Noted

    adata = make_cells()
    Model.setup_anndata(adata, labels_key="cell_type")
    model = Model(adata, d_model=16)
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False)

    expected = [sum(x * n for e, x, n in losses if e == epoch) / 54 for epoch in (0, 1)]
    assert sorted(n for _, _, n in losses) == [22, 22, 32, 32]
    np.testing.assert_allclose(model.history["train_loss"].iloc[:, 0].astype(float), expected, rtol=1e-5)


def test_history_without_labels_and_without_validation_has_what_there_is(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), setup={}, train_size=1.0)
    assert set(model.history) == {"train_loss", "train_mgm_loss"}
    assert len(model.train_indices) == 60 and len(model.validation_indices) == 0
    assert model.get_latent_representation().shape == (60, 16)


def test_early_stopping_stops_when_the_validation_loss_no_longer_falls(make_cells: Cells, fit: Fit):
    still = {"plan_kwargs": {"lr": 1e-12, "layer_lr": 1e-12}, "early_stopping_patience": 1, "max_epochs": 5}
    assert len(fit(make_cells(), setup={}, **still).history["validation_loss"]) < 4
    assert len(fit(make_cells(), setup={}, early_stopping=False, **still).history["validation_loss"]) == 5


@pytest.mark.parametrize("early_stopping", [True, False])
def test_early_stopping_keeps_the_weights_with_the_lowest_validation_loss(make_cells: Cells, fit: Fit, early_stopping):
    harmful = {"plan_kwargs": {"lr": 0.5, "warmup": 0.0, "ema_decay": 0.0}, "max_epochs": 4}
    model = fit(make_cells(), early_stopping=early_stopping, **harmful)
    losses = model.history["validation_loss"].iloc[:, 0].astype(float)
    assert losses.iloc[-1] > losses.min() + 1e-3

    (found,) = model.trainer.validate(
        model.trainer.lightning_module, datamodule=model.trainer.datamodule, verbose=False
    )

    expected = losses.min() if early_stopping else losses.iloc[-1]
    assert found["validation_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("mode", "kept"), [({}, max), ({"early_stopping_mode": "min"}, min)], ids=["largest", "asked"])
def test_of_accuracies_the_largest_is_kept_unless_the_smallest_is_asked_for(make_cells: Cells, fit: Fit, mode, kept):
    cells = make_cells(120)
    cells.obs["cell_type"] = cells.obs["cell_type"].to_numpy()[np.random.default_rng(0).permutation(120)]
    harmful = {"plan_kwargs": {"lr": 0.5, "warmup": 0.0, "ema_decay": 0.0}, "max_epochs": 4, "refit": False}
    model = fit(cells, early_stopping_monitor="validation_accuracy", train_size=0.6, **harmful, **mode)
    accuracies = list(model.history["validation_accuracy"].iloc[:, 0].astype(float))
    assert max(accuracies) > min(accuracies) + 0.05
    (found,) = model.trainer.validate(
        model.trainer.lightning_module, datamodule=model.trainer.datamodule, verbose=False
    )
    assert found["validation_accuracy"] == pytest.approx(kept(accuracies), abs=1e-6)


@pytest.mark.parametrize(
    ("gene_init", "told"), [("spectral", "spectral"), ("denoised", "denoised"), (None, None)],
    ids=["spectral", "denoised", "pretrained"],
)  # fmt: skip
def test_the_programs_are_told_how_the_table_started(
    make_cells: Cells, trained: GeneMambaModel, tmp_path, monkeypatch: pytest.MonkeyPatch, gene_init, told
):
    heard = []
    tables = _training.program_tables
    monkeypatch.setattr(_training, "program_tables", lambda *parts: heard.append(parts[2]) or tables(*parts))
    adata = make_cells()
    GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    if gene_init is None:
        trained.save_pretrained(tmp_path / "weights")
        model = GeneMambaModel.from_pretrained(tmp_path / "weights", adata=adata)
    else:
        model = GeneMambaModel(adata, gene_init=gene_init)

    model.train(max_epochs=0, accelerator="cpu")

    assert heard == [told]


def test_a_second_training_continues(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), setup={}, model={"gene_init": "random"}, plan_kwargs={"lr": 1e-9, "ema_decay": 0.0})
    after_first = model.get_gene_embeddings()
    fresh = model.get_gene_embeddings()
    fresh.iloc[:] = 0
    assert after_first.to_numpy().any() and model.get_gene_embeddings().equals(after_first)  # copies
    model.train(**QUICK, plan_kwargs={"lr": 1e-9, "ema_decay": 0.0})
    assert len(model.history["train_loss"]) == len(model.history["validation_loss"]) == 2
    np.testing.assert_allclose(model.get_gene_embeddings(), after_first, atol=1e-6)


def test_a_second_training_drops_tokens_as_the_first_did(make_cells: Cells, fit: Fit, monkeypatch: pytest.MonkeyPatch):
    modes = []
    step = GeneMambaPlan.training_step

    def watched(plan: GeneMambaPlan, *args: Any) -> torch.Tensor:
        modes.append(plan.module.training)
        return step(plan, *args)

    monkeypatch.setattr(GeneMambaPlan, "training_step", watched)
    model = fit(make_cells(), setup={})
    assert not model.module.training
    model.get_latent_representation()
    model.train(**QUICK)
    assert modes == [True] * 4


def test_no_epoch_gives_a_usable_start(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), max_epochs=0)
    assert model.is_trained and model.history == {}
    assert np.linalg.matrix_rank(model.get_latent_representation()) > 8
    assert np.mean(model.predict_celltype() == model.adata.obs["cell_type"].astype(str)) > 0.9


def test_training_changes_the_layers_and_lowers_the_loss(make_cells: Cells, fit: Fit):
    start, model = fit(make_cells(), max_epochs=0), fit(make_cells(), max_epochs=8, early_stopping=False)
    before = dict(start.module.named_parameters())
    moved = {name for name, value in model.module.named_parameters() if not torch.equal(value, before[name])}
    assert set(before) - moved <= {"encoder.embeddings.weight"}  # the table keeps its spectral start
    losses = model.history["train_loss"].to_numpy(dtype=float).ravel()
    assert losses[-2:].mean() < losses[:2].mean()


def test_the_split_can_be_named(make_cells: Cells, fit: Fit):
    parts = [np.arange(40), np.arange(40, 50), np.arange(50, 60)]
    model = fit(make_cells(), setup={}, datasplitter_kwargs={"external_indexing": parts})
    assert [len(part) for part in parts] == [40, 10, 10]
    assert np.array_equal(model.train_indices, parts[0])
    assert np.array_equal(model.validation_indices, parts[1])


def test_an_interrupt_ends_the_training_as_one_and_can_be_followed_by_another(
    make_cells: Cells, fit: Fit, monkeypatch: pytest.MonkeyPatch
):
    handler = signal.getsignal(signal.SIGINT)

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    adata = make_cells()
    with monkeypatch.context() as patch:
        patch.setattr(GeneMambaPlan, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 1: what was learned is kept"):
            fit(adata, setup={})
    assert signal.getsignal(signal.SIGINT) is handler
    assert fit(adata, setup={}).is_trained


def test_two_epochs_more_for_fewer_cells():
    from genemamba_sc.model.fitting._plan import default_max_epochs

    assert [default_max_epochs(n) for n in (1, 500, 800, 2_500, 1_000_000)] == [20, 20, 13, 4, 4]


def test_gene_embeddings_are_named_by_the_genes(trained: GeneMambaModel):
    table = trained.get_gene_embeddings()
    assert table.shape == (40, 16)
    assert list(table.index) == list(trained.vocabulary.gene_ids)
    weight = trained.module.encoder.embeddings.weight.detach().numpy()
    assert np.array_equal(table.loc["ENSG00000000003"], weight[trained.vocabulary.token_of("ENSG00000000003")])


def test_what_was_registered_can_be_looked_at(trained: GeneMambaModel, capsys: pytest.CaptureFixture[str]):
    trained.view_anndata_setup()
    assert "'labels_key': 'cell_type'" in capsys.readouterr().out


def test_the_width_needs_no_thought_of_heads(make_cells: Cells, fit: Fit):
    config = fit(make_cells(), setup={}, model={"d_model": 24}, max_epochs=0).module.encoder_config
    assert (config.d_model, config.headdim) == (24, 8)


def test_no_seed_and_no_thread_count_is_changed(make_cells: Cells, fit: Fit):
    adata = make_cells()
    scvi.settings.seed = 0
    GeneMambaModel.setup_anndata(adata)
    threads = torch.get_num_threads()
    np.random.seed(7)
    expected_draw = np.random.RandomState(7).random_sample()
    model = GeneMambaModel(adata, d_model=16)
    model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    model.get_latent_representation()
    assert np.random.random_sample() == expected_draw
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("unlabeled", ["-1", -1, "Unknown"])
def test_labels_that_are_numbers_have_a_number_for_no_label(make_cells: Cells, fit: Fit, unlabeled: Any):
    adata = make_cells()
    adata.obs["code"] = np.arange(adata.n_obs) % 3 - (0 if unlabeled == "Unknown" else 1)
    model = fit(adata, setup={"labels_key": "code", "unlabeled_category": unlabeled}, max_epochs=0)
    assert sorted(model.cell_types) == ([0, 1, 2] if unlabeled == "Unknown" else [0, 1])
    assert set(model.predict_celltype().tolist()) <= set(model.cell_types)


def test_labels_that_expression_does_not_tell_are_predicted_with_a_warning(make_cells: Cells, fit: Fit):
    adata = make_cells()
    adata.X[:] = adata.X[0]
    adata.obs["coin"] = np.where(np.arange(adata.n_obs) % 2 == 0, "heads", "tails")
    model = fit(adata, setup={"labels_key": "coin"}, max_epochs=0)
    if model.module.cell_type_head.tells_types:
        pytest.skip("the solver told identical cells apart on this machine")
    with pytest.warns(UserWarning, match="did not tell the labels apart"):
        assert set(model.predict_celltype()) <= {"heads", "tails"}


def test_a_single_batch_is_said_to_have_nothing_to_integrate(make_cells: Cells):
    cells = make_cells()
    cells.obs["batch"] = "only"
    with pytest.warns(UserWarning, match=r"obs\['batch'\] has one batch only \('only'\): there is nothing") as caught:
        GeneMambaModel.setup_anndata(cells, batch_key="batch")
    assert caught[0].filename == __file__


def test_a_view_of_a_backed_file_is_embedded_and_not_written_to(trained: Any, make_cells: Cells, tmp_path: Path):
    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.warns(UserWarning, match=r"obsm\['X_genemamba'\] was not written"):
        found = trained.get_latent_representation(backed[:5])
    np.testing.assert_allclose(found, trained.get_latent_representation(make_cells())[:5], atol=1e-5)


# -------------------------------------------------------------------- real data


def test_cell_types_of_held_out_blood_cells_are_found_after_one_epoch(real_data: Path, fit: Fit):
    adata = anndata.read_h5ad(real_data / "cells" / "pbmc3k.h5ad")
    adata = adata[:, np.argsort(-adata.X.getnnz(axis=0))[:2000]]  # all of its genes would take four times as long
    chosen = np.random.default_rng(0).permutation(adata.n_obs)[:400]
    reference, query = adata[chosen[:300]].copy(), adata[chosen[300:]].copy()
    model = fit(reference, model={"d_model": 32, "max_len": 1024, "context_len": 64})
    truth = query.obs.pop("cell_type").astype(str)
    assert np.mean(model.predict_celltype(query) == truth) > 0.7


def test_log_normalised_dense_cells_are_embedded(real_data: Path, fit: Fit):
    adata = anndata.read_h5ad(real_data / "cells" / "dendritic_lognorm.h5ad")
    linear = adata.copy()
    linear.X = adata.X.expm1()
    adata.X = adata.X.toarray()
    model = fit(adata, max_epochs=0)
    found = model.get_latent_representation()
    assert found.shape == (576, 16) and np.isfinite(found).all()
    # The logarithm leaves the last digit open, and with it the order of two genes that are nearly tied; no more than
    # that: no gene falls into another bin.
    assert np.abs(latent(model, linear) - found).max() < 2e-3
    assert gm.check_genes(adata, model.vocabulary).share_of_genes > 0.99
