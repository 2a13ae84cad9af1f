"""Which sets are measured, and how each is split."""

from collections.abc import Iterator

import anndata as ad
from sets import data_folder, load_set

from genemamba_sc.benchmark import BATCH, LABEL, Split, batch_splits, column, stratified_split

__all__ = ["BATCH", "LABEL", "SETS", "SETS_OF_SPLIT", "Split", "column", "data_folder", "load_set", "splits_of"]

# What is measured on what. zheng_sorted and pbmc3k are one batch each; immune_3studies holds the same cells as
# other sets, so only its held-out studies say something new.
SETS_OF_SPLIT = {
    "stratified": ("pbmc3k", "zheng_sorted", "kang_ctrl", "onek1k", "cell_lines"),
    "batch": ("kang_ctrl", "onek1k", "cell_lines", "immune_3studies"),
}
SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl", "onek1k", "cell_lines", "immune_3studies")


def splits_of(adata: ad.AnnData, kind: str, seed: int) -> Iterator[Split]:
    """All splits of one kind; those by batch do not depend on the seed."""
    if kind == "stratified":
        yield stratified_split(column(adata, LABEL), seed)
    elif kind == "batch":
        yield from batch_splits(column(adata, BATCH))
    else:
        raise ValueError(f"A split is one of {sorted(SETS_OF_SPLIT)}. Got {kind!r}.")
