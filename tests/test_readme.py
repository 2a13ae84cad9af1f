"""The notebook cells of README.md, run as they stand on the data set they name."""

import re
from pathlib import Path

import anndata as ad
import matplotlib
import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


def cells() -> list[str]:
    """The Python blocks, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_notebook_cells_run_on_pbmc3k(real_data, tmp_path, monkeypatch: pytest.MonkeyPatch):
    matplotlib.use("Agg")
    adata = ad.read_h5ad(real_data / "cells" / "pbmc3k.h5ad")
    first, second, few_labels, integrated = cells()
    reference, query = adata[:700].copy(), adata[700:1000, ::-1].copy()
    truth = query.obs.pop("cell_type").astype(str)
    reference.write_h5ad(tmp_path / "pbmc3k.h5ad")
    monkeypatch.chdir(tmp_path)
    names: dict = {}

    exec(first, names)
    names["query"] = query
    exec(second, names)

    adata = names["adata"]
    assert adata.obsm["X_genemamba"].shape == (reference.n_obs, 64)
    assert adata.obsm["X_umap"].shape == (reference.n_obs, 2)
    assert (adata.obs["predicted"].astype(str) == adata.obs["cell_type"].astype(str)).mean() > 0.85
    assert (query.obs["predicted"].astype(str) == truth).mean() > 0.8
    assert names["model"].is_trained

    exec(few_labels, names)
    assert names["adata"].obsm["X_genemamba"].shape == (reference.n_obs, 64)
    assert names["model"].cell_types == sorted(truth.unique())

    # Any column can play the study; the cells are of one.
    for name in ("adata", "query"):
        names[name].obs["study"] = np.resize(["a", "b"] if name == "adata" else ["c"], names[name].n_obs)
    exec(integrated, names)
    assert names["adata"].obsm["X_genemamba"].shape == (reference.n_obs, 30)
    assert names["query"].obsm["X_genemamba"].shape == (query.n_obs, 30)
