"""Run a first demo on real cells that scanpy carries: train, embed, annotate held-out cells, draw, compare."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from genemamba_sc._constants import OBSM_KEY, PREDICTION_KEY
from genemamba_sc._files import check_writable, replacing_file
from genemamba_sc.benchmark.results._demo_report import DemoReport, Score
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.pl import confusion_matrix, save_figure, umap
from genemamba_sc.tl import nearest_genes

_LABELS = "bulk_labels"


# Genes whose neighbours are shown: of T cells, B cells, cytotoxic cells.
_SHOWN_GENES = ("CD3E", "MS4A1", "NKG7")
Step = Callable[..., AbstractContextManager[None]]


def run_demo(
    folder: Path,
    *,
    model_folder: str | None = None,
    max_epochs: int | None = None,
    accelerator: str = "auto",
    seed: int = 0,
    step: Step = lambda what, **_: nullcontext(),
) -> DemoReport:
    """Train on four fifths of 700 blood cells and judge on the rest, beside two plain methods on the same split.

    Parameters
    ----------
    folder
        Folder for the h5ad file, the two pictures and the model; it is created.
    model_folder
        A saved model with cell types to use instead of training one.
    max_epochs, accelerator
        As in :meth:`GeneMambaModel.train`.
    seed
        Seed of the split.
    step
        Called with what is done next, gives a context for it; ``speaks=True`` says that progress is shown inside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder / "cells.h5ad")
    adata = demo_cells()
    train, test = train_test_split(
        np.arange(adata.n_obs), test_size=0.2, stratify=adata.obs[_LABELS], random_state=seed
    )
    reference, query = adata[train].copy(), adata[test].copy()
    truth = query.obs[_LABELS].astype(str).to_numpy()
    with step(f"learn {len(np.unique(truth))} types from {len(train)} cells", speaks=True):
        started = time.perf_counter()
        model = _model(reference, model_folder, max_epochs, accelerator)
        predicted = np.asarray(model.predict_celltype(query)).astype(str)
        scores = [Score.of("GeneMamba", truth, predicted, time.perf_counter() - started)]
    with step("fit a logistic regression and nearest neighbours for comparison"):
        scores += [_baseline(name, pipeline, reference, query) for name, pipeline in _baselines().items()]
    with step("ask for sets of types, and for neighbours of genes"):
        remarks = [_sets(model, query, truth), "", *_near_genes()]
    with step("draw the cells"):
        files = _write(folder, adata, test, predicted, model, keep_model=model_folder is None)
    labels = f"{_LABELS} of scanpy's pbmc68k_reduced"
    return DemoReport(scores, len(train), labels, remarks, files, loaded=model_folder is not None)


def demo_cells() -> AnnData:
    """Return the 700 cells with unscaled values: scanpy keeps log-normalised ones of 765 genes in ``raw``."""
    reduced = sc.datasets.pbmc68k_reduced()
    adata = reduced.raw.to_adata()
    return AnnData(sparse.csr_matrix(adata.X), obs=reduced.obs[[_LABELS]].copy(), var=adata.var[[]].copy())


def _model(reference: AnnData, model_folder: str | None, max_epochs: int | None, accelerator: str) -> GeneMambaModel:
    if model_folder is not None:
        model = GeneMambaModel.load(model_folder, adata=False, accelerator=accelerator)
        types = sorted(map(str, reference.obs[_LABELS].unique()))
        if model.cell_types and not set(types) & set(model.cell_types):
            raise ValueError(
                f"The demo compares with its own cell types, such as {types[:3]}. The model in {model_folder} knows "
                f"{model.cell_types[:3]}. Give one that `genemamba demo` trained, or annotate cells of your own with "
                "`genemamba annotate --model`."
            )
        return model
    GeneMambaModel.setup_anndata(reference, labels_key=_LABELS)
    model = GeneMambaModel(reference)
    model.train(max_epochs=max_epochs, accelerator=accelerator)
    return model


def _baselines() -> dict[str, Pipeline]:
    """Fit and score what a careful user would try first; both methods are fitted on the training cells alone."""
    return {
        "logistic regression": make_pipeline(
            LogisticRegressionCV(
                Cs=np.logspace(-3, 1, 5),
                cv=3,
                max_iter=500,
                l1_ratios=(0.0,),
                scoring="neg_log_loss",
                use_legacy_attributes=False,
            )
        ),
        "kNN on 50 PCs": make_pipeline(StandardScaler(), PCA(50, random_state=0), KNeighborsClassifier(15)),
    }


def _baseline(name: str, pipeline: Pipeline, reference: AnnData, query: AnnData) -> Score:
    started = time.perf_counter()
    pipeline.fit(reference.X.toarray(), reference.obs[_LABELS])
    predicted = pipeline.predict(query.X.toarray()).astype(str)
    return Score.of(name, query.obs[_LABELS].astype(str).to_numpy(), predicted, time.perf_counter() - started)


def _sets(model: GeneMambaModel, query: AnnData, truth: np.ndarray) -> str:
    """Say what the sets of types held, or why there are none."""
    try:
        _, sets = model.predict_celltype(query, return_sets=True, coverage=0.9)
    except ValueError as error:  # too few calibration cells, or none in a model that was loaded
        return f"No sets of types: {error}"
    members, sizes = sets.members, sets.sizes
    columns = members.columns.astype(str).get_indexer(truth)  # -1 where the model does not know the type
    held = members.to_numpy()[np.arange(len(truth)), columns] & (columns >= 0)
    return (
        f"Sets of types that are to hold the right one for 90 % of the cells: {100 * held.mean():.0f} % do; they have "
        f"{sizes.mean():.1f} types on average, and {(sizes > 1).sum()} of {len(sizes)} cells have more than one."
    )


def _near_genes() -> list[str]:
    """List the neighbours of some genes in the table of the weights that ship; no cells are read for it."""
    mini = GeneMambaModel.from_pretrained("mini")
    rows = [f"  {gene:<8}{', '.join(nearest_genes(mini, gene, n=7).genes)}" for gene in _SHOWN_GENES]
    return ["Genes next to each other in the weights that ship, mini:", *rows]


def _write(
    folder: Path, adata: AnnData, test: np.ndarray, predicted: np.ndarray, model: GeneMambaModel, keep_model: bool
) -> list[Path]:
    model.get_latent_representation(adata, key_added=OBSM_KEY)
    # Training cells have no prediction: scanpy draws them grey.
    names = np.full(adata.n_obs, None, dtype=object)
    names[test] = predicted
    adata.obs[PREDICTION_KEY] = pd.Categorical(names, categories=adata.obs[_LABELS].cat.categories)
    sc.pp.neighbors(adata, use_rep=OBSM_KEY)
    sc.tl.umap(adata)
    files = [folder / "umap.png", folder / "confusion_matrix.png", folder / "cells.h5ad"]
    titles = ["cell type", "prediction on held-out cells"]
    save_figure(umap(adata, [_LABELS, PREDICTION_KEY], titles=titles), files[0])
    held_out = adata.obs.iloc[test]
    axes = confusion_matrix(held_out[_LABELS], held_out[PREDICTION_KEY])
    axes.set_title(f"{len(test)} held-out cells")
    save_figure(axes, files[1])
    with replacing_file(files[2]) as temporary:
        adata.write_h5ad(temporary)
    if keep_model:
        model.save(folder / "model", overwrite=True)
        files.append(folder / "model")
    return files
