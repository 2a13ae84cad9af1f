"""A gene table to start from: the spectral factorisation of the training cells."""

import numpy as np
from jaxtyping import Float, Float32
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from genemamba_sc.data._tokenizer import Tokens


def spectral_gene_table(
    tokens: Tokens, vocab_size: int, d_model: int, *, seed: int = 0
) -> Float32[np.ndarray, "vocab_size d_model"]:
    """Gene embeddings from a truncated SVD of a cells × genes matrix of token weights.

    Weights are ``1 / log2(2 + rank / 16)``; columns are scaled by ``sd^-0.5``, which lifts rare genes; the first
    component, which follows the depth of the cell, is dropped. Rows that no cell uses (special tokens, genes
    that never occur) stay zero.

    Parameters
    ----------
    tokens
        Tokens of the training cells.
    vocab_size
        Rows of the table.
    d_model
        Columns of the table; components that the data cannot fill stay zero.
    seed
        Seed of the randomised solver.

    Returns
    -------
    Table of shape (vocab_size, d_model), float32, scaled to unit root mean square over the rows in use.
    """
    weights = _weight_matrix(tokens, vocab_size)
    scale = _column_scale(weights)
    n_components = min(d_model + 1, *weights.shape)
    table = np.zeros((vocab_size, d_model), dtype=np.float32)
    if n_components < 2:
        return table
    _, singular, components = randomized_svd(
        weights @ sparse.diags_array(scale), n_components, n_iter=4, random_state=seed
    )
    # One row per gene: how the gene weighs in each component, brought back to the scale of the weights.
    kept = (components[1:] * scale).T
    spread = np.sqrt((kept**2).sum() / max(1, np.count_nonzero(scale)))
    table[:, : kept.shape[1]] = kept / max(float(spread), 1e-12)
    return table


def _weight_matrix(tokens: Tokens, vocab_size: int) -> sparse.csr_array:
    n_cells, width = tokens.ids.shape
    real = np.arange(width)[None, :] < tokens.lengths[:, None]
    weight_of_rank = (1.0 / np.log2(2.0 + np.arange(width) / 16.0)).astype(np.float32)
    data = np.broadcast_to(weight_of_rank, (n_cells, width))[real]
    starts = np.concatenate([[0], np.cumsum(tokens.lengths)])
    return sparse.csr_array((data, tokens.ids[real], starts), shape=(n_cells, vocab_size))


def _column_scale(weights: sparse.csr_array) -> Float[np.ndarray, "v"]:
    n_cells = weights.shape[0]
    mean = np.asarray(weights.sum(axis=0)).ravel() / n_cells
    square = np.asarray((weights * weights).sum(axis=0)).ravel() / n_cells
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.where(spread > 0, 1.0 / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
