"""Tell pairs of genes that are known to be related from others: every score on every set, one JSON line each.

    python benchmarks/genes/run.py --out benchmarks/genes/results/genes.jsonl
    python benchmarks/genes/run.py --table benchmarks/genes/results/genes.jsonl > benchmarks/genes/results/genes.md

Regulons of CollecTRI and TRRUST, pairs that share a Reactome pathway, and the labelled pairs of Gene2vec. No score has
seen any of them. A forest for each target costs a second, so it is asked about 300 targets (``collectri_300``).
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from methods import BASELINES, OURS, Cells, columns_of, forest, load_cells, mini
from pairs import Genes, Task, tasks
from relations_table import report
from rows import Row, append_row, read_rows
from scores import published, scored
from versions import versions

SETS = ("pbmc3k", "cell_lines", "immune_3studies")
LEAST_DETECTED, MOST_GENES, TARGETS = 0.05, 4000, 300


def prepare(name: str, seed: int) -> tuple[Cells, list[Task], np.ndarray]:
    """Cells, tasks, and the targets that a forest is asked about: 4,000 genes at most that 5 % of the cells express."""
    adata, vocabulary = load_cells(name), mini().vocabulary
    columns, tokens = columns_of(adata, vocabulary)
    common = np.flatnonzero(np.asarray((adata.X[:, columns] > 0).mean(axis=0)).ravel() >= LEAST_DETECTED)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(common)[:MOST_GENES])
    cells = Cells(adata, columns[chosen], tokens[chosen])
    found = tasks(Genes(cells.tokens, log_mean(cells), vocabulary), seed)
    regulons = found[0]
    targets = rng.permutation(np.unique(regulons.pairs[:, 1]))[:TARGETS]
    asked = np.isin(regulons.pairs[:, 1], targets)
    return cells, [*found, Task("collectri_300", regulons.pairs[asked], regulons.related[asked])], targets


def log_mean(cells: Cells) -> np.ndarray:
    from genemamba_sc.benchmark import log_cp10k

    return np.asarray(log_cp10k(cells.adata)[:, cells.columns].mean(axis=0)).ravel()


def measure(name: str, seed: int, done: set[tuple[str, str]]) -> Iterator[Row]:
    """The rows of one set that are not there yet."""
    wanted = [method for method in (*BASELINES, *OURS, "forest") if (name, method) not in done]
    if not wanted:
        return
    cells, asked, targets = prepare(name, seed)
    for method in wanted:
        start = time.perf_counter()
        if method == "forest":
            table, of_method = forest(cells, np.unique(asked[0].pairs[:, 0]), targets), asked[-1:]
        else:
            table, of_method = (BASELINES | OURS)[method](cells), asked
        row: Row = {"set": name, "method": method, "seed": seed, "n_genes": len(cells.names)}
        row["seconds"] = round(time.perf_counter() - start, 1)
        for task in of_method:
            score = table[task.pairs[:, 0], task.pairs[:, 1]].astype(np.float64)
            row[task.name] = scored(task, score) | (published(task, score) if task.name == "gene2vec" else {})
        yield row | {"versions": versions()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--seed", type=int, default=0)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="file of rows to append to; what it has is not measured again")
    where.add_argument("--table", type=Path, help="file of rows to print as a table")
    options = parser.parse_args()
    if options.table is not None:
        print(report(read_rows(options.table)), end="")
        return
    done = {(row["set"], row["method"]) for row in read_rows(options.out)}
    for name in options.sets:
        for row in measure(name, options.seed, done):
            append_row(options.out, row)
            print(row["set"], row["method"], row["seconds"], row["collectri_300"]["auroc"], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
