"""Does the score of unknown cells tell that a new batch holds a type that the labelled, integrated reference lacks?

    OMP_NUM_THREADS=1 python benchmarks/integration/unknown.py --out benchmarks/integration/results/unknown.jsonl
    python benchmarks/integration/unknown.py --table benchmarks/integration/results/unknown.jsonl

Each batch below is left out once, with all types in the reference and with one taken out of it. The reference is
labelled and integrated, `max_epochs=0`; of large sets a random 4,000 cells are read. `unknown` is the share of the
cells of the new batch that look less like known types than 95 % of the calibration cells, of which a warning could
tell; types of fewer than five cells are left out of the reference. A second call goes on where the first stopped.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scvi

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from rows import Row, append_row, read_rows
from splits import BATCH, LABEL, column, load_set

import genemamba_sc as gm

QUESTIONS = [
    *(("pbmc_chemistries", batch, kind) for batch in (0, 1, 2) for kind in ("", "B cells", "CD14+ Monocytes")),
    *(("kang_ctrl", batch, kind) for batch in (0, 1) for kind in ("", "B cells", "NK cells")),
    *(("immune_3studies", batch, kind) for batch in (0, 1, 2) for kind in ("", "B", "CD14 Mono", "NK")),
]
MOST_CELLS, FEWEST, LIMIT = 4_000, 5, 0.95


def parts(name: str, number: int, removed: str) -> tuple[str, ad.AnnData, ad.AnnData]:
    """Name of the batch that is left out, the reference, and the cells of that batch."""
    adata = load_set(name)
    if adata.n_obs > MOST_CELLS:
        rows = np.random.default_rng(0).choice(adata.n_obs, MOST_CELLS, replace=False)
        adata = adata[np.sort(rows)].copy()
    adata.obs[LABEL], adata.obs[BATCH] = column(adata, LABEL), column(adata, BATCH)
    batch = str(np.unique(adata.obs[BATCH])[number])
    is_query = (adata.obs[BATCH] == batch).to_numpy()
    counts = adata.obs.loc[~is_query, LABEL].value_counts()
    known = [kind for kind in counts.index[counts >= FEWEST] if kind != removed]
    return batch, adata[~is_query & adata.obs[LABEL].isin(known).to_numpy()].copy(), adata[is_query].copy()


def measure(name: str, number: int, removed: str) -> Row:
    """One row."""
    batch, reference, query = parts(name, number, removed)
    scvi.settings.seed = 0
    gm.GeneMambaModel.setup_anndata(reference, batch_key=BATCH, labels_key=LABEL)
    model = gm.GeneMambaModel(reference)
    model.train(max_epochs=0, enable_progress_bar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unknown = model.annotate(query, batch_key=BATCH).unknown.to_numpy() >= LIMIT
    is_new = ~query.obs[LABEL].isin(model.cell_types).to_numpy()
    found = {"cells of it": is_new, "other cells": ~is_new, "all cells": np.ones(len(is_new), dtype=bool)}
    shares = {which: float(unknown[rows].mean()) if rows.any() else None for which, rows in found.items()}
    return {"set": name, "number": number, "batch": batch, "removed": removed, "new": float(is_new.mean()), **shares}


def table(path: Path) -> str:
    """Shares in %."""
    rows = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    head = [
        "set",
        "new batch",
        "type taken out",
        "cells of no known type",
        "unknown: all cells",
        "of these",
        "of others",
    ]
    lines = [head, ["---"] * len(head)]
    for row in rows.to_dict("records"):
        shares = [row[name] for name in ("new", "all cells", "cells of it", "other cells")]
        texts = ["–" if pd.isna(share) else f"{100 * share:.0f}" for share in shares]
        lines.append([row["set"], row["batch"], row["removed"] or "none", *texts])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of a file, and nothing else")
    options = parser.parse_args()
    if options.table:
        print(table(options.table))
        return
    if options.out is None:
        parser.error("--out is needed, or --table")
    done = {(row["set"], row["number"], row["removed"]) for row in read_rows(options.out)}
    for question in QUESTIONS:
        if question not in done:
            append_row(options.out, measure(*question))


if __name__ == "__main__":
    main()
