"""Make the features that baselines read; what is fitted (genes, scaling, medians) sees training cells only."""

import numpy as np
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from sklearn.preprocessing import StandardScaler

from genemamba_sc.benchmark._columns import BATCH
from genemamba_sc.benchmark.methods._methods import VARIABLE_GENES

TARGET_SUM = 1e4
RANKED_GENES = 512
CLIP = 10.0

Features = np.ndarray | sp.csr_matrix


def log_cp10k(adata: AnnData) -> sp.csr_matrix:
    """Compute log(1 + counts per 10,000), float32; per cell, so nothing is fitted.

    Parameters
    ----------
    adata
        Cells with counts in ``X``.
    """
    scaled = sc.pp.normalize_total(adata, target_sum=TARGET_SUM, inplace=False)["X"]
    return sp.csr_matrix(scaled, dtype=np.float32).log1p()


def variable_genes(train: AnnData) -> np.ndarray:
    """Choose the 2,000 most variable genes (seurat_v3, on counts); all where there are no more.

    Parameters
    ----------
    train
        Training cells.

    Returns
    -------
    Numbers of their columns.
    """
    if train.n_vars <= VARIABLE_GENES:
        return np.arange(train.n_vars)
    return _most_variable(train)


def genes_by_batch(adata: AnnData) -> np.ndarray:
    """Choose the 2,000 genes that vary within most batches (seurat_v3, on counts), as scib does.

    Parameters
    ----------
    adata
        Cells with ``obs["batch"]``.

    Returns
    -------
    Numbers of their columns; all where there are no more.
    """
    if adata.n_vars <= VARIABLE_GENES:
        return np.arange(adata.n_vars)
    return _most_variable(adata, batch_key=BATCH)


def _most_variable(adata: AnnData, **options: str) -> np.ndarray:
    options |= {"flavor": "seurat_v3"}
    try:
        found = sc.pp.highly_variable_genes(adata, n_top_genes=VARIABLE_GENES, inplace=False, **options)
    except ValueError as error:  # of the fit of a curve through means and variances, which says nothing of cells
        told = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(
            f"The choice of {VARIABLE_GENES:,} variable genes (seurat_v3) needs more cells: its curve of variances "
            f"could not be fitted ({told}). Got {adata.n_obs:,} cells. Give more cells, or leave this method out."
        ) from error
    return np.flatnonzero(found["highly_variable"].to_numpy())


def scaled_variable_genes(train: AnnData, test: AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Compute z-scores of the variable genes by the training cells, clipped at ±10 as scanpy users do.

    Parameters
    ----------
    train, test
        Cells with counts in ``X``.
    """
    genes = variable_genes(train)
    scaler = StandardScaler()
    fitted = scaler.fit_transform(log_cp10k(train)[:, genes].toarray())
    seen = scaler.transform(log_cp10k(test)[:, genes].toarray())
    return np.clip(fitted, -CLIP, CLIP), np.clip(seen, -CLIP, CLIP)


def all_genes(train: AnnData, test: AnnData) -> tuple[Features, Features]:
    """Compute :func:`log_cp10k` of both parts.

    Parameters
    ----------
    train, test
        Cells with counts in ``X``.
    """
    return log_cp10k(train), log_cp10k(test)


def ranks(train: AnnData, test: AnnData) -> tuple[Features, Features]:
    """Compute :func:`fractional_ranks` of both parts, by the medians of the training cells.

    Parameters
    ----------
    train, test
        Cells with counts in ``X``.
    """
    x, x_test = (log_cp10k(cells).expm1() for cells in (train, test))
    medians = nonzero_medians(x)
    return fractional_ranks(x, medians), fractional_ranks(x_test, medians)


def nonzero_medians(x: sp.csr_matrix) -> np.ndarray:
    """Compute the median of the non-zero values of each column; 1 where there are none.

    Parameters
    ----------
    x
        Shape ``(n_cells, n_genes)``.
    """
    columns = sp.csc_matrix(x)
    bounds = zip(columns.indptr[:-1], columns.indptr[1:], strict=True)
    return np.array([np.median(columns.data[a:b]) if b > a else 1.0 for a, b in bounds])


def fractional_ranks(x: sp.csr_matrix, medians: np.ndarray, most: int = RANKED_GENES) -> sp.csr_matrix:
    """Compute 1 − rank/L of the ``most`` highest genes of each cell (value / median; ties by column), 0 elsewhere.

    Parameters
    ----------
    x
        Shape ``(n_cells, n_genes)``.
    medians
        Shape ``(n_genes,)``.
    most
        Number of genes of a cell that are ranked.
    """
    data, columns, lengths = [], [], []
    for a, b in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        genes = x.indices[a:b]
        top = np.lexsort((genes, -x.data[a:b] / medians[genes]))[:most]
        data.append(1 - np.arange(len(top), dtype=np.float32) / max(len(top), 1))
        columns.append(genes[top])
        lengths.append(len(top))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return sp.csr_matrix((np.concatenate(data), np.concatenate(columns), indptr), shape=x.shape)
