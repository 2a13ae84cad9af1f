"""Measure what an annotation says about itself: coverage of label sets, calibration of confidence, unknown cells.

    cd benchmarks/annotation
    export OMP_NUM_THREADS=1
    SETS="--parts sets --epochs 1 --out results/sets.jsonl"
    python confidence.py $SETS --seeds 3 --most-cells 4000 --sets immune_3studies,kang_ctrl,onek1k
    python confidence.py $SETS --seeds 3 --most-cells 2000 --sets zheng_sorted,pbmc3k,cell_lines
    python confidence.py --parts unknown --epochs 1 --most-cells 1600 --out results/unknown.jsonl
    python confidence_table.py results

The first two with ``--refit``, too, and ``--out results/sets_refit.jsonl``.

Part `sets`: every set and split of `splits.py`. Per split one model with the package's defaults but `--epochs`, and on
its test cells: coverage and mean size of sets at 0.8, 0.9, 0.95, also with the predicted type in every set, and by
type where there are calibration cells enough; expected calibration error before and after the temperature. `local`: the
same after `calibrate` on 200 labelled test cells, judged on the others of known types. Elsewhere test cells of a type
that no training cell has count as not covered.

Part `unknown`: a stratified split; each type of at least 20 test cells left out of the training in turn; AUROC of its
test cells among all test cells. Beside ours: the largest probability of a logistic regression (log values of all genes,
L2, C = 1), the mean distance to the 15 nearest training cells on 50 principal components, the largest score of
one-vs-rest regressions, whose sigmoid is what CellTypist cuts at 0.5 (its own package too where it is installed), and
our own largest probability. `flagged`: which shares of the left-out and of the other cells `reject_unknown=True` calls
Unknown. A second call goes on where the first stopped.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import scvi
from rows import Row, append_row, read_rows
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import NearestNeighbors
from splits import LABEL, SETS, SETS_OF_SPLIT, Split, column, load_set, splits_of
from versions import commit

from genemamba_sc import GeneMambaModel
from genemamba_sc.benchmark import (
    COMPONENTS,
    NEIGHBOURS,
    log_cp10k,
    logistic,
    new_model,
    scaled_variable_genes,
)
from genemamba_sc.confidence import Calibration, probabilities_of

COVERAGES = (0.8, 0.9, 0.95)
LOCAL_CELLS = 200
FEWEST_LEFT_OUT = 20
BINS = 15
KEY = ("method", "set", "split", "held_out", "seed")


@dataclass(frozen=True)
class Training:
    """Passes over the training cells, and whether the labels of validation cells are fitted in the end."""

    epochs: int | None
    refit: bool


def calibration_error(probabilities: np.ndarray, is_right: np.ndarray) -> float:
    """Mean distance of confidence and accuracy over 15 bins of equal width, weighted by cells."""
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, confidence - is_right, minlength=BINS)).sum() / len(bins))


def trained(adata: ad.AnnData, rows: np.ndarray, seed: int, training: Training) -> GeneMambaModel:
    train = adata[rows].copy()
    train.obs[LABEL] = column(train, LABEL)
    scvi.settings.seed = seed
    model = new_model(train)
    # Integration changes no prediction, and sets and scores do not read it.
    choices = {"max_epochs": training.epochs, "refit": training.refit}
    model.train(train_size=0.9, integrate=False, enable_progress_bar=False, **choices)
    return model


def judged(calibration: Calibration, logits: np.ndarray, codes: np.ndarray, types: list[str]) -> dict[str, float]:
    """Coverage and size of sets, and calibration error; codes of -1 are of no known type."""
    found: dict[str, float] = {"temperature": calibration.temperature, "n_calibration": len(calibration.labels)}
    rows, known = np.arange(len(codes)), codes >= 0
    is_right = logits.argmax(axis=1) == codes
    found["accuracy"] = float(is_right.mean())
    found["ece_before"] = calibration_error(probabilities_of(logits, 1.0), is_right)
    found["ece_after"] = calibration_error(calibration.probabilities(logits), is_right)
    ways = {"": {}, "full ": {"allow_empty": False}, "per type ": {"per_type": True}}
    for coverage in COVERAGES:
        for way, choices in ways.items():
            try:
                sets = calibration.sets(logits, rows, types, coverage, **choices).members.to_numpy()
            except ValueError:  # too few calibration cells, which the table shows as a dash
                continue
            inside = sets[rows, codes] & known
            by_type = [inside[codes == kind].mean() for kind in np.unique(codes[known]) if (codes == kind).sum() >= 20]
            name = f"{way}{coverage:g}"
            found |= {f"coverage {name}": float(inside.mean()), f"size {name}": float(sets.sum(axis=1).mean())}
            found |= {
                f"least {name}": float(min(by_type, default=np.nan)),
                f"empty {name}": float((sets.sum(axis=1) == 0).mean()),
            }
    return found


def sets_of(adata: ad.AnnData, split: Split, seed: int, training: Training) -> Iterator[tuple[str, dict[str, float]]]:
    model = trained(adata, split.train, seed, training)
    test = adata[split.test].copy()
    types = [str(name) for name in model.cell_types]
    codes = np.array([types.index(name) if name in types else -1 for name in column(test, LABEL)])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = model.annotate(test)
    # Up to a constant in each cell, which changes nothing.
    logits = np.log(np.maximum(found.probabilities.to_numpy(np.float64), 1e-44)) * model.calibration_.temperature
    said = judged(model.calibration_, logits, codes, types)
    yield (
        "sets",
        said
        | {
            "flagged": float((found.unknown >= 0.95).mean()),
            "shift": found.shift.distance,
            "is_told": any("differ from the calibration cells" in str(warning.message) for warning in told),
        },
    )
    if split.kind == "batch" and len(test) > 3 * LOCAL_CELLS:
        known = np.flatnonzero(codes >= 0)
        local = np.random.default_rng(seed).choice(known, LOCAL_CELLS, replace=False)
        rest = np.setdiff1d(known, local)
        model.calibrate(test, LABEL, indices=local)
        yield "local", judged(model.calibration_, logits[rest], codes[rest], types)


def baseline_scores(train: ad.AnnData, test: ad.AnnData, seed: int) -> dict[str, np.ndarray]:
    """Scores that are high for unknown cells."""
    x, x_test, labels = log_cp10k(train), log_cp10k(test), column(train, LABEL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = logistic(False, seed).set_params(C=1.0).fit(x, labels)
        rest = OneVsRestClassifier(LogisticRegression(C=1.0, solver="liblinear")).fit(x, labels)
    try:
        values, values_test = scaled_variable_genes(train, test)
    except ValueError:  # the loess of seurat_v3 fails on some small sets
        values, values_test = x.toarray(), x_test.toarray()
    pca = PCA(COMPONENTS, svd_solver="randomized", random_state=seed).fit(values)
    near = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(pca.transform(values))
    scores = rest.decision_function(x_test)
    return {
        "logistic regression": -plain.predict_proba(x_test).max(axis=1),
        "kNN distance": near.kneighbors(pca.transform(values_test))[0].mean(axis=1),
        "one-vs-rest cut": -(scores if scores.ndim == 1 else scores.max(axis=1)),
        **celltypist_scores(train, test),
    }


def celltypist_scores(train: ad.AnnData, test: ad.AnnData) -> dict[str, np.ndarray]:
    """CellTypist's own cut, where the package is installed."""
    try:
        import celltypist
    except ModuleNotFoundError:
        return {}
    parts = [ad.AnnData(log_cp10k(cells), obs=cells.obs.copy(), var=cells.var.copy()) for cells in (train, test)]
    model = celltypist.train(parts[0], labels=column(train, LABEL), check_expression=False, use_SGD=True)
    found = celltypist.annotate(parts[1], model=model)
    return {"CellTypist": -found.probability_matrix.to_numpy().max(axis=1)}


def unknown_of(adata: ad.AnnData, split: Split, left_out: str, seed: int, training: Training) -> dict[str, object]:
    labels = column(adata, LABEL)
    rows = split.train[labels[split.train] != left_out]
    model, test = trained(adata, rows, seed, training), adata[split.test].copy()
    is_new = column(test, LABEL) == left_out
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="These cells differ from the calibration cells")
        found = model.annotate(test, reject_unknown=True)
    scores = {"ours": found.unknown.to_numpy(), "our probability": -found.confidence.to_numpy()}
    scores |= baseline_scores(adata[rows].copy(), test, seed)
    flagged = (found.cell_types == "Unknown").to_numpy()
    return {
        "auroc": {name: float(roc_auc_score(is_new, score)) for name, score in scores.items()},
        "flagged_new": float(flagged[is_new].mean()),
        "flagged_known": float(flagged[~is_new].mean()),
        "n_new": int(is_new.sum()),
    }


def jobs(options: argparse.Namespace) -> Iterator[tuple[tuple, ad.AnnData, Split]]:
    for name in options.sets.split(","):
        adata = load_set(name)
        if options.most_cells is not None and adata.n_obs > options.most_cells:
            taken = np.random.default_rng(0).choice(adata.n_obs, options.most_cells, replace=False)
            adata = adata[np.sort(taken)].copy()
            # A split by type needs two cells of each.
            counts = adata.obs[LABEL].value_counts()
            adata = adata[adata.obs[LABEL].map(counts).astype(int).to_numpy() >= 5].copy()
        labels = column(adata, LABEL)
        if "sets" in options.parts:
            for kind in (kind for kind in SETS_OF_SPLIT if name in SETS_OF_SPLIT[kind]):
                for seed in range(options.seeds if kind == "stratified" else 1):
                    for split in splits_of(adata, kind, seed):
                        yield ("sets", name, kind, split.held_out, seed), adata, split
        if "unknown" in options.parts and name in SETS_OF_SPLIT["stratified"]:
            split = next(iter(splits_of(adata, "stratified", 0)))
            types, counts = np.unique(labels[split.test], return_counts=True)
            for left_out in types[counts >= FEWEST_LEFT_OUT]:
                yield ("unknown", name, "stratified", str(left_out), 0), adata, split


def rows_of(key: tuple, adata: ad.AnnData, split: Split, training: Training) -> Iterator[Row]:
    part, name, kind, held_out, seed = key
    row = {
        "set": name,
        "split": kind,
        "held_out": held_out,
        "seed": seed,
        "epochs": training.epochs,
        "refit": training.refit,
        "commit": commit(),
        "n_cells": adata.n_obs,
        "n_test": len(split.test),
    }
    if part == "sets":
        for method, found in sets_of(adata, split, seed, training):
            yield row | {"method": method} | found
    else:
        yield row | {"method": "unknown"} | unknown_of(adata, split, held_out, seed, training)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", choices=("sets", "unknown"), required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", type=int, default=1, help="random splits of each set")
    parser.add_argument("--epochs", type=int, help="passes over the training cells; the package's default if left out")
    parser.add_argument(
        "--refit", action="store_true", help="fit the labels of validation cells in the end, as train() does"
    )
    parser.add_argument("--most-cells", type=int, help="a random so many cells of each set")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    scvi.settings.progress_bar_style = None
    done = {(*(row[name] for name in KEY), row.get("refit", False)) for row in read_rows(options.out)}
    for key, adata, split in jobs(options):
        if (*key, options.refit) in done:
            continue
        start = time.perf_counter()
        for row in rows_of(key, adata, split, Training(options.epochs, options.refit)):
            append_row(options.out, row | {"seconds": round(time.perf_counter() - start, 1)})
            print(json.dumps({name: row[name] for name in list(row)[:8]}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
