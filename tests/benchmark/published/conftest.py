"""Tiny files of the documented forms: 60 cells of three types, 40 genes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

MS_LABELS = "Factor Value[inferred cell type - authors labels]"


def tiny(n_obs: int = 60, n_vars: int = 40, seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(rng.poisson(2.0, (n_obs, n_vars)).astype(np.float32))
    adata = AnnData(counts, obs=pd.DataFrame(index=[f"cell{seed}_{i}" for i in range(n_obs)]))
    adata.var_names = [f"GENE{i}" for i in range(n_vars)]
    return adata


def logged(adata: AnnData) -> AnnData:
    linear = adata.X.multiply(1e4 / adata.X.sum(axis=1)).tocsr().astype(np.float32)
    adata.X = linear.log1p()
    return adata


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a set in its documented form, and return the folder."""

    def form(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, adata in FORMS[name]().items():
            adata.write_h5ad(folder / file)
        return folder

    return form


def _two(first: str, second: str, labels: str) -> dict[str, AnnData]:
    files = {}
    for seed, (file, n) in enumerate(((first, 40), (second, 20))):
        adata = logged(tiny(n, seed=seed))
        adata.obs[labels] = [f"type {i % 3}" for i in range(n)]
        files[file] = adata
    return files


def _hpancreas() -> dict[str, AnnData]:
    return _two("demo_train.h5ad", "demo_test.h5ad", "Celltype")


def _ms() -> dict[str, AnnData]:
    files = _two("c_data.h5ad", "filtered_ms_adata.h5ad", MS_LABELS)
    for adata in files.values():
        adata.var["gene_name"] = adata.var_names
        adata.var_names = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    return files


def _myeloid() -> dict[str, AnnData]:
    return _two("reference_adata.h5ad", "query_adata.h5ad", "cell_type")


def _one(file: str, labels: str, batch: str | None, n_batches: int = 2) -> dict[str, AnnData]:
    adata = tiny()
    adata.obs[labels] = [f"type {i % 3}" for i in range(60)]
    if batch is not None:
        adata.obs[batch] = [f"batch {i // 3 % n_batches}" for i in range(60)]
    return {file: adata}


def _immune() -> dict[str, AnnData]:
    files = _one("Immune_ALL_human.h5ad", "final_annotation", "batch")
    for adata in files.values():
        adata.layers["counts"] = adata.X.copy()
        logged(adata)
    return files


def _bmmc() -> dict[str, AnnData]:
    file = "GSE194122_openproblems_neurips2021_cite_BMMC_processed.h5ad"
    files = _one(file, "cell_type", "batch")
    files[file].var["feature_types"] = ["GEX"] * 30 + ["ADT"] * 10
    return files


def _perirhinal() -> dict[str, AnnData]:
    files = _one("Perirhinal Cortex.h5ad", "cell_type", "sample_id")
    for adata in files.values():
        adata.var["Gene"] = adata.var_names
        adata.var_names = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    return files


FORMS: dict[str, Callable[[], dict[str, AnnData]]] = {
    "hPancreas": _hpancreas,
    "MS": _ms,
    "Myeloid": _myeloid,
    "Myeloid_b": lambda: _one("myeloid_b_processed.h5ad", "celltype", None),
    "PBMC12k": lambda: _one("pbmc12k.h5ad", "str_labels", "batch"),
    "Immune": _immune,
    "BMMC": _bmmc,
    "COVID-19": lambda: _one("covid_subsampled.h5ad", "celltype", "batch"),
    "Perirhinal": _perirhinal,
    "Zheng68k": lambda: _one("Zheng68K.h5ad", "celltype", None),
}
