"""Choose settings on validation cells: no test cell of run.py's splits is read.

python benchmarks/annotation/validation.py --tasks within --settings '{"bag": {"model": {"n_layer": 0}}, "layer": {}}'

Tasks ``within``: a quarter of the training part of a stratified split is held out. Tasks ``across``: a model of one
study of immune_3studies is judged on another one, on the cell types both have; the third study is not read. Prints a
line per task and setting, then the means: accuracy, macro-F1 and negative log-likelihood of the right type.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations

import anndata as ad
import numpy as np
import scvi
from sklearn.model_selection import train_test_split
from splits import BATCH, LABEL, column, load_set, splits_of

from genemamba_sc.benchmark import accuracy, macro_f1, new_model

WITHIN = (("zheng_sorted", 0), ("zheng_sorted", 1), ("pbmc3k", 0), ("pbmc3k", 1), ("cell_lines", 0), ("kang_ctrl", 0))
MOST_CELLS = 3_300  # of kang_ctrl: as many as the others have


def within() -> Iterator[tuple[str, ad.AnnData, np.ndarray, np.ndarray]]:
    """A part of the training part of a stratified split, held out."""
    for name, seed in WITHIN:
        adata = load_set(name)
        split = next(iter(splits_of(adata, "stratified", seed)))
        train = split.train
        if len(train) > MOST_CELLS:
            train = np.random.default_rng(seed).choice(train, MOST_CELLS, replace=False)
        fit, judge = train_test_split(train, test_size=0.25, stratify=column(adata, LABEL)[train], random_state=seed)
        yield f"{name} {seed}", adata, fit, judge


def across() -> Iterator[tuple[str, ad.AnnData, np.ndarray, np.ndarray]]:
    """One study to another."""
    adata = load_set("immune_3studies")
    study, label = column(adata, BATCH), column(adata, LABEL)
    for one, other in permutations(np.unique(study), 2):
        shared = np.isin(label, np.unique(label[study == one]))
        yield f"{one} to {other}", adata, np.flatnonzero(study == one), np.flatnonzero((study == other) & shared)


def judge(adata: ad.AnnData, fit: np.ndarray, held: np.ndarray, setting: dict, seed: int) -> tuple[float, float, float]:
    """Accuracy, macro-F1 and negative log-likelihood on the cells held out."""
    train, query = adata[fit].copy(), adata[held].copy()
    train.obs[LABEL] = column(train, LABEL)
    truth = column(query, LABEL)
    scvi.settings.seed = seed
    model = new_model(train, **setting.get("model", {}))
    model.train(**{"enable_progress_bar": False, "train_size": 1.0, **setting.get("train", {})})
    soft = model.predict_celltype(query, soft=True)
    predicted = soft.columns.to_numpy()[soft.to_numpy().argmax(axis=1)].astype(str)
    right = soft.to_numpy()[np.arange(len(truth)), soft.columns.get_indexer(truth)]
    return accuracy(truth, predicted), macro_f1(truth, predicted), float(-np.log(np.maximum(right, 1e-9)).mean())


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", choices=("within", "across"), default="within")
    parser.add_argument("--settings", type=json.loads, default={"default": {}}, help="JSON: name -> {model, train}")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    found = defaultdict(list)
    for title, adata, fit, held in {"within": within, "across": across}[args.tasks]():
        for name, setting in args.settings.items():
            found[name].append(judge(adata, fit, held, setting, args.seed))
            a, f, nll = found[name][-1]
            print(f"{title}: {name} {100 * a:.1f} / {100 * f:.1f}, {nll:.3f}", file=sys.stderr, flush=True)
    print("| setting | accuracy | macro-F1 | NLL |\n|---|---|---|---|")
    for name, rows in found.items():
        a, f, nll = np.mean(rows, axis=0)
        print(f"| {name} | {100 * a:.1f} | {100 * f:.1f} | {nll:.3f} |")


if __name__ == "__main__":
    main()
