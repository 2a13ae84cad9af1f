"""Cell types of a model: those that occur, in the order of their column, without the value that means "no label"."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel
from genemamba_sc.model.registration._setup import training_codes

Cells = Callable[..., AnnData]


def set_up(make_cells: Cells, labels: Any, unlabeled: Any = None) -> GeneMambaModel:
    adata = make_cells(n_obs=12)
    adata.obs["cell_type"] = labels
    GeneMambaModel.setup_anndata(adata, labels_key="cell_type", unlabeled_category=unlabeled)
    return GeneMambaModel(adata)


def test_types_without_a_cell_are_none(make_cells: Cells) -> None:
    labels = pd.Categorical(["b", "d", "b", "d"] * 3, categories=["d", "c", "b", "a"])
    model = set_up(make_cells, labels)
    assert model.cell_types == ["d", "b"]
    assert model.module.n_labels == 2
    np.testing.assert_array_equal(training_codes(model)["labels"], [1, 0, 1, 0] * 3)


@pytest.mark.parametrize(
    ("labels", "unlabeled", "types", "codes"),
    [
        (["z", "m", "b", "a"], "m", ["a", "b", "z"], [2, 3, 1, 0]),
        ([3, 0, 1, 2], 0, [1, 2, 3], [2, 3, 0, 1]),
        ([3.0, -1.0, 1.0, 2.0], "-1", [1.0, 2.0, 3.0], [2, 3, 0, 1]),
        (["z", "y", "b", "a"], "none", ["a", "b", "y", "z"], [3, 2, 1, 0]),
    ],
    ids=["text", "zero", "text of a float", "no cell has it"],
)
@pytest.mark.filterwarnings("ignore:unlabeled_category='none'")
def test_types_stay_in_order_beside_cells_without_a_label(
    make_cells: Cells, labels: list, unlabeled: Any, types: list, codes: list
) -> None:
    model = set_up(make_cells, labels * 3, unlabeled)
    assert model.cell_types == types
    np.testing.assert_array_equal(training_codes(model)["labels"], codes * 3)


@pytest.mark.parametrize("unlabeled", ["a", "Unknown", None])
@pytest.mark.parametrize("labels", [["c", "a", "b"] * 4, [2, 0, 1] * 4, [2.0, 0.0, 1.0] * 4])
@pytest.mark.filterwarnings("ignore:unlabeled_category")
def test_a_saved_model_has_the_same_types_for_its_own_cells(
    make_cells: Cells, tmp_path: Path, labels: list, unlabeled: str | None
) -> None:
    model = set_up(make_cells, labels, unlabeled)
    model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    model.save(tmp_path / "model")
    adata = model.adata.copy()
    loaded = GeneMambaModel.load(tmp_path / "model", adata=adata, accelerator="cpu")
    assert loaded.cell_types == model.cell_types
    np.testing.assert_array_equal(training_codes(loaded)["labels"], training_codes(model)["labels"])


def test_cells_of_few_types_do_not_change_those_of_a_loaded_model(make_cells: Cells, tmp_path: Path) -> None:
    model = set_up(make_cells, ["c", "a", "b"] * 4)
    model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    model.save(tmp_path / "model")
    query = make_cells(n_obs=12)
    query.obs["cell_type"] = ["b", "c"] * 6
    loaded = GeneMambaModel.load(tmp_path / "model", adata=query, accelerator="cpu")
    assert loaded.cell_types == ["a", "b", "c"]
    np.testing.assert_array_equal(training_codes(loaded)["labels"], [1, 2] * 6)
