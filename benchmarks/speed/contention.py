"""Rates beside busy neighbours, and whether the pools of threads leave each other alone.

python benchmarks/speed/contention.py --out benchmarks/speed/results/contention.md

Tokenising and embedding alone, and beside one and two processes that compute without a pause; all in turn, medians.
«fair» is what is left where the system shares its cores evenly: with t threads and k neighbours on c cores, min(1,
c / (t + k)) of the speed of t cores. Threads that spin while they wait for each other would fall far below it: the
script waits passively, as the command line does; OMP_WAIT_POLICY=ACTIVE before the command shows the other way. Linux.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is imported

import scvi
import torch
from _cells import resampled
from _machine import cores, machine_line
from _timing import markdown

import genemamba_sc as gm
from genemamba_sc.data import query_source

MAX_LEN = 2048
BUSY = "x = 1.0\nwhile True:\n    x = x * 1.0000001 % 2.0"


@contextmanager
def neighbours(n: int) -> Iterator[None]:
    """``n`` processes that compute."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n)]
    try:
        time.sleep(0.3 if n else 0.0)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def work(n_cells: int) -> dict[str, tuple[int, Callable[[], object]]]:
    """Cells of a call and the call, by name."""
    adata = resampled(n_cells)
    gm.GeneMambaModel.setup_anndata(adata)
    model = gm.GeneMambaModel(adata)
    model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    source = query_source(adata, model.vocabulary, MAX_LEN, {})
    cells = source.reader.read(range(n_cells))
    return {
        "tokenising": (n_cells, lambda: source.tokenizer(cells, source.columns)),
        "embedding": (n_cells, lambda: model.get_latent_representation(adata, key_added=None)),
    }


def per_call(call: Callable[[], object]) -> float:
    """Seconds per call, over a second at least: the system hands out its cores in turns of milliseconds."""
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < 1:
        call()
        n += 1
    return (time.perf_counter() - start) / n


def seconds(calls: dict[str, tuple[int, Callable[[], object]]], busy: list[int], repeats: int) -> dict:
    """Median seconds by name and number of neighbours."""
    found: dict[tuple[str, int], list[float]] = {(name, n): [] for name in calls for n in busy}
    for _, call in calls.values():
        call()
    for _ in range(repeats):
        for n in busy:
            with neighbours(n):
                for name, (_, call) in calls.items():
                    found[name, n].append(per_call(call))
    return {key: median(times) for key, times in found.items()}


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=8192)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    scvi.settings.progress_bar_style = None
    busy, rows, lines = [0, 1, 2], [], []
    for threads in args.threads:
        torch.set_num_threads(threads)
        calls = work(args.cells)
        found = seconds(calls, busy, args.repeats)
        lines.append(
            f"- {threads} thread(s): torch had {threads} before and {torch.get_num_threads()} after; the process holds "
            f"{len(os.listdir('/proc/self/task'))} threads, most of them asleep."
        )
        for name, (n_cells, _) in calls.items():
            alone = found[name, 0]
            rates = [f"{n_cells / found[name, n]:,.0f}" for n in busy]
            ratios = [f"{alone / found[name, n]:.2f} ({min(1.0, cores() / (threads + n)):.2f})" for n in busy[1:]]
            rows.append((name, threads, *rates, *ratios))
    header = ("what", "threads", "cells/s alone", "beside 1", "beside 2", "ratio, 1 (fair)", "ratio, 2 (fair)")
    text = "\n".join(
        ["# Contention", "", *(f"Machine: {machine_line(n)}" for n in args.threads), ""]
        + [f"{args.cells:,} cells, OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}.", "", markdown(header, rows), ""]
        + [*lines, ""]
    )
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
