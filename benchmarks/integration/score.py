"""Integration of one set: GeneMamba's embedding beside PCA, Harmony and a random encoder, scored by scib-metrics.

python benchmarks/integration/score.py --set immune_3studies --out benchmarks/integration/results/integration.jsonl

avg_bio = mean(NMI, ARI at the best-NMI Leiden resolution of 10 in 0.2–2, ASW of labels);
avg_batch = mean(ASW of batches, graph connectivity), graph connectivity on the symmetric neighbour graph as in scib.
scib-metrics' own graph connectivity asks for strong connectivity of the directed graph and is far lower: its figure
stands beside as ``graph_connectivity_directed`` and enters no mean.
"""

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import scvi
from scib_metrics import silhouette_batch
from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation
from scib_metrics.nearest_neighbors import pynndescent
from scipy import sparse as sp
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import genemamba_sc as gm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from baselines import CLIP, COMPONENTS, log_cp10k, variable_genes
from rows import append_row, read_rows
from run import versions
from splits import BATCH, LABEL, SETS, column, load_set

NEIGHBOURS = 15
METHODS = ("genemamba", "genemamba_denoised", "random_encoder", "pca", "harmony")
STARTS = {"genemamba": "spectral", "genemamba_denoised": "denoised", "random_encoder": "random"}


def graph_connectivity(graph: sp.spmatrix, labels: np.ndarray) -> float:
    """Mean over labels of the share of its cells in the largest component of its own symmetric subgraph (scib)."""
    graph, shares = sp.csr_matrix(graph), []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        _, component = connected_components(graph[rows][:, rows], directed=True, connection="weak")
        shares.append(np.bincount(component).max() / len(rows))
    return float(np.mean(shares))


def pca(adata: ad.AnnData, seed: int) -> np.ndarray:
    """50 components of the z-scored variable genes."""
    x = log_cp10k(adata)[:, variable_genes(adata)].toarray()
    x = np.clip(StandardScaler().fit_transform(x), -CLIP, CLIP)
    return PCA(min(COMPONENTS, *x.shape), random_state=seed).fit_transform(x).astype(np.float32)


def harmony(adata: ad.AnnData, seed: int) -> np.ndarray:
    """Harmony on those components; needs harmonypy."""
    import harmonypy

    components = pca(adata, seed)
    found = harmonypy.run_harmony(components, adata.obs, BATCH, random_state=seed, verbose=False).Z_corr
    found = np.asarray(found, dtype=np.float32)
    return found if found.shape == components.shape else found.T  # harmonypy turned it round in 0.1


def genemamba(adata: ad.AnnData, seed: int, gene_init: str) -> np.ndarray:
    """Trained without labels on all cells, as the other methods see no labels; or as drawn at random."""
    scvi.settings.seed = seed
    gm.GeneMambaModel.setup_anndata(adata, batch_key=BATCH)
    model = gm.GeneMambaModel(adata, gene_init=gene_init)
    model.train(max_epochs=0 if gene_init == "random" else None, enable_progress_bar=False)
    return model.get_latent_representation()


def embedding(method: str, adata: ad.AnnData, seed: int) -> np.ndarray:
    """Cells × dimensions; every method gets its own copy without labels."""
    cells = adata.copy()
    del cells.obs[LABEL]
    if method in STARTS:
        return genemamba(cells, seed, STARTS[method])
    return {"pca": pca, "harmony": harmony}[method](cells, seed)


def score(adata: ad.AnnData, x: np.ndarray, components: np.ndarray) -> dict[str, float]:
    """All metrics of one embedding; ``components`` is the embedding before integration."""
    labels, batches = column(adata, LABEL), column(adata, BATCH)
    cells = ad.AnnData(x, obs=adata.obs[[LABEL, BATCH]], obsm={"X": x, "before": components})
    bio = BioConservation(
        isolated_labels=False,
        nmi_ari_cluster_labels_leiden=True,
        nmi_ari_cluster_labels_kmeans=False,
        silhouette_label=True,
        clisi_knn=True,
    )
    bench = Benchmarker(
        cells,
        batch_key=BATCH,
        label_key=LABEL,
        embedding_obsm_keys=["X"],
        bio_conservation_metrics=bio,
        batch_correction_metrics=BatchCorrection(),
        pre_integrated_embedding_obsm_key="before",
        progress_bar=False,
    )
    bench.benchmark()
    found = bench.get_results(clean_names=False).loc["X"]
    found = {name: float(found[name]) for name in found.index if np.isreal(found[name]) and "Total" not in name}
    graph = pynndescent(x, n_neighbors=NEIGHBOURS, random_state=0).knn_graph_connectivities
    return summary(found, float(silhouette_batch(x, labels, batches)), graph_connectivity(graph, labels))


def summary(found: dict[str, float], asw_batch: float, connectivity: float) -> dict[str, float]:
    """The published means, and every part of them."""
    nmi, ari = found["nmi_ari_cluster_labels_leiden_nmi"], found["nmi_ari_cluster_labels_leiden_ari"]
    asw = found["silhouette_label"]
    return {
        "avg_bio": (nmi + ari + asw) / 3,
        "avg_batch": (asw_batch + connectivity) / 2,
        "nmi": nmi,
        "ari": ari,
        "asw_label": asw,
        "asw_batch": asw_batch,
        "graph_connectivity": connectivity,
        "graph_connectivity_directed": found["graph_connectivity"],
        "ilisi": found["ilisi_knn"],
        "clisi": found["clisi_knn"],
        "kbet": found["kbet_per_label"],
        "bras": found["bras"],
        "pcr": found["pcr_comparison"],
    }


def main() -> None:
    """One row per method that has none yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=(*SETS, "pbmc_chemistries"), required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    done = {(row["set"], row["method"], row["seed"]) for row in read_rows(args.out)}
    adata = load_set(args.set)
    before = pca(adata, args.seed)
    for method in args.methods:
        if (args.set, method, args.seed) in done:
            continue
        if method == "harmony" and importlib.util.find_spec("harmonypy") is None:
            print("harmony left out: pip install harmonypy", file=sys.stderr)
            continue
        start = time.perf_counter()
        x = embedding(method, adata, args.seed)
        seconds = round(time.perf_counter() - start, 2)
        row = {"set": args.set, "method": method, "seed": args.seed, "seconds": seconds, "n_obs": adata.n_obs}
        row = {**row, **score(adata, x, before), "versions": versions()}
        append_row(args.out, row)
        means = f"avg_bio {row['avg_bio']:.3f}, avg_batch {row['avg_batch']:.3f}"
        print(f"{args.set} {method}: {means} in {seconds} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
