"""A query that measured few of the reference's genes: the reference as it is, or cut to the genes of both.

    OMP_NUM_THREADS=1 python benchmarks/annotation/shared_genes.py \\
        --out benchmarks/annotation/results/shared_genes.jsonl
    python benchmarks/annotation/shared_genes.py --table benchmarks/annotation/results/shared_genes.jsonl

`kang_ctrl` has 1,287 genes and `onek1k` 1,000, both cut down to variable ones; the other sets have more than 11,000.
Each reference trains with the package's defaults, once with all of its genes and once with those that the query has.
Types are named as in `TYPES`; cells of types that the reference lacks are not asked, and 3,000 random cells of each
query are, the same for every seed. The seed draws the split of `train()` and the weights that training starts from.
"""

import argparse
import json
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scvi
from rows import Row, append_row, read_rows
from run import seed_list
from splits import LABEL, column, load_set

import genemamba_sc as gm
from genemamba_sc.benchmark import accuracy, macro_f1

PAIRS = (
    ("pbmc3k", "kang_ctrl"),
    ("kang_ctrl", "pbmc3k"),
    ("pbmc_chemistries", "kang_ctrl"),
    ("pbmc3k", "onek1k"),
)
TYPES = {
    "CD4 T": ("CD4 T cells", "Naive CD4 T", "Memory CD4 T", "CD4 naive/central memory T"),
    "CD8 T": ("CD8 T", "CD8 T cells"),
    "NK": ("NK", "NK cells"),
    "B": ("B", "B cells", "B memory"),
    "CD14 mono": ("CD14+ Mono", "CD14+ Monocytes", "CD14+ Monocyte (classical)"),
    "FCGR3A mono": ("FCGR3A+ Mono", "FCGR3A+ Monocytes", "FCGR3A+ Monocyte (non-classical)"),
    "DC": ("DC", "Dendritic cells", "Dendritic Cells"),
    "megakaryocyte": ("Platelet", "Megakaryocytes"),
}
COARSE = {name: kind for kind, names in TYPES.items() for name in names}
MOST_ASKED = 3_000


def cells_of(name: str) -> ad.AnnData:
    """One set, its types under common names."""
    adata = load_set(name)
    adata.obs[LABEL] = pd.Categorical([COARSE[kind] for kind in column(adata, LABEL)])
    return adata


def asked(query: ad.AnnData, reference: ad.AnnData) -> ad.AnnData:
    """The cells that are asked."""
    rows = np.flatnonzero(query.obs[LABEL].isin(reference.obs[LABEL].unique()).to_numpy())
    if len(rows) > MOST_ASKED:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_ASKED, replace=False))
    return query[rows].copy()


def predicted(reference: ad.AnnData, query: ad.AnnData, seed: int) -> np.ndarray:
    """What a model of the reference calls the cells of the query."""
    scvi.settings.seed = seed
    gm.GeneMambaModel.setup_anndata(reference, labels_key=LABEL)
    model = gm.GeneMambaModel(reference)
    model.train(enable_progress_bar=False)
    with warnings.catch_warnings():  # that genes are few is what is measured
        warnings.filterwarnings("ignore", message="The query has .* genes of the model")
        return np.asarray(model.predict_celltype(query)).astype(str)


def measure(pair: tuple[str, str], genes: str, seed: int) -> Row:
    """One row."""
    reference, whole = (cells_of(name) for name in pair)
    query = asked(whole, reference)
    shared = reference.var_names[reference.var_names.isin(query.var_names)]
    used = reference if genes == "all" else reference[:, shared].copy()
    truth, found = column(query, LABEL), predicted(used, query, seed)
    return {
        "pair": " -> ".join(pair),
        "genes": genes,
        "seed": seed,
        "n_genes": used.n_vars,
        "n_shared": len(shared),
        "accuracy": accuracy(truth, found),
        "macro_f1": macro_f1(truth, found),
        "recall": {kind: float((found[truth == kind] == kind).mean()) for kind in sorted(set(truth))},
    }


def table(path: Path) -> str:
    """Means in % over the seeds, ± the standard deviation of the accuracy."""
    rows = pd.DataFrame([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
    kinds = [kind for kind in TYPES if any(kind in recall for recall in rows["recall"])]
    head = [
        "reference -> query",
        "genes of the reference",
        "accuracy",
        "macro-F1",
        *(f"recall {kind}" for kind in kinds),
    ]
    lines = [head, ["---"] * len(head)]
    for (pair, genes), part in rows.groupby(["pair", "genes"], sort=False):
        scores = 100 * part[["accuracy", "macro_f1"]]
        recall = 100 * pd.DataFrame(list(part["recall"])).mean()
        lines.append(
            [pair, f"{genes} ({part['n_genes'].iloc[0]:,})"]
            + [f"{scores['accuracy'].mean():.1f}±{scores['accuracy'].std(ddof=0):.1f} [{len(part)}]"]
            + [f"{scores['macro_f1'].mean():.1f}"]
            + [f"{recall[kind]:.0f}" if kind in recall else "–" for kind in kinds]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seed_list, default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the table of a file, and nothing else")
    options = parser.parse_args()
    if options.table:
        print(table(options.table))
        return
    if options.out is None:
        parser.error("--out is needed, or --table")
    done = {(row["pair"], row["genes"], row["seed"]) for row in read_rows(options.out)}
    for seed in options.seeds:
        for pair in PAIRS:
            for genes in ("all", "shared"):
                if (" -> ".join(pair), genes, seed) not in done:
                    append_row(options.out, measure(pair, genes, seed))


if __name__ == "__main__":
    main()
