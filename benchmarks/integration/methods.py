"""Methods that integrate without labels: (cells, seed) -> the embeddings that one fit gives, and their seconds.

Methods that share a costly step are one family, so that it is done once: a model is trained once for the embedding
with batches known and for that with batches unknown.
"""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import anndata as ad
import numpy as np
import scanpy as sc
import scvi
from splits import BATCH, column

import genemamba_sc as gm
from genemamba_sc.benchmark import clock, genes_by_batch, harmony, integrated_model, pca, train_scvi

Embeddings = dict[str, tuple[np.ndarray, float]]  # method -> embedding, seconds


def combat(components: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """ComBat on components: location and scale of each batch."""
    cells = ad.AnnData(components.astype(np.float64), obs={BATCH: batches})
    cells.obs[BATCH] = cells.obs[BATCH].astype("category")
    return sc.pp.combat(cells, key=BATCH, inplace=False).astype(np.float32)


def without_means(x: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """Each cell minus the mean of its batch."""
    result = x.copy()
    for batch in np.unique(batches):
        result[batches == batch] -= x[batches == batch].mean(axis=0)
    return result


def linear(adata: ad.AnnData, seed: int) -> Embeddings:
    """PCA, and what corrects it."""
    passed = clock()
    components = pca(adata, seed, genes_by_batch(adata))
    found = {"pca": (components, passed())}
    found["harmony"] = harmony(components, adata, seed), passed()
    passed = clock()
    found["combat_pca"] = combat(components, column(adata, BATCH)), found["pca"][1] + passed()
    return found


def linear_pooled(adata: ad.AnnData, seed: int) -> Embeddings:
    """The same with genes that vary over all cells, batches not considered."""
    passed = clock()
    components = pca(adata, seed)
    found = {"pca_pooled": (components, passed())}
    found["harmony_pooled"] = harmony(components, adata, seed), passed()
    return found


def without_batch(adata: ad.AnnData) -> ad.AnnData:
    """The cells as those of an unknown batch."""
    cells = ad.AnnData(adata.X, var=adata.var)
    cells.obs_names = adata.obs_names
    return cells


def on_axes(model: gm.GeneMambaModel, adata: ad.AnnData) -> np.ndarray:
    """The embedding of cells of which no batch is known."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The cells have no column")
        return model.get_latent_representation(without_batch(adata))


def genemamba(adata: ad.AnnData, seed: int) -> Embeddings:
    """Trained to integrate: batches known; unknown (``_axes``); and what the integration starts from (``_raw``)."""
    passed = clock()
    model = integrated_model(adata, seed, None)
    return {
        "genemamba": (model.get_latent_representation(), passed()),
        "genemamba_axes": (on_axes(model, adata), passed()),
        "genemamba_raw": (model.get_latent_representation(integrated=False, key_added=None), passed()),
    }


def genemamba_off(adata: ad.AnnData, seed: int) -> Embeddings:
    """Trained not to integrate; and the batch means of that subtracted."""
    passed = clock()
    latent = integrated_model(adata, seed, False).get_latent_representation()
    return {
        "genemamba_off": (latent, passed()),
        "batch_means": (without_means(latent, column(adata, BATCH)), passed()),
    }


@lru_cache(maxsize=1)
def _scvi_of(cells: "_Same") -> tuple[scvi.model.SCVI, float]:
    passed = clock()
    return train_scvi(cells.adata, cells.seed), passed()


@dataclass(frozen=True)
class _Same:
    """Cells and a seed that are the same where counts and batches are."""

    fingerprint: str
    seed: int
    adata: ad.AnnData = field(compare=False)


def scvi_model(adata: ad.AnnData, seed: int) -> tuple[scvi.model.SCVI, float]:
    """scVI of its defaults on the genes of ``linear``, trained, and its seconds; the last one is kept for scANVI."""
    parts = (adata.X.data, adata.X.indices, adata.X.indptr, column(adata, BATCH))
    fingerprint = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
    return _scvi_of(_Same(fingerprint, seed, adata))


def scvi_latent(adata: ad.AnnData, seed: int) -> Embeddings:
    """scVI without labels."""
    model, seconds = scvi_model(adata, seed)
    return {"scvi": (model.get_latent_representation(), seconds)}


FAMILIES: dict[Callable[[ad.AnnData, int], Embeddings], tuple[str, ...]] = {
    linear: ("pca", "harmony", "combat_pca"),
    linear_pooled: ("pca_pooled", "harmony_pooled"),
    genemamba: ("genemamba", "genemamba_axes", "genemamba_raw"),
    genemamba_off: ("genemamba_off", "batch_means"),
    scvi_latent: ("scvi",),
}
