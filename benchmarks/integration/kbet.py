"""Ask whether scib-metrics' kBET is a score of an embedding: the same cells, with their types numbered in other orders.

python benchmarks/integration/kbet.py cell_lines

kBET goes through the types one by one, in the order of their codes, and nothing else than this order differs. Each set
is asked as it is, and with one in eight cells of the type whose name is the first.
"""

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from scib_metrics import kbet_per_label
from scib_metrics.nearest_neighbors import pynndescent
from splits import BATCH, LABEL, column, load_set

from genemamba_sc.benchmark import genes_by_batch, harmony, pca

NEIGHBOURS = 50  # of kBET in scib-metrics' Benchmarker
KEPT = 8


def orders(labels: np.ndarray) -> dict[str, list[str]]:
    """Ways to number the types."""
    names, sizes = np.unique(labels, return_counts=True)
    by_size = names[np.argsort(sizes, kind="stable")].tolist()
    named = sorted(names.tolist())
    return {"by name": named, "names reversed": named[::-1], "small first": by_size, "large first": by_size[::-1]}


def with_few(adata: ad.AnnData) -> ad.AnnData:
    """The cells, with one in eight of one type."""
    labels = column(adata, LABEL)
    of_type = np.flatnonzero(labels == min(labels))
    return adata[np.setdiff1d(np.arange(adata.n_obs), np.setdiff1d(of_type, of_type[::KEPT]))].copy()


def rows(name: str, adata: ad.AnnData) -> list[dict[str, object]]:
    """One row for each embedding of a set, with the score by each order."""
    labels, batches = column(adata, LABEL), column(adata, BATCH)
    components = pca(adata, 0, genes_by_batch(adata))
    found = []
    for method, x in (("pca", components), ("harmony", harmony(components, adata, 0))):
        near = pynndescent(x, n_neighbors=NEIGHBOURS, random_state=0)
        row: dict[str, object] = {"set": name, "method": method}
        for how, order in orders(labels).items():
            codes = pd.Categorical(labels, categories=order).codes.astype(np.int64)
            score, by_type = kbet_per_label(near, batches, codes, return_df=True)
            row[how] = round(float(score), 3)
        parts = by_type["kBET"].to_numpy()
        row["types of 0"], row["types without"] = int((parts == 0).sum()), int(np.isnan(parts).sum())
        found.append(row)
    return found


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    sets = {name: load_set(name) for name in names}
    sets |= {f"{name}, a type of few": with_few(adata) for name, adata in sets.items()}
    table = pd.DataFrame([row for name, adata in sets.items() for row in rows(name, adata)])
    print(f"scib-metrics {version('scib-metrics')}, harmonypy {version('harmonypy')}\n")
    print(f"| {' | '.join(table)} |\n|{'---|' * table.shape[1]}")
    for row in table.itertuples(index=False):
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main(sys.argv[1:] or ["cell_lines"])
