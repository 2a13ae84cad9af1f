"""How many edges a network has in cells whose genes were shuffled: each gene's values over the cells, by itself.

    python benchmarks/genes/null.py [--model mini] [--methods effect]

A model that was fitted to the cells as they are, or the shipped mini, is asked about the shuffled ones, where there
should be no edges. At most 50 edges are kept for each gene.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from methods import Cells, load_cells

import genemamba_sc as gm

# Correlations do not know the model, so they stand beside one of the two only.
METHODS = {
    "own": ("explained", "pearson", "spearman", "effect"),
    "mini": ("explained", "combined", "static", "contextual", "effect"),
}
MOST_EDGES = 50


def shuffled(matrix: sparse.csr_matrix, seed: int) -> sparse.csr_matrix:
    """Each column in an order of its own."""
    rng, columns = np.random.default_rng(seed), sparse.csc_matrix(matrix)
    for column in range(columns.shape[1]):
        part = slice(columns.indptr[column], columns.indptr[column + 1])
        columns.indices[part] = rng.choice(columns.shape[0], part.stop - part.start, replace=False)
    columns.has_sorted_indices = False
    columns.sort_indices()
    return columns.tocsr()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="pbmc3k")
    parser.add_argument("--model", choices=tuple(METHODS), default="own")
    parser.add_argument("--methods", help="some of the scores, joined by commas (default: all)")
    options = parser.parse_args()
    methods = METHODS[options.model] if options.methods is None else options.methods.split(",")
    warnings.simplefilter("ignore")
    adata = load_cells(options.set)
    if options.model == "mini":
        model = gm.GeneMambaModel.from_pretrained("mini")
    else:
        model = Cells(adata, np.arange(1), np.arange(1)).own
    noise = adata.copy()
    noise.X = shuffled(adata.X, 0)
    print(
        "| cells | score | least cells per gene | pairs | edges | edges per million pairs |\n|---|---|---|---|---|---|"
    )
    for name, cells in (("as they are", adata), ("shuffled", noise)):
        for method in methods:
            for least in (10, 200):
                found = gm.tl.gene_network(model, cells, method=method, min_cells=least, n_neighbors=MOST_EDGES)
                n, m = len(found.source), found.n_tested
                print(f"| {name} | {method} | {least} | {m:,} | {n:,} | {1e6 * n / m:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
