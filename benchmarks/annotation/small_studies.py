"""Fully labelled studies of some hundred cells: what training adds to the fitted start, and which epoch is kept.

    OMP_NUM_THREADS=1 python benchmarks/annotation/small_studies.py \\
        --out benchmarks/annotation/results/small_studies.jsonl
    python benchmarks/annotation/small_studies.py --table benchmarks/annotation/results/small_studies.jsonl

Studies of 490 cells, judged on 1,500 others of the set (`demo`: scanpy's 700 cells, judged on the 210 others). `start`:
`train(max_epochs=0)`; `best`: `train(train_size=0.9)`, which keeps the weights of the epoch with the lowest validation
loss; `last`: the same with `early_stopping=False`, all epochs and the weights of the last; `lr`: a logistic regression
on log values of all genes, its penalty chosen by cross-validation in the study. A second call goes on where the first
stopped.
"""

import argparse
import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scvi
from rows import append_row, read_rows
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from splits import LABEL, column, load_set

from genemamba_sc import GeneMambaModel
from genemamba_sc.benchmark import accuracy, demo_cells, macro_f1

SIZE, MOST_TEST = 490, 1500
TRAINING = {
    "start": {"max_epochs": 0},
    "best": {"train_size": 0.9},
    "last": {"train_size": 0.9, "early_stopping": False},
}
QUIET = {"enable_progress_bar": False, "enable_model_summary": False}
PENALTIES = {"C": [0.01, 0.1, 1, 10, 100]}


def cells_of(name: str) -> ad.AnnData:
    if name != "demo":
        return load_set(name)
    demo = demo_cells()
    demo.obs[LABEL] = demo.obs["bulk_labels"]
    return demo


def by_regression(study: ad.AnnData, test: ad.AnnData, is_log: bool) -> np.ndarray:
    values = [cells.copy() for cells in (study, test)]
    for cells in values:
        if not is_log:
            sc.pp.normalize_total(cells, target_sum=1e4)
            sc.pp.log1p(cells)
    search = GridSearchCV(LogisticRegression(max_iter=300), PENALTIES, cv=3).fit(values[0].X, column(study, LABEL))
    return search.predict(values[1].X)


def rows_of(name: str, adata: ad.AnnData, seed: int) -> list[dict[str, object]]:
    labels = column(adata, LABEL)
    n_test = min(MOST_TEST, adata.n_obs - SIZE)
    train, held = train_test_split(
        np.arange(adata.n_obs), train_size=SIZE, test_size=n_test, stratify=labels, random_state=seed
    )
    study, test = adata[train].copy(), adata[held].copy()
    rows: list[dict[str, object]] = []
    for method in (*TRAINING, "lr"):
        epochs = None
        if method == "lr":
            found = by_regression(study, test, is_log=name == "demo")
        else:
            scvi.settings.seed = seed
            GeneMambaModel.setup_anndata(study, labels_key=LABEL)
            model = GeneMambaModel(study)
            model.train(**TRAINING[method], **QUIET)
            found, epochs = np.asarray(model.predict_celltype(test)).astype(str), int(model.trainer.current_epoch)
        score = {"accuracy": accuracy(labels[held], found), "macro_f1": macro_f1(labels[held], found)}
        rows.append({"set": name, "seed": seed, "method": method, "epochs": epochs} | score)
    return rows


def table(path: Path) -> str:
    """Means over the splits, accuracy / macro-F1 in %."""
    frame = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    mean = 100 * frame.groupby(["set", "method"], sort=False)[["accuracy", "macro_f1"]].mean()
    methods, n_splits = list(frame["method"].unique()), frame.groupby("set")["seed"].nunique()
    lines = ["| " + " | ".join(["set", "splits", *methods]) + " |", "|" + " --- |" * (2 + len(methods))]
    for name in frame["set"].unique():
        both = [f"{a:.1f} / {f:.1f}" for a, f in (mean.loc[(name, method)] for method in methods)]
        lines.append("| " + " | ".join([name, str(n_splits[name]), *both]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="demo,zheng_sorted,pbmc3k,kang_ctrl")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of a file, and nothing else")
    options = parser.parse_args()
    if options.table:
        print(table(options.table))
        return
    if options.out is None:
        parser.error("--out is needed, or --table")
    scvi.settings.progress_bar_style = None
    done = {(row["set"], row["seed"]) for row in read_rows(options.out)}
    for name in options.sets.split(","):
        adata = cells_of(name)
        for seed in range(options.splits):
            for row in [] if (name, seed) in done else rows_of(name, adata, seed):
                append_row(options.out, row)


if __name__ == "__main__":
    main()
