"""scvi-tools' methods on a model: they answer, or say in a sentence what to do instead."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel

Cells = Callable[..., AnnData]


@pytest.fixture
def alone(trained: GeneMambaModel, tmp_path: Path) -> GeneMambaModel:
    """A model without cells."""
    trained.save(tmp_path / "model")
    return GeneMambaModel.load(tmp_path / "model", adata=False, accelerator="cpu")


def test_the_registry_is_shown(trained: GeneMambaModel, capsys: pytest.CaptureFixture):
    trained.view_registry()
    shown = capsys.readouterr().out
    assert "cell_type" in shown and "monocyte" in shown
    trained.view_registry(hide_state_registries=True)
    assert "monocyte" not in capsys.readouterr().out
    trained.view_anndata_setup()
    assert "monocyte" in capsys.readouterr().out


def test_registered_values_are_returned(trained: GeneMambaModel):
    codes = trained.get_from_registry(trained.adata, "labels").ravel()
    assert np.array_equal(np.array(trained.cell_types)[codes], trained.adata.obs["cell_type"])
    trained.deregister_manager()
    assert trained.adata_manager is not None


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: model.view_registry(),
        lambda model: model.view_anndata_setup(),
        lambda model: model.deregister_manager(),
        lambda model: model.transfer_fields(AnnData(np.ones((2, 2)))),
    ],
    ids=["registry", "setup", "deregister", "transfer"],
)
def test_a_model_without_cells_says_that_it_needs_them(alone: GeneMambaModel, ask: Callable):
    with pytest.raises(ValueError, match=r"needs the AnnData of the model\. This model holds none\. Set one: model\."):
        ask(alone)


def test_cells_that_are_not_registered_have_no_registered_values(alone: GeneMambaModel, make_cells: Cells):
    with pytest.raises(ValueError, match=r"registered with this model\. Got another one\. Attach it: model\.adata = "):
        alone.get_from_registry(make_cells(), "labels")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: model.update_setup_method_args({"labels_key": "x"}), r"Got \{'labels_key': 'x'\}\. Call Gene"),
        (lambda model: model.get_normalized_expression(), r"models no counts, .* Normalise with scanpy"),
        (lambda model: model.differential_abundance(), r"compares no samples, .* count types with pandas\.crosstab"),
    ],
    ids=["setup", "expression", "abundance"],
)
def test_what_this_model_does_not_do_is_said_with_what_to_do(trained: GeneMambaModel, ask: Callable, message: str):
    with pytest.raises(NotImplementedError, match=message):
        ask(trained)


def test_registered_codes_are_those_of_this_model(make_cells: Cells):
    cells = make_cells()
    cells.obs["other"] = ["y", "x"] * 30
    GeneMambaModel.setup_anndata(cells, labels_key="cell_type")
    model = GeneMambaModel(cells)
    expected = model.get_from_registry(cells, "labels").copy()
    GeneMambaModel.setup_anndata(cells, labels_key="other")
    np.testing.assert_array_equal(model.get_from_registry(cells, "labels"), expected)
    assert expected.shape == (60, 1) and len(np.unique(expected)) > 2
