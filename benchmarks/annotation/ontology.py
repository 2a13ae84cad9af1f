"""Cell types of the sets as Cell Ontology ids at two levels, and references pooled over sets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from sets import load_set

TABLE = Path(__file__).with_name("cell_ontology.tsv")
SETS = ("pbmc3k", "zheng_sorted", "kang_ctrl", "onek1k", "pbmc_chemistries")
BROAD, FINE, STUDY = "broad", "fine", "study"
UNKNOWN = ""
# A reference with fewer of the genes than this share of the richest one is a panel.
PANEL = 0.5


@cache
def table() -> pd.DataFrame:
    """``broad`` and ``fine`` by (set, label); both empty for a label that is left out."""
    rows = pd.read_csv(TABLE, sep="\t", keep_default_na=False, dtype=str)
    return rows.set_index(["set", "label"], verify_integrity=True)


def parents() -> dict[str, str]:
    """The broad type of each fine one."""
    rows = table()[table()[FINE] != UNKNOWN]
    return dict(zip(rows[FINE], rows[BROAD]))


def harmonised(name: str) -> ad.AnnData:
    """The cells of a set whose label maps, with ``obs["broad"]``, ``obs["fine"]`` and ``obs["study"]``.

    Authors' clusters come before labels that others predicted.
    """
    adata = load_set(name)
    labels = adata.obs["cell_type"].astype(str)
    if "author_cluster_label" in adata.obs:
        authors = adata.obs["author_cluster_label"].astype(str)
        labels = labels.where(authors == "NA", authors)
    missing = sorted(set(labels) - set(table().loc[name].index))
    if missing:
        raise ValueError(
            f"Every label needs a line in {TABLE.name}. {name} has {missing}. Add them, or leave them out."
        )
    found = table().loc[name].loc[labels]
    for level in (BROAD, FINE):
        adata.obs[level] = found[level].to_numpy()
    adata.obs[STUDY] = name
    return adata[(adata.obs[BROAD] != UNKNOWN).to_numpy()].copy()


def balanced(types: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most so many cells, the largest types cut down to one size."""
    order = np.random.default_rng(seed).permutation(len(types))
    place = pd.Series(types[order]).groupby(types[order]).cumcount().to_numpy()
    return np.sort(order[np.argsort(place, kind="stable")[:most]])


def references(target: str, most: int, seed: int = 0) -> dict[str, ad.AnnData]:
    """The other sets, at most so many cells of each, balanced over their fine types."""
    found = {name: harmonised(name) for name in SETS if name != target}
    return {name: adata[balanced(adata.obs[FINE].to_numpy(), most, seed)].copy() for name, adata in found.items()}


@dataclass(frozen=True, eq=False)
class Pool:
    """Cells of several references side by side; a gene that a reference has not measured counts 0 there.

    Parameters
    ----------
    cells
        The cells, with the genes of the query that at least one reference measured.
    measured
        Whether each reference measured each of these genes, shape (n_references, n_genes).
    """

    cells: ad.AnnData
    measured: pd.DataFrame

    def view(self, kind: str) -> "Pool":
        """``all``; ``shared``: the genes that every reference measured; ``wide``: the same without panels."""
        if kind == "all":
            return self
        counts = self.measured.sum(axis=1)
        kept = counts.index[counts >= (PANEL * counts.max() if kind == "wide" else 0)]
        genes = self.measured.columns[self.measured.loc[kept].all(axis=0)]
        rows = self.cells.obs[STUDY].isin(kept).to_numpy()
        return Pool(self.cells[rows, genes].copy(), self.measured.loc[kept, genes])


def pooled(parts: dict[str, ad.AnnData], genes: Sequence[str]) -> Pool:
    """The parts, cut to the genes of a query; cells whose fine type is unknown are left out."""
    cut = {
        name: part[(part.obs[FINE] != UNKNOWN).to_numpy(), part.var_names.isin(genes)] for name, part in parts.items()
    }
    cells = ad.concat([part.copy() for part in cut.values()], join="outer", fill_value=0, index_unique="-")
    measured = pd.DataFrame({name: cells.var_names.isin(part.var_names) for name, part in cut.items()}).T
    return Pool(cells, measured.set_axis(cells.var_names, axis=1))
