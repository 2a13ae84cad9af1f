"""Where weights come from decides what training starts with, and what a model may be asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel
from genemamba_sc.model._origin import Origin

Cells = Callable[..., AnnData]
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}


@pytest.mark.parametrize(
    ("origin", "knows_genes", "needs_start", "table"),
    [
        (Origin(), False, True, "spectral"),
        (Origin(is_trained=True), True, False, "spectral"),
        (Origin("mini"), True, True, None),
        (Origin("mini", has_gene_head=True), True, False, None),
        (Origin("mini", is_trained=True), True, False, None),
    ],
    ids=["new", "trained", "without a head", "with its head", "trained since"],
)
def test_what_follows_from_it(origin: Origin, knows_genes: bool, needs_start: bool, table: str | None):
    assert (origin.knows_genes, origin.needs_start, origin.table_start("spectral")) == (knows_genes, needs_start, table)


def test_a_model_says_where_its_weights_come_from(make_cells: Cells, tmp_path: Path):
    cells = make_cells()
    cells.var_names = GeneMambaModel.from_pretrained("mini").vocabulary.gene_ids[:40]
    GeneMambaModel.setup_anndata(cells, labels_key="cell_type")
    scratch = GeneMambaModel(cells)
    assert scratch.origin == Origin() and scratch.pretrained_ is None and not scratch.is_trained
    assert scratch.summary_string.endswith("Training status: Not Trained")
    model = GeneMambaModel.from_pretrained("mini", cells, accelerator="cpu")
    assert model.origin.name.startswith("mini of genemamba_sc") and not model.origin.has_gene_head
    assert model.pretrained_["origin"] == model.origin.name and len(model.pretrained_cells_) > 10_000
    assert (model.is_trained, model.is_trained_, model.origin.is_trained) == (True, False, False)
    assert model.summary_string.endswith("Training status: Pretrained")
    model.train(max_epochs=2, **QUIET)
    assert (model.is_trained_, model.origin.is_trained, model.origin.n_epochs) == (True, True, 2)
    model.save(tmp_path / "model")
    again = GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu")
    assert again.origin == model.origin and again.pretrained_ == model.pretrained_
    assert len(again.pretrained_cells_) == len(model.pretrained_cells_)


def test_a_fine_tuning_goes_on_after_saving_and_loading(trained: GeneMambaModel, make_cells: Cells, tmp_path: Path):
    """As without: the gene head that came along is not started anew, and the history grows."""
    trained.save_pretrained(tmp_path / "base")
    cells = make_cells()
    GeneMambaModel.setup_anndata(cells, labels_key="cell_type")
    model = GeneMambaModel.from_pretrained(tmp_path / "base", cells, accelerator="cpu")
    assert model.origin.has_gene_head
    model.save(tmp_path / "model")
    loaded = GeneMambaModel.load(tmp_path / "model", cells, accelerator="cpu")
    bias = loaded.module.gene_head.bias.detach().clone()
    loaded.train(max_epochs=0, **QUIET)
    assert np.array_equal(loaded.module.gene_head.bias.detach(), bias)
    assert loaded.origin.n_epochs == 0
    for n_epochs in (1, 2):
        loaded.train(max_epochs=1, **QUIET)
        assert loaded.origin.n_epochs == n_epochs
