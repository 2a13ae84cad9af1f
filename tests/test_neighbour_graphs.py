"""The graph that users make of an embedding next: scanpy's, of so many cells that it does not compare all pairs."""

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData


@pytest.mark.slow  # pynndescent compiles for half a minute
def test_scanpy_makes_a_graph_of_an_embedding_of_many_cells() -> None:
    # Below 8,192 cells scanpy takes another way, which worked with a version of pynndescent with which this one failed.
    n_cells = 8_192
    embedding = np.random.default_rng(0).normal(size=(n_cells, 4)).astype(np.float32)
    embedding[: n_cells // 2] += 100
    adata = AnnData(obsm={"X_genemamba": embedding})
    sc.pp.neighbors(adata, use_rep="X_genemamba", n_neighbors=5)
    graph = adata.obsp["connectivities"].tocoo()
    assert graph.shape == (n_cells, n_cells) and graph.nnz >= 4 * n_cells
    is_first = np.arange(n_cells) < n_cells // 2
    assert (is_first[graph.row] == is_first[graph.col]).all()
