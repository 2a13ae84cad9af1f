"""Which cells train and which are tested: the same for every method, on every machine."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
from sklearn.model_selection import train_test_split

LABEL = "cell_type"
BATCH = "batch"
TEST_SIZE = 0.2
LARGEST_BATCHES = 4

# What is measured on what. zheng_sorted and pbmc3k are one batch each; immune_3studies holds the same cells as
# other sets, so only its held-out studies say something new.
SETS_OF_SPLIT = {
    "stratified": ("pbmc3k", "zheng_sorted", "kang_ctrl", "onek1k", "cell_lines"),
    "batch": ("kang_ctrl", "onek1k", "cell_lines", "immune_3studies"),
}
SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl", "onek1k", "cell_lines", "immune_3studies")


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of one training part and one test part; ``held_out`` is the batch left out, or ``""``."""

    kind: str
    held_out: str
    train: np.ndarray
    test: np.ndarray


def data_folder() -> Path:
    """The folder that holds ``cells/``: ``GENEMAMBA_TEST_DATA``, else ``shared/data`` beside the repository."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", default))
    if not (folder / "cells").is_dir():
        raise FileNotFoundError(
            f"The benchmark needs a folder with cells/*.h5ad. {folder} has no cells/. "
            "Set GENEMAMBA_TEST_DATA to the folder that holds it."
        )
    return folder


def load_set(name: str) -> ad.AnnData:
    """One set with counts in ``X``, ``obs["cell_type"]`` and ``obs["batch"]``."""
    adata = ad.read_h5ad(data_folder() / "cells" / f"{name}.h5ad")
    missing = [key for key in (LABEL, BATCH) if key not in adata.obs]
    if missing:
        raise ValueError(f"A set needs obs columns {LABEL!r} and {BATCH!r}. {name} lacks {missing}. Add them.")
    return adata


def column(adata: ad.AnnData, key: str) -> np.ndarray:
    """``obs[key]`` as an array of str."""
    return adata.obs[key].astype(str).to_numpy(dtype=object).astype(str)


def stratified_split(labels: np.ndarray, seed: int) -> Split:
    """80/20 by cell type, shuffled by ``seed``."""
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=TEST_SIZE, stratify=labels, random_state=seed)
    return Split("stratified", "", train, test)


def largest_batches(batches: np.ndarray, most: int = LARGEST_BATCHES) -> list[str]:
    """Names of the largest batches, largest first; equal sizes in the order of their names."""
    names, sizes = np.unique(batches, return_counts=True)
    return [str(names[i]) for i in np.lexsort((names, -sizes))[:most]]


def batch_splits(batches: np.ndarray, most: int = LARGEST_BATCHES) -> list[Split]:
    """Each of the largest batches tested once, all other batches (small ones too) training."""
    return [
        Split("batch", name, np.flatnonzero(batches != name), np.flatnonzero(batches == name))
        for name in largest_batches(batches, most)
    ]


def splits_of(adata: ad.AnnData, kind: str, seed: int) -> Iterator[Split]:
    """All splits of one kind; those by batch do not depend on the seed."""
    if kind == "stratified":
        yield stratified_split(column(adata, LABEL), seed)
    elif kind == "batch":
        yield from batch_splits(column(adata, BATCH))
    else:
        raise ValueError(f"A split is one of {sorted(SETS_OF_SPLIT)}. Got {kind!r}.")
