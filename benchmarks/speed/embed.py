"""Cells embedded per second beside an older commit: one thread and two, files with and without compression.

    git worktree add /tmp/old e0e9d22
    OMP_WAIT_POLICY=PASSIVE python benchmarks/speed/embed.py --old /tmp/old --cells 40000 \\
        --out benchmarks/speed/results/embed.md

Cells are drawn as in ``end_to_end.py``. The models are `mini` and one of the default shape, which the older commit
starts and saves. Each program and number of threads is a process that stays, and embeds whole files when it is asked,
in turn: first a small one, so that nothing is compiled while the time is taken. With ``--commands`` whole commands,
``genemamba embed FILE OUT --pretrained mini --embedding-only``, take turns as well, which includes the start of Python.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from _machine import machine_line
from _timing import markdown
from end_to_end import write_cells

ROOT = Path(__file__).resolve().parents[2]
FEW = 2048

# A process that embeds the files it is told, one a line.
EMBED = """
import json, sys, time, warnings
import anndata, scvi, torch
from genemamba_sc import GeneMambaModel
warnings.simplefilter("ignore")
scvi.settings.progress_bar_style = None
torch.set_num_threads(int(sys.argv[2]))
name = sys.argv[1]
if name == "mini":
    model = GeneMambaModel.from_pretrained("mini", accelerator="cpu")
else:
    model = GeneMambaModel.load(name, adata=False, accelerator="cpu")
for line in sys.stdin:
    adata = anndata.read_h5ad(line.strip(), backed="r")
    wall, cpu = time.perf_counter(), time.process_time()
    model.get_latent_representation(adata, key_added=None)
    taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(taken), flush=True)
"""


# A model of the default shape, started and not trained: its weights make no difference to the time.
SAVE = """
import sys
import anndata
from genemamba_sc import GeneMambaModel
adata = anndata.read_h5ad(sys.argv[1])
GeneMambaModel.setup_anndata(adata)
model = GeneMambaModel(adata)
model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
model.save(sys.argv[2])
"""


@dataclass
class Runner:
    """A process that embeds files, and the seconds it took for each."""

    program: str
    model: str
    threads: int
    process: subprocess.Popen[str]
    seconds: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def embed(self, path: Path) -> dict[str, float]:
        """Embed one file."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(path, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def environment(source: Path, threads: int) -> dict[str, str]:
    """Which package is imported, and on how many threads it computes."""
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
    return os.environ | numbers | {"PYTHONPATH": str(source / "src")}


def runners(sources: dict[str, Path], models: dict[str, str], threads: list[int], few: Path) -> list[Runner]:
    """Start all processes; each has embedded a few cells."""
    found = []
    for model, place in models.items():
        for n in threads:
            for program, source in sources.items():
                command = [sys.executable, "-c", EMBED, place, str(n)]
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
                process = subprocess.Popen(command, env=environment(source, n), text=True, **pipes)
                found.append(Runner(program, model, n, process))
                found[-1].embed(few)
    return found


def table(found: list[Runner], n_cells: int) -> str:
    """One row per process and file; ratios to the older commit and to one thread, of medians."""

    def middle(runner: Runner, file: str, clock: str) -> float:
        return 1e6 / n_cells * median(one[clock] for one in runner.seconds[file])

    rows: list[tuple[object, ...]] = []
    for one in found:
        same = {(other.program, other.threads): other for other in found if other.model == one.model}
        old, single = same["old", one.threads], same[one.program, min(other.threads for other in found)]
        for file in one.seconds:
            wall, cpu = middle(one, file, "wall"), middle(one, file, "cpu")
            ratios = middle(old, file, "wall") / wall, middle(old, file, "cpu") / cpu
            ratios += middle(single, file, "wall") / wall, middle(one, "plain", "cpu") / cpu
            figures = (f"{1e6 / wall:,.0f}", f"{cpu:.1f}", *(f"{ratio:.2f}" for ratio in ratios))
            rows.append((one.model, file, one.threads, one.program, *figures))
    header = ("model", "file", "threads", "program", "cells/s, wall", "µs per cell, processor", "× old, wall")
    return markdown((*header, "× old, processor", "× one thread, wall", "rate / plain file, processor"), rows)


def commands(sources: dict[str, Path], threads: list[int], path: Path, repeats: int) -> str:
    """Medians of whole commands, in turn."""
    seconds: dict[tuple[str, int], list[float]] = {}
    arguments = [str(path), str(path.with_name("out.h5ad")), "--pretrained", "mini", "--embedding-only"]
    for _ in range(repeats):
        for n in threads:
            for program, source in sources.items():
                command = [sys.executable, "-m", "genemamba_sc", "embed", *arguments, "--accelerator", "cpu"]
                start = time.perf_counter()
                subprocess.run(command, env=environment(source, n), check=True, stderr=subprocess.DEVNULL)
                seconds.setdefault((program, n), []).append(time.perf_counter() - start)
    medians = {key: median(values) for key, values in seconds.items()}
    rows = [(n, name, f"{wall:.1f}", f"{medians['old', n] / wall:.2f}") for (name, n), wall in medians.items()]
    return markdown(("threads", "program", "whole command, s", "× old"), rows)


def commit_of(checkout: Path) -> str:
    """The commit that a checkout shows."""
    asked = ["git", "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(asked, cwd=checkout, text=True, capture_output=True, check=True).stdout.strip()


def measure(folder: Path, args: argparse.Namespace) -> str:
    """Write the files, run, and make the page."""
    files, few = {"plain": folder / "plain.h5ad", "gzip": folder / "gzip.h5ad"}, folder / "few.h5ad"
    write_cells(few, FEW, None)
    write_cells(files["plain"], args.cells, None)
    write_cells(files["gzip"], args.cells, "gzip")
    models = {name: str(folder / "model") if name == "default" else name for name in args.models}
    if "default" in models:
        save = [sys.executable, "-c", SAVE, str(few), models["default"]]
        subprocess.run(save, env=environment(args.old, 1), check=True, stdout=subprocess.DEVNULL)
    sources = {"old": args.old, "ours": ROOT}
    before = machine_line(max(args.threads))
    found = runners(sources, models, args.threads, few)
    for repeat in range(args.repeats):
        for file, path in files.items():
            for one in found:
                one.seconds.setdefault(file, []).append(one.embed(path))
                print(repeat, file, one.program, one.model, one.threads, one.seconds[file][-1], file=sys.stderr)
    for one in found:
        one.process.communicate()
    commits = f"commit `{commit_of(ROOT)}` beside `{commit_of(args.old)}`"
    lines = [
        f"Machine: {before}",
        f"Machine: {machine_line(max(args.threads))}",
        "",
        f"{args.cells:,} cells; medians of {args.repeats}, in turn; {commits}.",
        "",
        table(found, args.cells),
    ]
    if args.out is not None:  # what took long is not lost to what comes after
        args.out.write_text("\n".join(["# Embedding", "", *lines, ""]), encoding="utf-8")
    if args.commands:
        lines += ["", commands(sources, args.threads, files["plain"], args.repeats)]
    return "\n".join(lines)


def main() -> None:
    """Print the page, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="a checkout of the commit to compare with")
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--models", nargs="+", choices=("default", "mini"), default=["default", "mini"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--commands", action="store_true", help="whole commands, too")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = measure(Path(folder), args)
    print(f"# Embedding\n\n{text}")
    if args.out is not None:
        args.out.write_text(f"# Embedding\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
