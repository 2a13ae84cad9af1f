"""Integrate batches by principal components and Harmony, without labels."""

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from genemamba_sc.benchmark._columns import BATCH
from genemamba_sc.benchmark.methods._features import CLIP, genes_by_batch, log_cp10k, variable_genes
from genemamba_sc.benchmark.methods._knn import COMPONENTS
from genemamba_sc.benchmark.methods._outcome import Embedding, Options, clock


def pca(adata: AnnData, seed: int, genes: np.ndarray | None = None) -> np.ndarray:
    """Compute 50 components of the z-scored variable genes; of those chosen over all cells where none are given.

    Parameters
    ----------
    adata
        Cells with counts in ``X``.
    seed
        Seed of the components.
    genes
        Numbers of the columns that are read.

    Returns
    -------
    Shape ``(n_cells, 50)``.
    """
    x = log_cp10k(adata)[:, variable_genes(adata) if genes is None else genes].toarray()
    x = np.clip(StandardScaler().fit_transform(x), -CLIP, CLIP)
    return PCA(min(COMPONENTS, *x.shape), random_state=seed).fit_transform(x).astype(np.float32)


def harmony(components: np.ndarray, adata: AnnData, seed: int) -> np.ndarray:
    """Correct components with Harmony; it needs harmonypy.

    Parameters
    ----------
    components
        Shape ``(n_cells, width)``.
    adata
        The same cells, with ``obs["batch"]``.
    seed
        Seed of Harmony's clusters.

    Raises
    ------
    ValueError
        If there are as many cells as components: harmonypy reads a square input the other way round, without a word.
    """
    import harmonypy

    if components.shape[0] == components.shape[1]:
        raise ValueError(
            f"Harmony needs more cells than components. Got {components.shape[0]} of each, which harmonypy reads the "
            "other way round. Pass more cells."
        )
    batches = pd.DataFrame({BATCH: adata.obs[BATCH]})
    found = harmonypy.run_harmony(components, batches, BATCH, random_state=seed, verbose=False).Z_corr
    found = np.asarray(found, dtype=np.float32)
    return found if found.shape == components.shape else found.T  # harmonypy turned it round in 0.1


def pca_embedding(adata: AnnData, seed: int, options: Options) -> Embedding:
    """Embed by principal components of the genes that vary within batches; nothing corrects them.

    Parameters
    ----------
    adata
        Cells with counts in ``X`` and ``obs["batch"]``.
    seed
        Seed of the components.
    options
        Not used.
    """
    passed = clock()
    genes = genes_by_batch(adata)
    return Embedding(pca(adata, seed, genes), {"genes": len(genes)}, passed())


def harmony_embedding(adata: AnnData, seed: int, options: Options) -> Embedding:
    """Integrate with Harmony on the components of :func:`pca_embedding`; the seconds are of both.

    Parameters
    ----------
    adata, seed, options
        As there.
    """
    passed = clock()
    start = pca_embedding(adata, seed, options)
    return Embedding(harmony(start.values, adata, seed), start.settings, passed())
