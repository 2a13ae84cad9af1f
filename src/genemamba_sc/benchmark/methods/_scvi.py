"""Run scVI and scANVI, which come with scvi-tools, with their defaults."""

import anndata
import numpy as np
import scvi
from anndata import AnnData

from genemamba_sc.benchmark._columns import BATCH, LABEL, column
from genemamba_sc.benchmark.methods._features import genes_by_batch, variable_genes
from genemamba_sc.benchmark.methods._outcome import Embedding, Options, Outcome, clock

# Epochs of both; None takes their defaults.
EPOCHS: int | None = None
# No type of anybody is called so.
_NO_LABEL = "genemamba-benchmark: no label"


def train_scvi(adata: AnnData, seed: int, genes: np.ndarray | None = None) -> scvi.model.SCVI:
    """Train scVI with its defaults.

    Parameters
    ----------
    adata
        Cells with counts in ``X`` and ``obs["batch"]``.
    seed
        Seed of the training.
    genes
        Numbers of the columns that are read; ``None`` takes :func:`genes_by_batch`.
    """
    scvi.settings.seed = seed
    chosen = adata[:, genes_by_batch(adata) if genes is None else genes].copy()
    scvi.model.SCVI.setup_anndata(chosen, batch_key=BATCH)
    model = scvi.model.SCVI(chosen)
    model.train(max_epochs=EPOCHS, enable_progress_bar=False)
    return model


def scvi_embedding(adata: AnnData, seed: int, options: Options) -> Embedding:
    """Integrate batches with scVI, without labels.

    Parameters
    ----------
    adata, seed
        As in :func:`train_scvi`.
    options
        Not used.
    """
    passed = clock()
    model = train_scvi(adata, seed)
    return Embedding(model.get_latent_representation(), {"genes": int(model.adata.n_vars)}, passed())


def scanvi(train: AnnData, test: AnnData, seed: int, options: Options) -> Outcome:
    """Annotate with scANVI from scVI, on the variable genes of the training cells.

    Both read the test cells, without labels, while they train: this is how they are used. Other methods do not.

    Parameters
    ----------
    train, test
        Cells with types, and cells to annotate.
    seed
        Seed of the training.
    options
        Not used.
    """
    passed = clock()
    cells = anndata.concat([train, test], index_unique="-", keys=["train", "test"])
    cells.obs[LABEL] = np.concatenate([column(train, LABEL), np.full(test.n_obs, _NO_LABEL)])
    cells.obs[BATCH] = column(cells, BATCH)
    start = train_scvi(cells, seed, variable_genes(train))
    scvi.settings.seed = seed
    model = scvi.model.SCANVI.from_scvi_model(start, labels_key=LABEL, unlabeled_category=_NO_LABEL)
    model.train(max_epochs=EPOCHS, enable_progress_bar=False)
    predicted = np.asarray(model.predict())[train.n_obs :].astype(str)
    params = sum(weight.numel() for weight in model.module.parameters())
    return Outcome(predicted, params, {"genes": int(start.adata.n_vars), "reads_test_cells": True}, passed())
