"""Annotation where not only labels but cells are few: what pretraining knows that the cells cannot tell.

    python benchmarks/pretraining/few_cells.py --checkpoints runs/without_{target} --out few_cells.jsonl
    python benchmarks/pretraining/few_cells.py --table few_cells.jsonl

A study of N cells (at least two of each type), of which a share is labelled (at least two per type); the test cells are
a fifth of the whole set, seen by no method. `mini` and `scratch` through the public interface, without a step of
training; `pca`: logistic regression on 20 components of log values of the 2,000 most variable genes of the N cells, not
scaled, the best of the four recipes of evaluate.py on two of three sets; `lr`: on log values of all genes, with
C = 100.
"""

import argparse
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scvi
from command_line import parse
from corpus import read_set
from finetune import QUIET, UNKNOWN
from probes import probe_of
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from genemamba_sc import GeneMambaModel

STUDIES = ((100, 1.0), (200, 0.25), (200, 1.0), (500, 0.1), (500, 1.0), (1000, 0.05))
LEAST = 2
COMPONENTS = 20


def draw(labels: np.ndarray, n_cells: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of the study, the labelled ones among them, and the test cells."""
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=seed)
    rng = np.random.default_rng(seed)
    least = [rng.choice(train[labels[train] == name], LEAST, replace=False) for name in np.unique(labels)]
    least = np.concatenate(least)
    cells = np.concatenate([least, rng.choice(np.setdiff1d(train, least), n_cells - len(least), replace=False)])
    of_type = [rng.permutation(cells[labels[cells] == name]) for name in np.unique(labels)]
    return cells, np.concatenate([own[: max(LEAST, round(share * len(own)))] for own in of_type]), test


def by_model(
    adata: ad.AnnData, cells: np.ndarray, labelled: np.ndarray, test: np.ndarray, weights: Path | None
) -> np.ndarray:
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    study = adata[cells].copy()
    study.obs["known"] = np.where(np.isin(cells, labelled), labels[cells], UNKNOWN)
    GeneMambaModel.setup_anndata(study, labels_key="known", unlabeled_category=UNKNOWN)
    model = GeneMambaModel(study) if weights is None else GeneMambaModel.from_pretrained(weights, adata=study)
    model.train(max_epochs=0, **QUIET)
    return np.asarray(model.predict_celltype(adata[test].copy())).astype(str)


def by_pca(log: ad.AnnData, cells: np.ndarray, labelled: np.ndarray, test: np.ndarray) -> np.ndarray:
    genes = sc.pp.highly_variable_genes(log[cells], n_top_genes=min(2000, log.n_vars), inplace=False)["highly_variable"]
    values = log.X[:, genes.to_numpy()].toarray()
    z = PCA(COMPONENTS, random_state=0).fit(values[cells]).transform(values)
    return probe_of(z, cells).fit(z[labelled], log.obs["cell_type"].astype(str).to_numpy()[labelled]).predict(z[test])


def rows_of(target: str, weights: Path, draws: int) -> list[dict[str, object]]:
    adata = read_set(target)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    log = adata.copy()
    sc.pp.normalize_total(log, target_sum=1e4)
    sc.pp.log1p(log)
    rows: list[dict[str, object]] = []
    for n_cells, share in STUDIES:
        for seed in range(draws):
            cells, labelled, test = draw(labels, n_cells, share, seed)
            scvi.settings.seed = seed
            regression = LogisticRegression(C=100, max_iter=300).fit(log.X[labelled], labels[labelled])
            found = {
                "mini": by_model(adata, cells, labelled, test, weights),
                "scratch": by_model(adata, cells, labelled, test, None),
                "pca": by_pca(log, cells, labelled, test),
                "lr": regression.predict(log.X[test]),
            }
            for method, names in found.items():
                score = {
                    "accuracy": float((names == labels[test]).mean()),
                    "macro_f1": float(f1_score(labels[test], names, average="macro")),
                }
                rows.append(
                    {"target": target, "cells": n_cells, "share": share, "draw": seed, "method": method} | score
                )
    return rows


def table(path: Path) -> str:
    """Means over the draws, accuracy / macro-F1."""
    frame = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    mean = frame.groupby(["target", "cells", "share", "method"], sort=False)[["accuracy", "macro_f1"]].mean()
    methods = list(frame["method"].unique())
    lines = ["| " + " | ".join(["set", "cells", "labelled", *methods]) + " |", "|" + " --- |" * (3 + len(methods))]
    for target, cells, share in frame[["target", "cells", "share"]].drop_duplicates().itertuples(index=False):
        rows = [mean.loc[(target, cells, share, method)] for method in methods]
        both = [f"{row['accuracy']:.3f} / {row['macro_f1']:.3f}" for row in rows]
        lines.append("| " + " | ".join([target, f"{cells:,}", f"{100 * share:g} %", *both]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", help="folder of each checkpoint, with {target} in it")
    parser.add_argument("--targets", default="zheng_sorted,pbmc3k,kang_ctrl")
    parser.add_argument("--draws", type=int, default=5)
    options = parse(parser, table, ("checkpoints",))
    scvi.settings.progress_bar_style = None
    for target in options.targets.split(","):
        rows = rows_of(target, Path(options.checkpoints.format(target=target)), options.draws)
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
