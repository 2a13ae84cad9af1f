"""Write cells and their embedding in the files of Open Problems' task of batch integration.

python benchmarks/harnesses/write_openproblems.py cell_lines /tmp/openproblems

Methods of the task see the genes that vary within batches, and no others: so does `mini` here.
"""

import os
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc

from genemamba_sc.benchmark import HarnessModel, genes_by_batch

ABOUT = {
    "dataset_name": "five cell lines",
    "dataset_summary": "Five cell lines in five batches.",
    "dataset_description": "Five cell lines in five batches; the lines are known by genotype.",
    "dataset_organism": "homo_sapiens",
    "normalization_id": "log_cp10k",
}


def solution_of(adata: ad.AnnData, name: str) -> ad.AnnData:
    """Give all genes, the normalised values, the variable genes and the components that the task's files have."""
    out = ad.AnnData(
        obs=adata.obs[["batch", "cell_type"]].astype("category"),
        var=adata.var[["ensembl"]].rename(columns={"ensembl": "feature_id"}),
        layers={"counts": adata.X.astype(np.int64)},
        uns={"dataset_id": name, **ABOUT},
    )
    out.var["feature_name"] = out.var_names.to_numpy()
    out.layers["normalized"] = out.layers["counts"].astype(np.float32)
    sc.pp.normalize_total(out, target_sum=1e4, layer="normalized")
    sc.pp.log1p(out, layer="normalized")
    out.var["batch_hvg"] = np.isin(np.arange(out.n_vars), genes_by_batch(adata))
    scores = sc.pp.highly_variable_genes(out, layer="normalized", n_top_genes=2000, flavor="cell_ranger", inplace=False)
    out.var["hvg"], out.var["hvg_score"] = scores["highly_variable"].to_numpy(), scores["dispersions_norm"].to_numpy()
    out.obsm["X_pca"] = sc.pp.pca(out.layers["normalized"], n_comps=50, mask_var=out.var["batch_hvg"], random_state=0)
    sc.pp.neighbors(out, use_rep="X_pca", n_neighbors=30, key_added="knn")
    return out


def integrated(dataset: ad.AnnData, method: str, embedding: np.ndarray) -> ad.AnnData:
    """Give what a method of the task writes."""
    kept = ("dataset_id", "normalization_id", "dataset_organism")
    return ad.AnnData(
        obs=dataset.obs[[]],
        var=dataset.var[[]],
        obsm={"X_emb": embedding},
        uns={**{name: dataset.uns[name] for name in kept}, "method_id": method},
    )


def main(name: str, out: str) -> None:
    warnings.simplefilter("ignore")
    folder = Path(os.environ.get("GENEMAMBA_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    solution = solution_of(ad.read_h5ad(folder / "cells" / f"{name}.h5ad"), name)
    solution.write_h5ad(target / "solution.h5ad", compression="gzip")
    dataset = solution[:, solution.var["batch_hvg"]].copy()
    dataset.write_h5ad(target / "dataset.h5ad", compression="gzip")
    ours = HarnessModel("mini", layer="counts", gene_id_key="feature_id").embed(dataset)
    for method, embedding in (("genemamba_mini", ours), ("no_integration", dataset.obsm["X_pca"])):
        integrated(dataset, method, embedding).write_h5ad(target / f"{method}.h5ad", compression="gzip")


if __name__ == "__main__":
    main(*sys.argv[1:])
