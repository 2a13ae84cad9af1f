"""Embedding a large h5ad from the command line: cells per second, memory, and where the time goes.

python benchmarks/speed/end_to_end.py --cells 1000000 --out benchmarks/speed/results/end_to_end.md

Writes a file of so many cells, drawn with replacement from two real sets (about 1,140 genes per cell), a part at a time
and uncompressed (8.9 GB for a million cells, in --folder, removed afterwards); starts a model on 2,000 of them
(``max_epochs=0``: the weights make no difference to the time); runs ``genemamba embed BIG OUT --model M
--embedding-only`` in a process of its own, whose peak memory is read (Linux only); then runs the same steps one by
one over the first blocks, to say what share each has. What it takes to import the package, to open the file and to
load the model, and the size of the result, stand beside the memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import scvi
import torch
from _cells import SETS, TYPE, pool, resampled
from _machine import machine_line
from _packing import SHARED_BLOCK_CELLS, SHARED_TOKEN_BUDGET
from _timing import markdown
from anndata.io import write_elem

import genemamba_sc as gm
from genemamba_sc.data import length_batches, query_source, take_tokens, to_batch
from genemamba_sc.nn import Embedder

PART, MAX_LEN = 20_000, 2048
KEY = "X_genemamba"


def write_cells(path: Path, n_cells: int, compression: str | None) -> None:
    """Write ``n_cells`` drawn cells to an h5ad, a part at a time."""
    cells, chance = pool()
    matrix, rng = cells.X, np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        empty = ad.AnnData(matrix[:0], var=cells.var)
        write_elem(file, "/", empty)
        del file["X"], file["obs"]
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = np.array([n_cells, matrix.shape[1]])
        options = {"shape": (0,), "maxshape": (None,), "chunks": (1 << 18,), "compression": compression}
        data = group.create_dataset("data", dtype=np.float32, **options)
        indices = group.create_dataset("indices", dtype=np.int32, **options)
        ends = [np.zeros(1, dtype=np.int64)]
        taken = []
        for start in range(0, n_cells, PART):
            taken.append(rng.choice(matrix.shape[0], min(PART, n_cells - start), p=chance))
            drawn = matrix[taken[-1]]
            for dataset, values in ((data, drawn.data), (indices, drawn.indices)):
                dataset.resize((dataset.shape[0] + values.size,))
                dataset[-values.size :] = values
            ends.append(ends[-1][-1] + drawn.indptr[1:])
        group.create_dataset("indptr", data=np.concatenate(ends))
        obs = ad.AnnData(np.empty((n_cells, 0), dtype=np.float32)).obs
        obs.index = [f"cell{i}" for i in range(n_cells)]
        obs[TYPE] = cells.obs[TYPE].to_numpy()[np.concatenate(taken)]
        obs[TYPE] = obs[TYPE].astype("category")
        write_elem(file, "obs", obs)


def new_model(folder: Path, n_layer: int) -> None:
    """A started model with the default shape, or with another number of layers."""
    adata = resampled(2000)
    gm.GeneMambaModel.setup_anndata(adata)
    model = gm.GeneMambaModel(adata, n_layer=n_layer)
    model.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)
    model.save(folder)


# What a process tells about itself when it is done: its peak memory in kB (Linux), the seconds of its processors.
REPORT = """
import re, time
from pathlib import Path
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1), time.process_time())
"""
COMMAND = """
import sys
from genemamba_sc.cli import main
if status := main(sys.argv[1:]):
    sys.exit(status)
"""
START = """
import sys
import anndata
from genemamba_sc import GeneMambaModel
adata = anndata.read_h5ad(sys.argv[1], backed="r")
model = GeneMambaModel.load(sys.argv[2], adata=False, accelerator="cpu")
"""


def watched(code: str, arguments: list[str], threads: int) -> tuple[float, float, float]:
    """Run code in a process of its own: seconds on the wall and of the processors, most memory held, in GB."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    command = [sys.executable, "-c", code + REPORT, *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall = time.perf_counter() - start
    kilobytes, cpu = done.stdout.split()[-2:]
    return wall, float(cpu), int(kilobytes) * 1024 / 1e9


class Clock:
    """Adds up the seconds of named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@torch.inference_mode()
def steps(big: Path, folder: Path, n_blocks: int, out: Path) -> tuple[dict[str, float], float, int]:
    """Seconds of each step over the first blocks, one after the other; of embedding them; the number of cells."""
    clock, model = Clock(), gm.GeneMambaModel.load(folder, adata=False, accelerator="cpu")
    adata = ad.read_h5ad(big, backed="r")
    module = model.module.eval()
    source = query_source(adata, model.vocabulary, MAX_LEN, {})
    size, embedder = SHARED_BLOCK_CELLS, Embedder(module.encoder)
    n_cells = min(adata.n_obs, n_blocks * size)
    result = np.empty((n_cells, module.encoder_config.d_model), dtype=np.float32)
    for start in range(0, n_cells, size):
        rows = np.arange(start, min(start + size, n_cells))
        with clock.step("reading"):
            cells = source.reader.read(rows, canonical=False)
        with clock.step("tokenising"):
            tokens = source.tokenizer(cells, source.columns)
        for part in length_batches(tokens.lengths, SHARED_TOKEN_BUDGET):
            with clock.step("making batches"):
                batch = to_batch(take_tokens(tokens, part))
            with clock.step("encoder"):
                pools = embedder(batch["token_ids"], batch["token_values"], batch["lengths"])
                result[start + part] = pools.cell.numpy()
    with clock.step("writing"):
        ad.AnnData(obs=adata.obs[:n_cells].copy(), obsm={KEY: result}).write_h5ad(out)
    scvi.settings.progress_bar_style = None
    start_all = time.perf_counter()
    model.get_latent_representation(adata, indices=np.arange(n_cells), key_added=None)
    return clock.seconds, time.perf_counter() - start_all, n_cells


def shares(seconds: dict[str, float], together: float, n_cells: int) -> str:
    """The table of steps."""
    total = sum(seconds.values())
    rows: list[tuple[object, ...]] = [
        (name, f"{1e6 * value / n_cells:.1f}", f"{100 * value / total:.0f} %") for name, value in seconds.items()
    ]
    rows.append(("all, one after the other", f"{1e6 * total / n_cells:.1f}", f"{n_cells / total:,.0f} cells/s"))
    rows.append(
        ("as it runs, without writing", f"{1e6 * together / n_cells:.1f}", f"{n_cells / together:,.0f} cells/s")
    )
    return markdown(("step", "µs per cell, wall", "share"), rows)


def measure(folder: Path, args: argparse.Namespace) -> str:
    """Build, run, watch; the page."""
    big, out, model = folder / "big.h5ad", folder / "out.h5ad", folder / "model"
    timed(f"{args.cells:,} cells written", lambda: write_cells(big, args.cells, args.compression))
    new_model(model, args.layers)
    lines = [f"Machine: {machine_line(args.threads)}", ""]
    command = ["embed", str(big), str(out), "--model", str(model), "--embedding-only", "--accelerator", "cpu"]
    wall, cpu, peak = watched(COMMAND, command, args.threads)
    _, _, started = watched(START, [str(big), str(model)], args.threads)
    width = ad.read_h5ad(out, backed="r").obsm[KEY].shape[1]
    seconds, together, n_cells = steps(big, model, args.blocks, out)
    header = ("cells/s", "wall, s", "CPU, s", "peak memory, GB", "of it before the first cell, GB", "result, GB")
    figures = (args.cells / wall, wall, cpu, peak, started, args.cells * width * 4 / 1e9)
    digits = (0, 0, 0, 2, 2, 2)
    lines += [
        f"{args.cells:,} cells drawn from {' and '.join(SETS)}, {big.stat().st_size / 1e9:.1f} GB on disk "
        f"({args.compression or 'not compressed'}); `genemamba embed --embedding-only`, {args.layers} layer(s), "
        f"{args.threads} thread(s).",
        "",
        markdown(header, [tuple(f"{figure:,.{n}f}" for figure, n in zip(figures, digits))]),
        "",
        f"Steps, each alone, over the first {n_cells:,} cells; as it runs, each of torch's threads embeds "
        "blocks of its own:",
        "",
        shares(seconds, together, n_cells),
    ]
    return "\n".join(lines)


def timed(what: str, function: Callable[[], object]) -> None:
    """Run and say on stderr how long it took."""
    start = time.perf_counter()
    function()
    print(f"{what} in {time.perf_counter() - start:.0f} s", file=sys.stderr)


def main() -> None:
    """Print the page, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=1, help="0 leaves the reading, the tokens and the memory")
    parser.add_argument("--blocks", type=int, default=20, help="blocks of 1,024 cells for the table of steps")
    parser.add_argument("--compression", choices=("gzip", "lzf"), help="of the file that is read (default: none)")
    parser.add_argument("--folder", type=Path, help="where the files go meanwhile (default: the system's)")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        text = f"# End to end\n\n{measure(Path(folder), args)}\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
