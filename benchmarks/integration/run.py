"""Measure integration: every method on every set, one JSON line per method, seed and part of the cells scored.

python benchmarks/integration/run.py --sets cell_lines,pbmc_chemistries,immune_3studies --seeds 0,1,2 \
    --methods pca,harmony,genemamba,genemamba_axes,genemamba_off,batch_means,combat_pca \
    --out benchmarks/integration/results/integration.jsonl

A second call goes on where the first stopped. ``--sets immune_3studies:DC@pbmc3k`` takes the cells of DC out of all
batches but pbmc3k, which makes a type of one batch. Embeddings are kept in ``--cache``, by the commit
that made them: a row must not name another one.
"""

import argparse
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from labelled import GIVEN, LABELLED, SHARES, UNKNOWN, given_labels
from methods import FAMILIES
from rows import Row, append_row, read_rows
from splits import BATCH, LABEL, SETS, column, load_set
from versions import commit, versions

from genemamba_sc.benchmark import score

KEY = ("set", "method", "seed", "scored_on")
UNLABELLED = tuple(name for names in FAMILIES.values() for name in names)
METHODS = (*UNLABELLED, *LABELLED)
FURTHER = ("harmonypy", "scib-metrics", "scikit-misc")


def load(name: str) -> ad.AnnData:
    """A set; ``SET:TYPE@BATCH`` is the set with a type in that batch only."""
    set_name, _, limit = name.partition(":")
    adata = load_set(set_name)
    if limit:
        kind, _, batch = limit.partition("@")
        labels, batches = column(adata, LABEL), column(adata, BATCH)
        if not ((labels == kind) & (batches == batch)).any():
            raise SystemExit(f"--sets {name}: {set_name} has no {kind!r} in {batch!r}.")
        adata = adata[(labels != kind) | (batches == batch)].copy()
    for key in (LABEL, BATCH):
        adata.obs[key] = column(adata, key)
        adata.obs[key] = adata.obs[key].astype("category")
    return adata


def blind(adata: ad.AnnData) -> ad.AnnData:
    """The cells with their batches and nothing else that a method could read."""
    return ad.AnnData(adata.X.copy(), obs=adata.obs[[BATCH]].copy(), var=adata.var.copy())


def embedding(adata: ad.AnnData, method: str, seed: int, cache: Path) -> tuple[np.ndarray, float]:
    """Embedding and seconds of a method, from the cache where it is there."""
    path = cache / f"{method}.{seed}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for name, (x, seconds) in fitted(adata, method, seed).items():
            np.savez(cache / f"{name}.{seed}.npz", x=x, seconds=seconds)
    with np.load(path) as kept:
        return kept["x"], float(kept["seconds"])


def fitted(adata: ad.AnnData, method: str, seed: int) -> dict[str, tuple[np.ndarray, float]]:
    """Embeddings of the method and of its family."""
    cells = blind(adata)
    if method in LABELLED:
        function, share = LABELLED[method]
        cells.obs[GIVEN] = given_labels(column(adata, LABEL), SHARES[share], seed)
        return {method: function(cells, seed)}
    return next(family for family, names in FAMILIES.items() if method in names)(cells, seed)


def parts(labels: np.ndarray, method: str, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Which cells are scored together: never those whose labels a method was given with those it was not."""
    if method not in LABELLED:
        yield "all", np.ones(len(labels), dtype=bool)
        return
    is_given = given_labels(labels, SHARES[LABELLED[method][1]], seed) != UNKNOWN
    yield "labelled", is_given
    if not is_given.all():
        yield "unlabelled", ~is_given


def measure(name: str, adata: ad.AnnData, method: str, seed: int, cache: Path) -> Iterator[Row]:
    """The rows of one method."""
    labels, batches = column(adata, LABEL), column(adata, BATCH)
    x, seconds = embedding(adata, method, seed, cache / name.replace("/", "_"))
    for scored_on, rows in parts(labels, method, seed):
        row = {"set": name, "method": method, "seed": seed, "scored_on": scored_on, "seconds": seconds}
        row |= {"n_obs": adata.n_obs, "n_scored": int(rows.sum()), "width": x.shape[1]}
        yield row | score(x[rows], labels[rows], batches[rows]) | {"versions": versions(FURTHER)}


def run(args: argparse.Namespace) -> int:
    """All rows that are not there yet; the number of methods that failed."""
    done = {tuple(row[key] for key in KEY[:3]) for row in read_rows(args.out)}
    failed = 0
    for name in args.sets:
        adata = load(name)
        for seed, method in ((seed, method) for seed in args.seeds for method in args.methods):
            if (name, method, seed) in done:
                continue
            try:
                rows = list(measure(name, adata, method, seed, args.cache / commit()))
            except Exception:  # noqa: BLE001 - the other rows must not be lost to one; it is named, and counted
                failed += 1
                print(f"FAILED {name} {method} seed {seed}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
                continue
            for row in rows:
                append_row(args.out, row)
                print(said(row), file=sys.stderr, flush=True)
    return failed


def said(row: Row) -> str:
    """One line about a row."""
    figures = ", ".join(f"{key} {row[key]:.3f}" for key in ("avg_bio", "avg_batch", "ilisi", "knn_accuracy"))
    return f"{row['set']} {row['method']} seed {row['seed']} ({row['scored_on']}): {figures}, {row['seconds']} s"


def listed(text: str) -> list[str]:
    """Names between commas."""
    return [name for name in text.split(",") if name]


def known(text: str) -> list[str]:
    """Names of methods between commas."""
    wrong = [name for name in listed(text) if name not in METHODS]
    if wrong:
        raise argparse.ArgumentTypeError(f"no method {', '.join(wrong)}; choose among {', '.join(METHODS)}")
    return listed(text)


def main() -> None:
    """Exit status 1 where a method failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=listed, required=True, help=f"of {', '.join((*SETS, 'pbmc_chemistries'))}")
    parser.add_argument("--methods", type=known, required=True, help=f"of {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in listed(text)], default=[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "genemamba_integration")
    sys.exit(1 if run(parser.parse_args()) else 0)


if __name__ == "__main__":
    main()
