"""Where the sets are; without genemamba_sc, so that an older one can be measured, too."""

import os
from pathlib import Path

import anndata as ad

COLUMNS = ("cell_type", "batch")


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
    missing = [key for key in COLUMNS if key not in adata.obs]
    if missing:
        raise ValueError(f"A set needs the obs columns {COLUMNS}. {name} lacks {missing}. Add them.")
    return adata
