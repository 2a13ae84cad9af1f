"""Score an embedding with scib-metrics: any key of obsm serves.

pip install scib-metrics
python benchmarks/harnesses/run_scib.py /tmp/embedded.h5ad
"""

import sys
import warnings
from importlib.metadata import version

import anndata as ad
from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation


def main(path: str) -> None:
    warnings.simplefilter("ignore")
    adata = ad.read_h5ad(path)
    adata.X = adata.X.astype("float32")
    bench = Benchmarker(
        adata,
        batch_key="batch",
        label_key="cell_type",
        embedding_obsm_keys=["X_emb", "X_pca"],
        pre_integrated_embedding_obsm_key="X_pca",
        bio_conservation_metrics=BioConservation(nmi_ari_cluster_labels_leiden=False),
        batch_correction_metrics=BatchCorrection(),
        n_jobs=1,
        progress_bar=False,
    )
    bench.benchmark()
    table = bench.get_results(min_max_scale=False)
    print(f"scib-metrics {version('scib-metrics')}, anndata {version('anndata')}, Python {sys.version.split()[0]}")
    columns = ["Batch correction", "Bio conservation", "Total"]
    print(table.loc[["X_emb", "X_pca"], columns].astype(float).round(3).to_markdown())


if __name__ == "__main__":
    main(sys.argv[1])
