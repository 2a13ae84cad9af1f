"""Real cells in any number: drawn with replacement from two sets of blood cells."""

import sys
from pathlib import Path

import anndata as ad
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from sets import data_folder

# 849 and 1,428 genes per cell: halves of each have about 1,140.
SETS = ("pbmc3k", "pbmc_chemistries")
TYPE = "cell_type"


def cells_folder() -> Path:
    """The folder with the h5ad files."""
    return data_folder() / "cells"


def pool() -> tuple[ad.AnnData, np.ndarray]:
    """All cells of the two sets over the genes of both, columns sorted, and the probability to draw each."""
    parts = [ad.read_h5ad(cells_folder() / f"{name}.h5ad") for name in SETS]
    kept = [ad.AnnData(part.X, obs=part.obs[[TYPE]], var=part.var[[]]) for part in parts]
    cells = ad.concat(kept, join="outer", index_unique="-")
    cells.X.sort_indices()
    sizes = [part.n_obs for part in parts]
    return cells, np.repeat([1 / (len(sizes) * n) for n in sizes], sizes)


def resampled(n_cells: int, seed: int = 0) -> ad.AnnData:
    """``n_cells`` cells, half of each set, in random order."""
    cells, chance = pool()
    rows = np.random.default_rng(seed).choice(cells.n_obs, n_cells, p=chance)
    drawn = ad.AnnData(cells.X[rows], var=cells.var)
    drawn.obs_names = [f"cell{i}" for i in range(n_cells)]
    return drawn
