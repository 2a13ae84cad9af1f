"""Ask whether scib-metrics' kBET is a score of an embedding: the same cells, with their types numbered in other orders.

python benchmarks/integration/kbet.py cell_lines immune_3studies

kBET goes through the types one by one, in the order of their codes, and nothing else than this order differs.
"""

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from scib_metrics import kbet_per_label
from scib_metrics.nearest_neighbors import pynndescent
from splits import BATCH, LABEL, column, load_set

from genemamba_sc.benchmark import genes_by_batch, harmony, pca

NEIGHBOURS = 50  # of kBET in scib-metrics' Benchmarker


def orders(labels: np.ndarray) -> dict[str, list[str]]:
    """Ways to number the types."""
    names, sizes = np.unique(labels, return_counts=True)
    by_size = names[np.argsort(sizes, kind="stable")].tolist()
    named = sorted(names.tolist())
    return {"by name": named, "names reversed": named[::-1], "small first": by_size, "large first": by_size[::-1]}


def rows(name: str) -> list[dict[str, object]]:
    """One row for each embedding of a set, with the score by each order."""
    adata = load_set(name)
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
    table = pd.DataFrame([row for name in names for row in rows(name)])
    print(f"scib-metrics {version('scib-metrics')}, harmonypy {version('harmonypy')}\n")
    print(f"| {' | '.join(table)} |\n|{'---|' * table.shape[1]}")
    for row in table.itertuples(index=False):
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main(sys.argv[1:] or ["cell_lines", "immune_3studies"])
