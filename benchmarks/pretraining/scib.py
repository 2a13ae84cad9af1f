"""scib-metrics of a checkpoint on a set that it was pretrained without, beside what else needs no label.

    python benchmarks/pretraining/scib.py --checkpoint runs/without_kang_ctrl --target kang_ctrl --out scib.jsonl
    python benchmarks/pretraining/scib.py --table scib.jsonl

The embeddings of evaluate.py, scored as in ../integration.py on a random sample of the cells.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from command_line import parse
from corpus import read_set
from evaluate import embeddings

from genemamba_sc.benchmark import BATCH, LABEL, column, score

METRICS = ("avg_bio", "avg_batch", "nmi", "ari", "asw_label", "asw_batch", "graph_connectivity", "ilisi", "clisi")


def table(path: Path) -> str:
    frame = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    lines = ["| " + " | ".join(["target", "method", *METRICS]) + " |", "|" + " --- |" * (2 + len(METRICS))]
    for row in frame.to_dict("records"):
        lines.append("| " + " | ".join([row["target"], row["method"], *(f"{row[m]:.3f}" for m in METRICS)]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--target", default="kang_ctrl")
    parser.add_argument("--cells", type=int, default=4000, help="most cells that are scored")
    parser.add_argument("--seed", type=int, default=0)
    options = parse(parser, table, ("checkpoint",))
    adata = read_set(options.target)
    n = min(options.cells, adata.n_obs)
    cells = np.sort(np.random.default_rng(options.seed).choice(adata.n_obs, n, replace=False))
    sample = adata[cells].copy()
    for method, z in embeddings(options.checkpoint, options.target, options.seed).items():
        row = {"target": options.target, "method": method, "seed": options.seed, "cells": n}
        row |= score(z[cells], column(sample, LABEL), column(sample, BATCH))
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
