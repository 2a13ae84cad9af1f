"""Whether neighbours among the cells that are asked about help to name them: `gm.tl.smooth_types`, and majority voting.

    OMP_NUM_THREADS=1 python benchmarks/annotation/smoothing.py --out benchmarks/annotation/results/smoothing.jsonl
    python benchmarks/annotation/smoothing.py --table benchmarks/annotation/results/smoothing.jsonl

Splits: each study of `immune_3studies` left out, each as the only reference of each other one, the four largest donors
of `kang_ctrl` and `onek1k` left out, and one random fifth of `pbmc3k` and `zheng_sorted`. Graphs are scanpy's, of the
query alone: 2,000 variable genes, 50 principal components, 15 neighbours. A multinomial logistic regression with an L2
penalty (C = 0.1 on logarithms of counts per 10,000) is smoothed in the same way.
A second call goes on where the first stopped.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scvi
from rows import append_row, read_rows
from run import names
from splits import BATCH, LABEL, Split, batch_splits, column, load_set, stratified_split

import genemamba_sc as gm
from genemamba_sc.benchmark import accuracy, log_cp10k, logistic, macro_f1, parts

SETS = ("immune_3studies", "pairs", "kang_ctrl", "onek1k", "pbmc3k", "zheng_sorted")
STRENGTHS = (0.0, 0.25, 0.5, 1.0)
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}


def splits_of(name: str) -> Iterator[tuple[str, ad.AnnData, Split]]:
    """Title, cells and split of each query of a set."""
    adata = load_set("immune_3studies" if name == "pairs" else name)
    label, batch = column(adata, LABEL), column(adata, BATCH)
    if name == "pairs":
        for one in np.unique(batch):
            known = np.isin(label, np.unique(label[batch == one]))
            for other in np.unique(batch[batch != one]):
                rows = np.flatnonzero(batch == one), np.flatnonzero((batch == other) & known)
                yield f"{one} -> {other}", adata, Split("pair", f"{one} -> {other}", *rows)
    elif name in ("pbmc3k", "zheng_sorted"):
        yield "a random fifth", adata, stratified_split(label, 0)
    else:
        for split in batch_splits(batch):
            yield split.held_out, adata, split


def graph_of(query: ad.AnnData) -> ad.AnnData:
    """The query with scanpy's graph, made as in its tutorials."""
    cells = query.copy()
    cells.X = log_cp10k(cells)
    cells.uns["log1p"] = {"base": None}
    sc.pp.filter_genes(cells, min_cells=3)
    sc.pp.highly_variable_genes(cells, n_top_genes=min(2_000, cells.n_vars))
    sc.pp.pca(cells, n_comps=50)
    sc.pp.neighbors(cells, use_rep="X_pca", n_neighbors=15)
    return cells


def ours(train: ad.AnnData, query: ad.AnnData, seed: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Probabilities by the package's defaults, and what its majority voting says."""
    scvi.settings.seed = seed
    batch = BATCH if len(np.unique(column(train, BATCH))) > 1 else None
    gm.GeneMambaModel.setup_anndata(train, labels_key=LABEL, batch_key=batch)
    model = gm.GeneMambaModel(train)
    model.train(integrate=False, **QUIET)
    voted = model.annotate(query.copy(), majority_voting="leiden").voting
    return model.predict_celltype(query, soft=True), {"majority voting": np.asarray(voted.cell_types).astype(str)}


def regression(train: ad.AnnData, query: ad.AnnData, seed: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Probabilities by a multinomial logistic regression with an L2 penalty."""
    model = logistic(l1=False, seed=seed).set_params(C=0.1)
    model.fit(log_cp10k(train), column(train, LABEL))
    return pd.DataFrame(model.predict_proba(log_cp10k(query)), query.obs_names, model.classes_), {}


METHODS = {"genemamba": ours, "lr_l2": regression}


def measure(out: Path, sets: list[str], methods: list[str]) -> None:
    """Append a row for each method, split and way of asking neighbours."""
    done = {(row["set"], row["title"], row["method"]) for row in read_rows(out)} if out.exists() else set()
    for name in sets:
        for title, adata, split in splits_of(name):
            truth = column(adata, LABEL)[split.test]
            train, query = parts(adata, split)
            query.obs_names = [f"query{i}" for i in range(query.n_obs)]
            wanted = [method for method in methods if (name, title, method) not in done]
            graph = graph_of(query) if wanted else query
            for method in wanted:
                probabilities, found = METHODS[method](train, query, 0)
                for strength in STRENGTHS:
                    smooth = gm.tl.smooth_types(probabilities, graph, strength=strength)
                    found[f"{strength:g}"] = smooth.idxmax(axis=1).to_numpy().astype(str)
                for way, types in found.items():
                    scores = {"accuracy": 100 * accuracy(truth, types), "macro_f1": 100 * macro_f1(truth, types)}
                    append_row(out, {"set": name, "title": title, "method": method, "way": way, **scores})
                print(name, title, method, flush=True)


def table(rows: list[dict[str, object]]) -> str:
    """Mean accuracy and macro-F1 of each set, by method and way."""
    frame = pd.DataFrame(rows)
    ways = [way for way in ("0", "0.25", "0.5", "1", "majority voting") if way in set(frame["way"])]
    lines = [f"| set | method | queries | {' | '.join(ways)} |", "|" + " --- |" * (3 + len(ways))]
    for (name, method), part in frame.groupby(["set", "method"], sort=False):
        cells = []
        for way in ways:
            own = part[part["way"] == way]
            cells.append(f"{mean(own['accuracy']):.1f} / {mean(own['macro_f1']):.1f}" if len(own) else "–")
        lines.append(f"| {name} | {method} | {part['title'].nunique()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=names(SETS, "sets"), default=list(SETS))
    parser.add_argument("--methods", type=names(tuple(METHODS), "methods"), default=list(METHODS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    if args.table is not None:
        print(table(read_rows(args.table)))
    elif args.out is not None:
        measure(args.out, args.sets, args.methods)
    else:
        parser.error("--out or --table is needed")


if __name__ == "__main__":
    main()
