"""Cells with planted groups of genes, and a model of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import scvi
from anndata import AnnData
from scipy import sparse

# Before the tests import the package, its types are to be checked: older versions of jaxtyping come too late otherwise.
if TYPE_CHECKING:
    from genemamba_sc import GeneMambaModel

GROUPS = 4


def planted(n_obs: int = 300, n_vars: int = 120, seed: int = 0) -> AnnData:
    """Genes 0 to 39 in four groups of ten, each driven by a factor of its own; the others are independent."""
    rng = np.random.default_rng(seed)
    rates = np.tile(rng.gamma(2.0, 0.7, n_vars), (n_obs, 1))
    factors = np.exp(rng.normal(size=(n_obs, GROUPS)))
    for group in range(GROUPS):
        rates[:, 10 * group : 10 * group + 10] *= factors[:, [group]]
    symbols = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(n_vars)]})
    symbols.index = [f"ENSG{i:011d}" for i in range(1, n_vars + 1)]
    obs = pd.DataFrame({"half": ["a", "b"] * (n_obs // 2)}, index=[f"cell{i}" for i in range(n_obs)])
    return AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)), obs=obs, var=symbols)


@pytest.fixture(scope="session")
def group_of() -> Callable[[str], int]:
    """Group that a gene was planted in; -1 for none."""

    def find(gene: str) -> int:
        number = int(gene.removeprefix("GENE"))
        return number // 10 if number < 10 * GROUPS else -1

    return find


@pytest.fixture(scope="session")
def cells() -> AnnData:
    return planted()


@pytest.fixture(scope="session")
def model(cells: AnnData) -> "GeneMambaModel":
    from genemamba_sc import GeneMambaModel, GeneVocabulary

    scvi.settings.seed = 0
    GeneMambaModel.setup_anndata(cells, vocabulary=GeneVocabulary.from_anndata(cells, symbol_key="symbol"))
    found = GeneMambaModel(cells, d_model=16, context_len=32)
    found.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    return found
