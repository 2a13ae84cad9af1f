"""Fixtures: real data where it lies, and tiny cells made here."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # light tests must not wait for these
    from anndata import AnnData

    from genemamba_sc import GeneMambaModel

_NOBODY = 65534


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where there is none."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", default))
    if not (folder / "cells").is_dir():
        pytest.skip(f"no real data at {folder}; set GENEMAMBA_TEST_DATA to the folder that holds cells/ and genes/")
    return folder


@pytest.fixture(scope="session")
def make_cells() -> Callable[..., "AnnData"]:
    """Make tiny labelled cells: 60 cells of 3 types in 2 batches, 40 human genes, counts; some cells have few genes."""
    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from scipy import sparse

    def make(n_obs: int = 60, n_vars: int = 40, seed: int = 0) -> AnnData:
        rng = np.random.default_rng(seed)
        types = np.arange(n_obs) % 3
        rates = np.tile(rng.gamma(2.0, 0.6, n_vars), (n_obs, 1))
        for kind in range(3):
            rates[types == kind, 5 * kind : 5 * kind + 5] += 8
        counts = rng.poisson(rates).astype(np.float32)
        counts[3::10, 20:] = 0
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical(np.array(["T cell", "B cell", "monocyte"])[types]),
                "batch": pd.Categorical(np.array(["first", "second"])[np.arange(n_obs) // 3 % 2]),
            },
            index=[f"cell{i}" for i in range(n_obs)],
        )
        symbols = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(n_vars)]})
        symbols.index = [f"ENSG{i:011d}" for i in range(1, n_vars + 1)]
        return AnnData(sparse.csr_matrix(counts), obs=obs, var=symbols)

    return make


@pytest.fixture(scope="session")
def fit() -> Callable[..., "GeneMambaModel"]:
    """Set up, build and train a tiny model in one call; a model for ``max_epochs=0`` is started and not trained."""
    import scvi

    from genemamba_sc import GeneMambaModel

    def train(
        adata: "AnnData",
        *,
        seed: int = 0,
        model: dict[str, Any] | None = None,
        setup: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> GeneMambaModel:
        scvi.settings.seed = seed
        GeneMambaModel.setup_anndata(adata, **({"labels_key": "cell_type"} if setup is None else setup))
        fitted = GeneMambaModel(adata, **{"d_model": 16, "context_len": 16, **(model or {})})
        fitted.train(**{"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, **arguments})
        return fitted

    return train


@pytest.fixture(scope="session")
def trained(make_cells: Callable[..., "AnnData"], fit: Callable[..., "GeneMambaModel"]) -> "GeneMambaModel":
    """A model with cell types and batches, for tests that only ask it."""
    return fit(make_cells(), setup={"labels_key": "cell_type", "batch_key": "batch"}, max_epochs=2)


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder nobody may write to; root, who may write everywhere, is an ordinary user meanwhile."""
    if not hasattr(os, "setresuid"):
        pytest.skip("rights of folders are those of POSIX here")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(_NOBODY, _NOBODY, 0)
    yield folder
    if is_root:
        os.setresuid(0, 0, 0)
    folder.chmod(0o755)
    shutil.rmtree(folder)
