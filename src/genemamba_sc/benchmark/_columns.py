"""Name the two columns that every method reads, and take training and test cells apart."""

import numpy as np
from anndata import AnnData

from genemamba_sc._whole_floats import as_text
from genemamba_sc.benchmark._splits import Split

LABEL = "cell_type"
BATCH = "batch"


def column(adata: AnnData, key: str) -> np.ndarray:
    """Return ``obs[key]`` as an array of str; whole numbers have no point, whichever of two files made floats of them.

    Parameters
    ----------
    adata
        Cells.
    key
        Name of the column.
    """
    texts = adata.obs[key].astype(str).to_numpy(dtype=object, copy=True)
    numbers = adata.obs[key].astype(object)
    whole = np.array([isinstance(value, float | np.floating) and _is_whole(float(value)) for value in numbers], bool)
    texts[whole] = [as_text(value) for value in numbers[whole]]
    return texts.astype(str)


def _is_whole(number: float) -> bool:
    return number.is_integer() and abs(number) < 2**53  # beyond, floats are no counts


def parts(adata: AnnData, split: Split) -> tuple[AnnData, AnnData]:
    """Return training cells with types and batches, and test cells with batches only: no method can see their types.

    Parameters
    ----------
    adata
        All cells, with ``obs["cell_type"]`` and ``obs["batch"]``.
    split
        Rows of the two parts.
    """
    train, test = adata[split.train].copy(), adata[split.test].copy()
    train.obs, test.obs = train.obs[[LABEL, BATCH]].copy(), test.obs[[BATCH]].copy()
    for name in (LABEL, BATCH):
        train.obs[name] = column(train, name)
        train.obs[name] = train.obs[name].astype("category")
    return train, test
