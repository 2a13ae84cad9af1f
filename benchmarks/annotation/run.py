"""Measure annotation: every method on every split, one JSON line each.

python benchmarks/annotation/run.py --methods genemamba,bag,lr_l2 --sets all --splits stratified,batch --seeds 0,1,2 \
    --out benchmarks/annotation/results/annotation.jsonl

A second call goes on where the first stopped.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
from rows import Row, append_row, key_of, read_rows
from splits import LABEL, SETS, SETS_OF_SPLIT, Split, column, load_set, splits_of
from versions import versions

from genemamba_sc.benchmark import Options, accuracy, knn_probe, macro_f1, method_of, parts

# The methods are those of genemamba_sc.benchmark.
OURS = ("genemamba", "bag", "linear_head", "random_encoder")
SEEDED = ("genemamba", "bag", "random_encoder")  # the others give the same on the same cells, whatever the seed
BASELINES = ("l1", "lr_l2", "lr_hvg", "knn", "rank512")
METHODS = (*OURS, *BASELINES)


def measure(name: str, split: Split, seed: int, method: str, options: Options, adata: ad.AnnData) -> Row:
    """One row."""
    train, test = parts(adata, split)
    labels, truth = column(train, LABEL), column(adata[split.test], LABEL)
    outcome = method_of("annotation", method).load()(train, test, seed, options)
    row = {
        "set": name,
        "split": split.kind,
        "held_out": split.held_out,
        "seed": seed,
        "method": method,
        "asked": asked(method, options),
        "accuracy": accuracy(truth, outcome.predicted),
        "macro_f1": macro_f1(truth, outcome.predicted),
        "n_train": len(split.train),
        "n_test": len(split.test),
        "seconds": round(outcome.seconds, 2),
        "params": outcome.params,
        "settings": outcome.settings,
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "versions": versions(),
    }
    if outcome.test_embedding is not None:
        row["embedding"] = knn_probe(outcome.train_embedding, labels, outcome.test_embedding, truth)
    return row


def asked(method: str, options: Options) -> dict[str, object]:
    """The arguments a run asked of a method; the baselines take none."""
    return {"model": options.model, "train": options.train} if method in OURS else {}


def seeds_of(split_kind: str, method: str, seeds: list[int]) -> list[int]:
    """All seeds; one where neither the split nor the method depends on it (baselines, left-out batches)."""
    return seeds[:1] if split_kind == "batch" and method not in SEEDED else seeds


def jobs(args: argparse.Namespace, name: str, adata: ad.AnnData) -> Iterator[tuple[Split, int, str]]:
    """(split, seed, method) of one set, in the order of the seeds, so that a stopped run is a smaller whole run."""
    for kind in (kind for kind in args.splits if name in SETS_OF_SPLIT[kind]):
        for seed in args.seeds:
            for split in splits_of(adata, kind, seed):
                yield from ((split, seed, m) for m in args.methods if seed in seeds_of(kind, m, args.seeds))


def refuse_mixed_settings(path: Path, rows: list[Row], methods: list[str], options: Options) -> None:
    """A file holds one setting per method: a mean over two would describe neither."""
    for row in rows:
        wanted = asked(row["method"], options)
        if row["method"] in methods and row["asked"] != wanted:
            raise SystemExit(
                f"A results file holds one setting per method. {path} has {row['method']} with {row['asked']}, "
                f"this run asks for {wanted}. Give another --out."
            )


def run(args: argparse.Namespace) -> int:
    """All jobs that have no row yet; the number of those that failed."""
    options = Options(args.model, args.train)
    rows = read_rows(args.out)
    refuse_mixed_settings(args.out, rows, args.methods, options)
    done, failed = {key_of(row) for row in rows}, 0
    for name in args.sets:
        adata = load_set(name)
        for split, seed, method in jobs(args, name, adata):
            if (name, split.kind, split.held_out, seed, method) in done:
                continue
            title = f"{name} {split.kind} {split.held_out or '-'} seed {seed} {method}"
            try:
                row = measure(name, split, seed, method, options, adata)
            except Exception:  # noqa: BLE001 - hours of other rows must not be lost to one; it is named, and counted
                failed += 1
                print(f"FAILED {title}\n{traceback.format_exc()}", file=sys.stderr, flush=True)
                continue
            append_row(args.out, row)
            scores = f"{100 * row['accuracy']:.1f} / {100 * row['macro_f1']:.1f}"
            print(f"{title}: {scores} in {row['seconds']} s", file=sys.stderr, flush=True)
    return failed


def names(allowed: tuple[str, ...], what: str) -> object:
    """A parser of comma-separated names, ``all`` for every one."""

    def parse(text: str) -> list[str]:
        given = list(allowed) if text == "all" else text.split(",")
        unknown = [name for name in given if name not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"{what} must be among {', '.join(allowed)}, or all. Got {unknown}.")
        return given

    return parse


def seed_list(text: str) -> list[int]:
    """Comma-separated whole numbers."""
    return [int(part) for part in text.split(",")]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=names(METHODS, "--methods"), default=list(METHODS))
    parser.add_argument("--sets", type=names(SETS, "--sets"), default=list(SETS))
    parser.add_argument("--splits", type=names(tuple(SETS_OF_SPLIT), "--splits"), default=list(SETS_OF_SPLIT))
    parser.add_argument("--seeds", type=seed_list, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=json.loads, default={}, help="JSON: arguments of GeneMambaModel")
    parser.add_argument("--train", type=json.loads, default={}, help="JSON: arguments of GeneMambaModel.train")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(1 if run(parse()) else 0)
