"""The catalogue of what goes wrong at users' desks: each case works, or is refused with rule, value and way out."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba_sc import EncoderConfig, GeneMambaModel
from genemamba_sc.cli._main import main

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]
Change = Callable[[AnnData], AnnData]

QUICK: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(autouse=True)
def as_users_run_it() -> Iterator[None]:
    """Types are checked under test only: switched off, so that the messages users get are the ones that are seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def matrix(change: Callable[[np.ndarray], Any]) -> Change:
    def replace(adata: AnnData) -> AnnData:
        return AnnData(change(adata.X.toarray()), obs=adata.obs, var=adata.var)

    return replace


def one_value(value: float) -> Change:
    def put(dense: np.ndarray) -> np.ndarray:
        dense[7, 11] = value
        return dense

    return matrix(put)


def names(make: Callable[[int], str]) -> Change:
    def rename(adata: AnnData) -> AnnData:
        adata.var_names = [make(i) for i in range(adata.n_vars)]
        return adata

    return rename


def no_matrix(adata: AnnData) -> AnnData:
    return AnnData(obs=adata.obs, var=adata.var)


def subset(cells: slice, genes: slice) -> Change:
    return lambda adata: adata[cells, genes].copy()


ALL = slice(None)
MATRICES = {
    "0 cells": (subset(slice(0), ALL), ValueError, r"At least one cell and one gene.*0 cells and 40 genes.*filtered"),
    "0 genes": (subset(ALL, slice(0)), ValueError, r"At least one cell and one gene.*60 cells and 0 genes.*filtered"),
    "no matrix": (no_matrix, ValueError, r"adata\.X, which is None\. Pass layer="),
    "all zero": (matrix(np.zeros_like), ValueError, r"must hold expression; all 60 cells looked at.*layer='counts'"),
    "a negative value": (
        one_value(-1.0),
        ValueError,
        r"must not be negative; the smallest value of adata\.X is -1.*la",
    ),
    "NaN": (one_value(np.nan), ValueError, r"must be finite; adata\.X holds nan\. Remove or fill.*layer='counts'"),
    "infinite": (one_value(np.inf), ValueError, r"must be finite; adata\.X holds inf\. Remove or fill"),
    "z-scores": (
        matrix(lambda x: (x - x.mean(0)) / (x.std(0) + 1e-6)),
        ValueError,
        r"must not be negative; .* so it is scaled, centred or corrected.*adata\.raw\.to_adata\(\)",
    ),
    "text": (matrix(lambda x: x.astype(str)), ValueError, r"must be real numbers; this matrix has dtype <U.*astype"),
    "numbers as objects": (matrix(lambda x: x.astype(object)), ValueError, r"real numbers.*dtype object\. Convert it"),
    "complex numbers": (matrix(lambda x: x.astype(complex)), ValueError, r"must be real numbers.*complex128"),
    "no AnnData, a table": (lambda adata: adata.to_df(), TypeError, r"an AnnData\. Got DataFrame\. Read an h5ad file"),
    "no AnnData, a path": (lambda adata: "cells.h5ad", TypeError, r"an AnnData\. Got str\. Read an h5ad file with"),
    "nothing": (lambda adata: 3, TypeError, r"an AnnData\. Got int\. Read an h5ad file"),
}


@pytest.mark.parametrize(("change", "error", "message"), MATRICES.values(), ids=MATRICES)
def test_a_matrix_that_cannot_be_ranked_is_refused_in_training_and_in_queries(
    trained: GeneMambaModel, make_cells: Cells, change: Change, error: type[Exception], message: str
):
    bad = change(make_cells())
    with pytest.raises(error, match=message):
        GeneMambaModel.setup_anndata(bad)
    with pytest.raises(error, match=message):
        trained.get_latent_representation(bad)
    with pytest.raises(error, match=message):
        trained.predict_celltype(bad)


GENES = {
    "unknown names": (
        lambda i: f"FOO{i}",
        r"0 of 40 names in var_names are. They look like 'FOO0', 'FOO1'.*gene_id_key='symbol': there 40 of 40",
    ),
    "mouse ids": (
        lambda i: f"ENSMUSG{i:011d}",
        r"the vocabulary holds human genes.*one-to-one orthologues.*gene_id_key",
    ),
    "mouse symbols": (
        lambda i: ["Actb", "Gapdh", "Cd4", "Cd8a", "Malat1"][i] if i < 5 else f"Gene{i}",
        r"They look like 'Actb', 'Gapdh', 'Cd4' \(symbol, mouse.*orthologues",
    ),
    "transcripts": (lambda i: f"ENST{i:011d}", r"Ensembl transcripts or proteins: add the counts"),
}


@pytest.mark.parametrize(("make", "message"), GENES.values(), ids=GENES)
def test_a_query_without_a_known_gene_is_refused(
    trained: GeneMambaModel, make_cells: Cells, make: Callable[[int], str], message: str
):
    with pytest.raises(ValueError, match=f"(?s)The genes must be in the vocabulary.*{message}"):
        trained.get_latent_representation(names(make)(make_cells()))


def test_a_query_whose_genes_are_row_numbers_is_refused(trained: GeneMambaModel, make_cells: Cells):
    with pytest.raises(ValueError, match=r"those in var_names are only the numbers of the rows \(0 to 39\).*'symbol'"):
        trained.get_latent_representation(names(str)(make_cells()))


def column(values: Any) -> Change:
    def add(adata: AnnData) -> AnnData:
        adata.obs["mine"] = values
        return adata

    return add


SETUPS = {
    "missing layer": ({"layer": "counts"}, None, r"got 'counts', the layers are: none\. Pass one of these"),
    "missing labels": ({"labels_key": "type"}, None, r"labels_key='type' is not a column of adata\.obs, which has"),
    "missing batch": ({"batch_key": "lane"}, None, r"batch_key='lane' is not a column.*'batch'\]\. Name one of these"),
    "two label columns": ({"labels_key": ["cell_type"]}, None, r"labels_key=\['cell_type'\] is not a column"),
    "missing gene ids": ({"gene_id_key": "id"}, None, r"got 'id', the columns are: 'symbol'\. Pass one of these"),
    "one class": ({"labels_key": "mine"}, ["a"] * 60, r"has 1 cell type\(s\) \(\['a'\]\).*at least 2\. Leave labels_k"),
    "no label at all": (
        {"labels_key": "mine", "unlabeled_category": "?"}, ["?"] * 60, r"has 0 cell type\(s\).*Leave labels_key=None"),
    "labels that are NaN": (
        {"labels_key": "mine"}, [np.nan, *"ab" * 29, "a"], r"has 1 missing values.*unlabeled_category='Unknown'"),
    "labels of two kinds": (
        {"labels_key": "mine"}, [1, *"ab" * 29, "a"], r"text or numbers\. Got .* types int, str.*astype\(str\)\.$"),
    "batches that are NaN": ({"batch_key": "mine"}, [None, *"ab" * 29, "a"], r"has 1 missing values.*of their own\.$"),
    "an unlabelled category without labels": (
        {"unlabeled_category": "?"}, None, r"unlabeled_category='\?' was given without labels_key\. Name the column"),
}  # fmt: skip


@pytest.mark.parametrize(("setup", "values", "message"), SETUPS.values(), ids=SETUPS)
def test_a_setup_that_cannot_be_meant_is_refused(make_cells: Cells, setup: dict[str, Any], values: Any, message: str):
    adata = make_cells() if values is None else column(values)(make_cells())
    with pytest.raises(ValueError, match=message):
        GeneMambaModel.setup_anndata(adata, **setup)
    assert not adata.uns and "_scvi_labels" not in adata.obs


def test_a_vocabulary_of_another_kind_is_refused(make_cells: Cells):
    with pytest.raises(TypeError, match=r"vocabulary must be a GeneVocabulary\. Got str\. Read one with"):
        GeneMambaModel.setup_anndata(make_cells(), vocabulary="genes.tsv")


def test_an_unlabelled_category_that_no_cell_has_is_pointed_out(make_cells: Cells):
    with pytest.warns(
        UserWarning, match=r"'unknown' is not a value of adata\.obs\['cell_type'\].*'monocyte'.*how it is wri"
    ):
        GeneMambaModel.setup_anndata(make_cells(), labels_key="cell_type", unlabeled_category="unknown")


MODELS = {
    "max_len is text": ({"max_len": "a"}, TypeError, r"max_len must be a whole number\. Got 'a'\. Pass an integer"),
    "max_len is 0": ({"max_len": 0}, ValueError, r"max_len must be at least 1\. Got 0"),
    "max_len is a fraction": ({"max_len": 2.5}, TypeError, r"max_len must be a whole number\. Got 2\.5"),
    "d_model is text": ({"d_model": "a"}, ValueError, r"d_model must be an integer of at least 1\. Got 'a'"),
    "n_layer is negative": ({"n_layer": -1}, ValueError, r"n_layer must be an integer of at least 0\. Got -1"),
    "token_dropout is 1": ({"token_dropout": 1.0}, ValueError, r"token_dropout must lie in \[0, .*Got 1\.0\. Use 0"),
    "an unknown start": ({"gene_init": "pca"}, ValueError, r"gene_init must be one of .*'denoised'.* Got 'pca'"),
    "another vocabulary": (
        {"encoder_config": EncoderConfig(vocab_size=10)},
        ValueError,
        r"encoder_config\.vocab_size is 10, but the registered genes make a vocabulary of 44\. Use vocab_size=44",
    ),
    "a dict for a configuration": (
        {"encoder_config": {"d_model": 8}}, TypeError, r"must be an EncoderConfig\. Got dict\. Build one with"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), MODELS.values(), ids=MODELS)
def test_a_model_that_cannot_be_built_is_refused(
    make_cells: Cells, arguments: dict[str, Any], error: type[Exception], message: str
):
    adata = make_cells()
    GeneMambaModel.setup_anndata(adata)
    with pytest.raises(error, match=message):
        GeneMambaModel(adata, **arguments)


def test_a_model_needs_a_registered_anndata(make_cells: Cells):
    with pytest.raises(ValueError, match=r"Please set up your AnnData with GeneMambaModel\.setup_anndata first"):
        GeneMambaModel(make_cells())
    with pytest.raises(ValueError, match=r"needs an AnnData\. Got none\. Register one with"):
        GeneMambaModel()
    with pytest.raises(TypeError, match=r"needs an AnnData\. Got ndarray\. Read an h5ad file"):
        GeneMambaModel(np.zeros((3, 4)))


TRAININGS = {
    "max_epochs is text": ({"max_epochs": "a"}, TypeError, r"max_epochs must be a whole number\. Got 'a'"),
    "max_epochs is negative": ({"max_epochs": -1}, ValueError, r"max_epochs must be at least 0\. Got -1"),
    "max_epochs is a fraction": ({"max_epochs": 1.5}, TypeError, r"max_epochs must be a whole number\. Got 1\.5"),
    "batch_size is 0": ({"batch_size": 0}, ValueError, r"batch_size must be at least 1\. Got 0"),
    "batch_size is text": ({"batch_size": "a"}, TypeError, r"batch_size must be a whole number\. Got 'a'"),
    "train_size is 0": ({"train_size": 0}, ValueError, r"train_size must lie in \(0, 1\]\. Got 0\. Pass a share"),
    "train_size is above 1": ({"train_size": 54}, ValueError, r"train_size must lie in \(0, 1\]\. Got 54"),
    "train_size is text": ({"train_size": "a"}, TypeError, r"train_size must be a number\. Got 'a'"),
    "unknown plan_kwargs": (
        {"plan_kwargs": {"n_epochs_kl_warmup": 3}},
        ValueError,
        r"must name choices of the training\. Got \['n_epochs_kl_warmup'\]\. Choose among \['lr', ",
    ),
    "plan_kwargs is no dict": ({"plan_kwargs": 3}, TypeError, r"plan_kwargs must be a dict\. Got 3\. Pass e\.g\."),
    "a rate that is text": ({"plan_kwargs": {"lr": "a"}}, TypeError, r"lr must be a number\. Got 'a'\. Its default is"),
    "a negative rate": ({"plan_kwargs": {"lr": -1}}, ValueError, r"lr must be positive\. Got -1"),
    "nothing to learn": (
        {"plan_kwargs": {"mgm_weight": 0, "classification_weight": 0}}, ValueError, r"both 0: nothing would be learn"),
    "cells that do not exist": (
        {"datasplitter_kwargs": {"external_indexing": [np.arange(40), np.arange(40, 62)]}},
        IndexError,
        r"indices must lie in \[0, 60\), the number of cells\. Got 60",
    ),
    "an unknown argument": ({"epochs": 3}, TypeError, r"no argument 'epochs'. Did you mean max_epochs"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), TRAININGS.values(), ids=TRAININGS)
def test_a_training_that_cannot_be_meant_is_refused(
    make_cells: Cells, arguments: dict[str, Any], error: type[Exception], message: str
):
    adata = make_cells()
    GeneMambaModel.setup_anndata(adata)
    model = GeneMambaModel(adata, d_model=16)
    with pytest.raises(error, match=message):
        model.train(**{**QUICK, **arguments})
    assert not model.is_trained


QUERIES = {
    "a cell that does not exist": ({"indices": [60]}, IndexError, r"must lie in \[0, 60\), the number of.*Got 60"),
    "counting from the end": ({"indices": [-1]}, IndexError, r"Got -1\. .*negative numbers do not count from the end"),
    "a mask that is too short": ({"indices": [True] * 59}, ValueError, r"one value per cell, 60\. Got 59\. Make the m"),
    "fractions for cells": ({"indices": np.array([0.0, 1.0])}, TypeError, r"whole row numbers.*dtype float64\. Turn"),
    "names of cells": ({"indices": ["cell0"]}, TypeError, r"whole row numbers.*adata\.obs_names\.get_indexer"),
    "one number for cells": ({"indices": 5}, TypeError, r"list of whole row numbers.*Got 0 dimension"),
    "a table of cells": ({"indices": [[0, 1]]}, TypeError, r"list of whole row numbers.*Got 2 dimension"),
    "batch_size is 0": ({"batch_size": 0}, ValueError, r"batch_size must be at least 1\. Got 0"),
    "batch_size is negative": ({"batch_size": -1}, ValueError, r"batch_size must be at least 1\. Got -1"),
    "batch_size is text": ({"batch_size": "a"}, TypeError, r"batch_size must be a whole number\. Got 'a'"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), QUERIES.values(), ids=QUERIES)
def test_a_query_that_cannot_be_meant_is_refused(
    trained: GeneMambaModel, make_cells: Cells, arguments: dict[str, Any], error: type[Exception], message: str
):
    query = make_cells()
    for ask in (trained.get_latent_representation, trained.predict_celltype):
        with pytest.raises(error, match=message):
            ask(query, **arguments)
    assert not query.obsm


def test_an_untrained_model_is_not_asked(make_cells: Cells):
    adata = make_cells()
    GeneMambaModel.setup_anndata(adata, labels_key="cell_type")
    model = GeneMambaModel(adata)
    for ask in (model.get_latent_representation, model.predict_celltype):
        with pytest.raises(RuntimeError, match=r"not trained\. Call train\(\), or load\(\) a trained one"):
            ask()


def test_a_model_without_labels_predicts_none(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), setup={}, max_epochs=0)
    with pytest.raises(ValueError, match=r"set up without labels and knows no cell types\. Pass labels_key= to setup"):
        model.predict_celltype()


def test_a_query_without_the_layer_of_the_model_is_told_where_to_put_it(make_cells: Cells, fit: Fit):
    adata = make_cells()
    adata.layers["counts"] = adata.X
    model = fit(adata, setup={"layer": "counts"}, max_epochs=0)
    with pytest.raises(
        ValueError, match=r"reads adata\.layers\['counts'\].*layers here are \[\]\. Put the counts there"
    ):
        model.get_latent_representation(make_cells())


@pytest.mark.parametrize(
    ("name", "text"), [("cells.h5ad", "not HDF5"), ("table.csv", ",A,B\ncell1,1,2\n")], ids=["text file", "table"]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str):
    (tmp_path / name).write_text(text)
    assert main(["embed", str(tmp_path / name), str(tmp_path / "out.h5ad")]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{tmp_path / name} cannot be read as h5ad" in told.err and "rite it with adata.write_h5ad" in told.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


# -------------------------------------------------------- what is odd, and works


def test_cells_without_counts_are_embedded_predicted_and_trained_on(
    trained: GeneMambaModel, make_cells: Cells, fit: Fit
):
    adata = make_cells()
    dense = adata.X.toarray()
    dense[[0, 31]] = 0
    adata.X = sparse.csr_matrix(dense)
    found = trained.get_latent_representation(adata)
    assert np.isfinite(found).all() and not found[[0, 31]].any()
    np.testing.assert_allclose(trained.predict_celltype(adata, soft=True).sum(axis=1), 1.0, atol=1e-6)
    assert np.isfinite(fit(adata).get_latent_representation()).all()


def test_cells_without_a_known_gene_are_embedded_as_zero(trained: GeneMambaModel, make_cells: Cells):
    adata = make_cells()
    dense = adata.X.toarray()
    dense[0, :39], dense[0, 39] = 0, 5
    adata.X = sparse.csr_matrix(dense)
    adata.var_names = [*adata.var_names[:39], "unknown"]
    with pytest.warns(UserWarning, match=r"1 of 60 cells express no gene that the model knows.*min_counts=1"):
        found = trained.get_latent_representation(adata)
    assert not found[0].any() and found[1:].any(axis=1).all()


def test_genes_that_are_named_twice_are_one_gene(make_cells: Cells, fit: Fit):
    adata = make_cells()
    adata.var_names = [*adata.var_names[:39], adata.var_names[0]]
    model = fit(adata, setup={})
    assert model.vocabulary.n_genes == 39
    added = make_cells()[:, :39].copy()
    added.X = sparse.csr_matrix(added.X + sparse.hstack([adata.X[:, 39], sparse.csr_matrix((60, 38))]))
    np.testing.assert_allclose(
        model.get_latent_representation(adata), model.get_latent_representation(added), atol=1e-5
    )


@pytest.mark.parametrize("n_obs", [1, 2, 3])
def test_a_handful_of_cells_trains_and_is_embedded(make_cells: Cells, fit: Fit, n_obs: int):
    model = fit(make_cells(n_obs=n_obs), setup={})
    found = model.get_latent_representation()
    assert found.shape == (n_obs, 16) and np.isfinite(found).all() and found.any(axis=1).all()


def test_two_cells_of_two_types_train_a_classifier(make_cells: Cells, fit: Fit):
    model = fit(make_cells(n_obs=2))
    assert model.cell_types == ["B cell", "T cell"]
    np.testing.assert_allclose(model.predict_celltype(soft=True).sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    "batches", [["single"] + ["rest"] * 59, ["single"] + ["a"] * 30 + ["b"] * 29], ids=["of two", "of three"]
)
def test_a_batch_of_one_cell_trains(make_cells: Cells, fit: Fit, batches: list[str]):
    model = fit(column(batches)(make_cells()), setup={"labels_key": "cell_type", "batch_key": "mine"})
    assert np.isfinite(model.get_latent_representation()).all()


def test_a_last_minibatch_of_one_cell_trains(make_cells: Cells, fit: Fit):
    model = fit(make_cells(), setup={}, batch_size=53)
    assert len(model.train_indices) == 54
    assert np.isfinite(model.history["train_loss"].to_numpy(dtype=float)).all()


def test_one_cell_is_a_query(trained: GeneMambaModel, make_cells: Cells):
    assert trained.get_latent_representation(make_cells()[:1].copy()).shape == (1, 16)
    assert trained.predict_celltype(make_cells()[:1].copy()).shape == (1,)


def test_a_type_with_one_cell_trains(make_cells: Cells, fit: Fit):
    labels = np.where(np.arange(60) == 5, "rare", np.where(np.arange(60) % 2 == 0, "a", "b"))
    model = fit(column(labels)(make_cells()), setup={"labels_key": "mine"})
    assert model.cell_types == ["a", "b", "rare"]
    assert isinstance(model.predict_celltype(soft=True), pd.DataFrame)
