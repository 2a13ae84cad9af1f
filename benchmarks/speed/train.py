"""Seconds of ``train()`` with labels, and its accuracy, beside an older commit and, where asked, beside scANVI.

    git worktree add /tmp/old e0e9d22
    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/speed/train.py --old /tmp/old \\
        --out benchmarks/speed/results/train.md
    python benchmarks/speed/train.py --old /tmp/d621bf4 --sets pbmc3k --threads 2 --repeats 3  # its second table

Four fifths of the cells of a set train with the package's defaults, and the others are predicted; each repeat has
another split. The programs take turns, each in a process of its own, which first trains on a few cells, so that nothing
is compiled while the time is taken. `--scanvi` adds `scvi.model.SCANVI` with its defaults, on counts of all genes; that
takes hours on one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import anndata as ad
import numpy as np
from _machine import machine_line
from _timing import markdown

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from sets import COLUMNS, load_set

# A process that measures an older commit has no genemamba_sc.benchmark.report: only the parent splits and scores.
LABEL = COLUMNS[0]
ROOT = Path(__file__).resolve().parents[2]
QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}
WARM_UP = 200


def ours(train: ad.AnnData, epochs: int | None = None) -> tuple[Callable[[], object], Callable[[ad.AnnData], object]]:
    """How to train, and how to predict with, whichever genemamba_sc is on the path."""
    import genemamba_sc as gm

    gm.GeneMambaModel.setup_anndata(train, labels_key=LABEL)
    model = gm.GeneMambaModel(train)
    return lambda: model.train(max_epochs=epochs, **QUIET), model.predict_celltype


def scanvi(train: ad.AnnData, epochs: int | None = None) -> tuple[Callable[[], object], Callable[[ad.AnnData], object]]:
    """How to train, and how to predict with, scANVI from scratch."""
    import scvi

    scvi.model.SCANVI.setup_anndata(train, labels_key=LABEL, unlabeled_category="unknown")
    model = scvi.model.SCANVI(train)
    return lambda: model.train(max_epochs=epochs, **QUIET), model.predict


def child(program: str, name: str, seed: int, work: Path, threads: int) -> dict[str, float]:
    """Train once on the rows in ``work``, and leave predictions there; the time is that of ``train()`` alone."""
    import scvi
    import torch

    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    scvi.settings.seed = seed
    new = {"scanvi": scanvi}.get(program, ours)
    adata = load_set(name)
    rows = np.load(work / "rows.npz")
    new(adata[rows["train"][:WARM_UP]].copy(), 1)[0]()
    train, test = adata[rows["train"]].copy(), adata[rows["test"]].copy()
    fit, predict = new(train)
    start, start_cpu = time.perf_counter(), time.process_time()
    fit()
    taken = {"wall": time.perf_counter() - start, "cpu": time.process_time() - start_cpu}
    np.save(work / "predicted.npy", np.asarray(predict(test)).astype(str))
    return taken


def run(program: str, source: Path, name: str, seed: int, threads: int) -> dict[str, float]:
    """One run in a process of its own; with more than one thread, numpy takes as many as it finds cores."""
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    limits = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"
    if threads == 1:
        environment |= dict.fromkeys(limits, "1")
    else:
        environment = {key: value for key, value in environment.items() if key not in limits}
    from genemamba_sc.benchmark import accuracy, column, macro_f1, stratified_split

    labels = column(load_set(name), LABEL)
    split = stratified_split(labels, seed)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "rows.npz", train=split.train, test=split.test)
        command = [sys.executable, __file__, "--child", program, "--sets", name, "--seed", str(seed), "--work", folder]
        command += ["--threads", str(threads)]
        said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        truth, found = labels[split.test], np.load(Path(folder) / "predicted.npy")
    scores = {"accuracy": 100 * accuracy(truth, found), "macro_f1": 100 * macro_f1(truth, found)}
    return json.loads(said.stdout.splitlines()[-1]) | scores


def row(name: str, program: str, runs: list[dict[str, float]], old: list[dict[str, float]]) -> tuple[object, ...]:
    """One line of the table."""
    found = {key: [one[key] for one in runs] for key in runs[0]}
    ratio = {key: median(one[key] for one in old) / median(found[key]) for key in ("wall", "cpu")}
    score = f"{np.mean(found['accuracy']):.1f}±{np.std(found['accuracy']):.1f} / {np.mean(found['macro_f1']):.1f}"
    times = f"{median(found['wall']):.1f}", f"{median(found['cpu']):.1f}"
    return name, program, len(runs), *times, f"{ratio['wall']:.1f}", f"{ratio['cpu']:.1f}", score


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="pbmc3k,zheng_sorted")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--old", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch; beyond 1 numpy takes all cores")
    parser.add_argument("--scanvi", action="store_true", help="beside scANVI, too")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=("ours", "old", "scanvi"), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child, args.sets, args.seed, args.work, args.threads)))
        return
    if args.old is None:
        parser.error("--old is needed: a checkout of the commit to compare with")
    programs = {"old": args.old, "ours": ROOT} | ({"scanvi": ROOT} if args.scanvi else {})
    rows, machine = [], machine_line(args.threads)
    for name in args.sets.split(","):
        runs: dict[str, list[dict[str, float]]] = {program: [] for program in programs}
        for seed in range(args.repeats):
            for program, source in programs.items():
                runs[program].append(run(program, source, name, seed, args.threads))
                print(name, seed, program, runs[program][-1], file=sys.stderr, flush=True)
        rows += [row(name, program, found, runs["old"]) for program, found in runs.items()]
    header = (
        "set",
        "program",
        "runs",
        "wall s",
        "processor s",
        "× old, wall",
        "× old, processor",
        "accuracy / macro-F1",
    )
    text = f"# train()\n\nMachine: {machine}\n\nMedians of runs in turn. `old` is {commit(args.old)}.\n\n"
    text += markdown(header, rows) + "\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


def commit(folder: Path) -> str:
    """The commit of a checkout, if git knows it."""
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    return said.stdout.strip() or "a copy without git"


if __name__ == "__main__":
    main()
