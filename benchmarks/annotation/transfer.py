"""One study or donor as the only reference: each study of immune_3studies asks the others, each donor of kang_ctrl.

    OMP_NUM_THREADS=1 python benchmarks/annotation/transfer.py --methods lr_l2,l1,genemamba \\
        --seeds 0,1,2,3,4,5,6,7,8,9 --out benchmarks/annotation/results/transfer.jsonl
    python benchmarks/annotation/transfer.py --table benchmarks/annotation/results/transfer.jsonl

A pair of `immune_3studies` is a study and another one; the pair of a donor of `kang_ctrl` is that donor and all others.
Cells of types that the reference lacks are not asked. The methods are those of `run.py`. The seed draws the split of
`train()` into training and validation cells and the weights that training starts from, or the folds by which a
logistic regression chooses its penalty; the cells of a pair are the same for every seed. A second call goes on where
the first stopped.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from rows import Row, append_row, read_rows
from run import METHODS, names, seed_list
from splits import BATCH, LABEL, Split, column, load_set

from genemamba_sc.benchmark import Options, accuracy, macro_f1, method_of, parts

SETS = ("immune_3studies", "kang_ctrl")
BASELINES = ("lr_l2", "l1")


def pairs(name: str, adata: ad.AnnData) -> Iterator[tuple[str, Split]]:
    """Reference and query of each pair; its title says which."""
    batch, label = column(adata, BATCH), column(adata, LABEL)
    for one in np.unique(batch):
        known = np.isin(label, np.unique(label[batch == one]))
        others = [other for other in np.unique(batch) if other != one] if name == "immune_3studies" else ["others"]
        for other in others:
            asked = (batch != one) if other == "others" else (batch == other)
            yield (
                f"{one} -> {other}",
                Split("transfer", other, np.flatnonzero(batch == one), np.flatnonzero(asked & known)),
            )


def measure(name: str, title: str, split: Split, seed: int, method: str, adata: ad.AnnData, options: Options) -> Row:
    """One row."""
    train, test = parts(adata, split)
    truth = column(adata[split.test], LABEL)
    outcome = method_of("annotation", method).load()(train, test, seed, options)
    return {
        "set": name,
        "pair": title,
        "seed": seed,
        "method": method,
        "accuracy": accuracy(truth, outcome.predicted),
        "macro_f1": macro_f1(truth, outcome.predicted),
        "seconds": round(outcome.seconds, 2),
        "settings": outcome.settings,
    }


def table(path: Path) -> str:
    """Mean accuracy ± standard deviation / mean macro-F1 in % over the seeds, and how many these are."""
    frame = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    frame[["accuracy", "macro_f1"]] *= 100
    methods = list(frame["method"].unique())
    lines = [["set", "pair", *methods, "ours − better LR"], ["---"] * (3 + len(methods))]
    for key, rows in frame.groupby(["set", "pair"], sort=False):
        parts = dict(list(rows.groupby("method")))
        cells = [scores(parts[method]) if method in parts else "–" for method in methods]
        lines.append([*key, *cells, difference({method: part["accuracy"].mean() for method, part in parts.items()})])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def scores(rows: pd.DataFrame) -> str:
    """One cell of the table."""
    mean = rows[["accuracy", "macro_f1"]].mean()
    return f"{mean['accuracy']:.1f}±{rows['accuracy'].std(ddof=0):.1f} / {mean['macro_f1']:.1f} [{len(rows)}]"


def difference(mean: dict[str, float]) -> str:
    """How much more accurate ours is than the better of the logistic regressions, in points."""
    known = [mean[name] for name in BASELINES if name in mean]
    return f"{mean['genemamba'] - max(known):+.1f}" if known and "genemamba" in mean else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=names(METHODS, "--methods"), default=["lr_l2", "l1", "genemamba"])
    parser.add_argument("--sets", type=names(SETS, "--sets"), default=list(SETS))
    parser.add_argument("--seeds", type=seed_list, default=[0, 1, 2])
    parser.add_argument("--train", type=json.loads, default={}, help="JSON: arguments of GeneMambaModel.train")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of a file, and nothing else")
    options = parser.parse_args()
    if options.table:
        print(table(options.table))
        return
    if options.out is None:
        parser.error("--out is needed, or --table")
    done = {(row["set"], row["pair"], row["seed"], row["method"]) for row in read_rows(options.out)}
    for name in options.sets:
        adata = load_set(name)
        for seed in options.seeds:
            for title, split in pairs(name, adata):
                for method in options.methods:
                    if (name, title, seed, method) not in done:
                        append_row(
                            options.out, measure(name, title, split, seed, method, adata, Options({}, options.train))
                        )


if __name__ == "__main__":
    main()
