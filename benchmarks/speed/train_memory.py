"""Memory of ``train()`` with labels on cells that stay in their file.

    OMP_NUM_THREADS=1 python benchmarks/speed/train_memory.py --cells 100000 --out FILE

Writes a file of so many labelled cells as ``end_to_end.py`` does, opens it backed and trains with the package's
defaults in a process of its own. Its largest memory stands beside that of a process which only opens the file and makes
the model (Linux only).
"""

import argparse
import tempfile
from pathlib import Path

from _cells import SETS, TYPE
from _machine import machine_line
from _timing import markdown
from end_to_end import watched, write_cells

MODEL = f"""
import sys, warnings
warnings.simplefilter("ignore")
import anndata
from genemamba_sc import GeneMambaModel
adata = anndata.read_h5ad(sys.argv[1], backed="r")
GeneMambaModel.setup_anndata(adata, labels_key={TYPE!r})
model = GeneMambaModel(adata)
"""
TRAIN = MODEL + "model.train(accelerator='cpu', enable_progress_bar=False)\n"


def measure(folder: Path, n_cells: int, threads: int) -> str:
    """Write the file, train, and make the page."""
    path = folder / "cells.h5ad"
    write_cells(path, n_cells, None)
    before = machine_line(threads)
    _, _, opened = watched(MODEL, [str(path)], threads)
    wall, cpu, peak = watched(TRAIN, [str(path)], threads)
    header = ("wall, s", "processor, s", "peak memory, GB", "with the model made and no training, GB", "beyond, GB")
    figures = (f"{wall:.0f}", f"{cpu:.0f}", f"{peak:.2f}", f"{opened:.2f}", f"{peak - opened:.2f}")
    about = (
        f"{n_cells:,} cells drawn from {' and '.join(SETS)}, {path.stat().st_size / 1e9:.1f} GB on disk (not "
        f"compressed), with the types of both sets; `train()` with its defaults, {threads} thread(s)."
    )
    return "\n".join((f"Machine: {before}", "", about, "", markdown(header, [figures])))


def main() -> None:
    """Print the page, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the file is written, and removed (default: a temporary one)")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        text = f"# Memory of training\n\n{measure(Path(folder), args.cells, args.threads)}\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
