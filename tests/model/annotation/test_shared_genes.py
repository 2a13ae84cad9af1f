"""A model of the genes that a query has, too: a new one, as if the reference had been cut by hand."""

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
import scvi
from anndata import AnnData

from genemamba_sc import GeneMambaModel

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]
QUICK = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture
def query(make_cells: Cells) -> AnnData:
    """Cells with 15 of 40 genes, by symbol, in another order, and one gene that nobody knows."""
    cells = make_cells(30, seed=5)[:, [2, 0, 1, *range(3, 15)]].copy()
    cells.var_names = [*cells.var.pop("symbol")[:-1], "NOWHERE"]
    return cells


@pytest.fixture
def reference(make_cells: Cells) -> AnnData:
    cells = make_cells(120)
    cells.var["ids"], cells.var_names = list(cells.var_names), cells.var["symbol"].to_numpy()
    return cells


def test_it_is_the_model_of_a_reference_that_was_cut_by_hand(fit: Fit, reference: AnnData, query: AnnData):
    setup = {"labels_key": "cell_type", "batch_key": "batch", "gene_id_key": "symbol"}
    model = fit(reference, setup=setup, model={"max_len": 30, "n_layer": 0})
    before, weights = model.predict_celltype(query, soft=True), model.module.state_dict()
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    scvi.settings.seed = 0
    found = model.refit_on_genes(query, **QUICK)
    cut = reference[:, [f"GENE{i}" for i in range(14)]].copy()
    by_hand = fit(cut, setup=setup, model={"max_len": 30, "n_layer": 0})
    assert found.vocabulary.fingerprint == by_hand.vocabulary.fingerprint and found.vocabulary.n_genes == 14
    np.testing.assert_array_equal(found.predict_celltype(query, soft=True), by_hand.predict_celltype(query, soft=True))
    assert found.max_len_ == 30 and found.module.encoder_config.n_layer == 0
    assert found.integration_ is not None and found.calibration_ is not None
    # The first model is as it was, and still trains on its own cells.
    assert all((weights[name] == tensor).all() for name, tensor in model.module.state_dict().items())
    np.testing.assert_array_equal(model.predict_celltype(query, soft=True), before)
    assert model.adata is reference and reference.n_vars == 40
    model.train(**QUICK)
    assert model.vocabulary.n_genes == 40


def test_a_loaded_model_with_its_cells_on_disk_is_refitted(
    fit: Fit, reference: AnnData, query: AnnData, tmp_path: Path
):
    fit(reference).save(tmp_path / "model")
    saved = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    reference.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    model = GeneMambaModel.load(tmp_path / "model", adata=backed, accelerator="cpu")
    found = model.refit_on_genes(query, **QUICK)
    assert found.vocabulary.n_genes == 14 and not found.adata.isbacked
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == saved


def test_what_cannot_be_refitted_is_refused(
    fit: Fit, reference: AnnData, query: AnnData, tmp_path: Path, unchecked: None
):
    model = fit(reference, max_epochs=0)
    with pytest.raises(ValueError, match=r"is for queries that lack genes of the model\. This one has all 40"):
        model.refit_on_genes(reference)
    with pytest.raises(ValueError, match="0 of 15 names in var_names are"):
        others = query.copy()
        others.var_names = [f"OTHER{i}" for i in range(15)]
        model.refit_on_genes(others)
    with pytest.raises(TypeError, match="query must be an AnnData"):
        model.refit_on_genes(["GENE1"])
    model.save(tmp_path / "model")
    for alone in (
        GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu"),
        GeneMambaModel.load_query_data(reference.copy(), model),
    ):
        with pytest.raises(ValueError, match=r"does not hold them\. Load it with them, in their order"):
            alone.refit_on_genes(query)
    with pytest.raises(ValueError, match=r"started from pretrained weights \(mini"):
        GeneMambaModel.from_pretrained("mini", accelerator="cpu").refit_on_genes(query)


def test_a_column_that_the_query_lacks_is_refused(fit: Fit, reference: AnnData, query: AnnData):
    model = fit(reference, setup={"labels_key": "cell_type", "gene_id_key": "symbol"}, model={"n_layer": 0})
    with pytest.raises(ValueError, match=r"gene_id_key must be a column of query\.var\. Got 'name'\. .*leave it out"):
        model.refit_on_genes(query, gene_id_key="name", **QUICK)
    for ask in (model.get_latent_representation, model.predict_celltype, model.annotate):
        with pytest.raises(ValueError, match=r"gene_id_key must name a column of adata\.var\. Got 'name'"):
            ask(query, gene_id_key="name")
