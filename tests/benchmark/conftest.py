"""Cells and arguments that are small enough for every method."""

from collections.abc import Callable
from typing import Any

import pytest
from anndata import AnnData


@pytest.fixture
def small() -> dict[str, Any]:
    """Arguments of a small GeneMamba that is hardly trained."""
    model, train = {"d_model": 16, "context_len": 16}, {"max_epochs": 1, "accelerator": "cpu"}
    return {"model_kwargs": model, "train_kwargs": train, "on_progress": None}


@pytest.fixture
def cells(make_cells: Callable[..., AnnData]) -> AnnData:
    """90 cells of three types in two batches."""
    return make_cells(90)
