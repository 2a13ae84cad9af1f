"""Seconds that the first use after an installation takes more than later ones: numba compiles the kernels then.

    python benchmarks/speed/first_use.py --old ../old/src --out benchmarks/speed/results/first_use.md

``--old`` names the ``src`` folder of an older commit, which runs in turn with this one. A run is a pair of processes
with one empty folder for compiled kernels: both train a model on 600 cells of ``pbmc3k`` with their labels, then embed
them; the first compiles and the second loads. The table has medians, in seconds of the processor of one thread.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from _cells import cells_folder
from _machine import machine_line
from _timing import markdown

RUN = """
import sys, time
import anndata as ad
import genemamba_sc
from scvi import settings
from genemamba_sc import GeneMambaModel
assert genemamba_sc.__file__.startswith(sys.argv[2]), genemamba_sc.__file__
settings.progress_bar_style, settings.seed = None, 0
cells = ad.read_h5ad(sys.argv[1])[:600].copy()
GeneMambaModel.setup_anndata(cells, labels_key="cell_type")
start = time.process_time()
model = GeneMambaModel(cells)
model.train(enable_progress_bar=False)
print(time.process_time() - start)
start = time.process_time()
model.get_latent_representation()
print(time.process_time() - start)
"""
STEPS = ("train", "embed")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


def first_and_second(source: Path) -> list[tuple[float, ...]]:
    """Seconds of both steps in the process that compiles, and in the next one."""
    command = [sys.executable, "-c", RUN, str(cells_folder() / "pbmc3k.h5ad"), str(source.resolve())]
    with tempfile.TemporaryDirectory() as kernels:
        environment = {**os.environ, "PYTHONPATH": str(source.resolve()), "NUMBA_CACHE_DIR": kernels, **ONE_THREAD}
        runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment) for _ in range(2)]
    return [tuple(float(line) for line in run.stdout.split()[-2:]) for run in runs]


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, help="src of an older commit, to compare with")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sources = {"this": Path(__file__).resolve().parents[2] / "src"}
    if args.old is not None:
        sources = {"old": args.old, **sources}
    found = {name: [] for name in sources}
    for _ in range(args.repeats):
        for name, source in sources.items():
            found[name].append(first_and_second(source))
    rows: list[tuple[object, ...]] = []
    for name, runs in found.items():
        for step, title in enumerate(STEPS):
            first, second = (median(run[turn][step] for run in runs) for turn in range(2))
            extra = median(run[0][step] - run[1][step] for run in runs)
            rows.append((name, title, f"{first:.1f}", f"{second:.1f}", f"{extra:.1f}"))
    table = markdown(("package", "step", "first process, processor s", "second", "difference"), rows)
    text = f"# First use\n\nMachine: {machine_line(1)}\n\nMedians of {args.repeats} pairs of processes, in turn.\n\n"
    text += f"{table}\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
