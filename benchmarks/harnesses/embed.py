"""Write the embedding of `mini` and 50 principal components of the same cells, for the harnesses to score.

python benchmarks/harnesses/embed.py cell_lines /tmp/embedded.h5ad

The harnesses need other versions of the common libraries: each runs in an environment of its own and reads this file.
"""

import os
import sys
import warnings
from pathlib import Path

import anndata as ad
import scanpy as sc

from genemamba_sc.benchmark import HarnessModel


def main(name: str, out: str) -> None:
    warnings.simplefilter("ignore")
    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    adata = ad.read_h5ad(folder / "cells" / f"{name}.h5ad")
    HarnessModel("mini").add_embedding(adata, "X_emb")
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    sc.pp.highly_variable_genes(logged, n_top_genes=2000)
    sc.pp.pca(logged, n_comps=50, mask_var="highly_variable", random_state=0)
    adata.obsm["X_pca"] = logged.obsm["X_pca"]
    adata.write_h5ad(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
