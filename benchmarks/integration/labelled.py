"""Methods that are given labels of all cells or of a random half: (cells, seed, labels given) -> embedding."""

from collections.abc import Callable

import anndata as ad
import numpy as np
import scvi
from methods import scvi_model
from splits import column

from genemamba_sc.benchmark import clock, integrated_model

UNKNOWN = "unknown"
GIVEN = "given_label"
SHARES = {"all": 1.0, "half": 0.5}


def given_labels(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The labels of a random share of the cells, ``UNKNOWN`` elsewhere."""
    if share == 1.0:
        return labels.copy()
    order = np.random.default_rng(seed).permutation(len(labels))
    given = labels.astype(object)
    given[order[round(share * len(labels)) :]] = UNKNOWN
    return given.astype(str)


def genemamba_labels(adata: ad.AnnData, seed: int) -> tuple[np.ndarray, float]:
    """The package's defaults with labels."""
    passed = clock()
    model = integrated_model(adata, seed, None, labels_key=GIVEN, unlabeled_category=UNKNOWN)
    return model.get_latent_representation(), passed()


def scanvi(adata: ad.AnnData, seed: int) -> tuple[np.ndarray, float]:
    """scANVI from scVI, both of their defaults; the seconds are of both."""
    start, seconds = scvi_model(adata, seed)
    passed = clock()
    scvi.settings.seed = seed
    start.adata.obs[GIVEN] = column(adata, GIVEN)
    model = scvi.model.SCANVI.from_scvi_model(start, labels_key=GIVEN, unlabeled_category=UNKNOWN)
    model.train(enable_progress_bar=False)
    return model.get_latent_representation(), round(seconds + passed(), 2)


LABELLED: dict[str, tuple[Callable[[ad.AnnData, int], tuple[np.ndarray, float]], str]] = {
    f"{name}_{share}": (method, share)
    for name, method in {"genemamba_labels": genemamba_labels, "scanvi": scanvi}.items()
    for share in SHARES
}
