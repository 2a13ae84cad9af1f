"""Seconds of an integration's fit beside Harmony's, and cells per second of mapping a new batch.

OMP_NUM_THREADS=1 python benchmarks/speed/integration.py --out benchmarks/speed/results/integration.md

Both fits get embeddings of the same cells: ours the encoder's 64 dimensions (of an untrained model with a fitted gene
table, which has the shape and nearly the values of a trained one), Harmony 50 principal components. Needs harmonypy.
Mapping is what comes on top of embedding: its query is drawn with replacement from the embeddings.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
from _machine import machine_line
from _timing import Seconds, in_turn, markdown

import genemamba_sc as gm
from genemamba_sc.benchmark import genes_by_batch, harmony, pca
from genemamba_sc.integration import Integration, fit_integration

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "annotation"))
from splits import BATCH, column, load_set

QUERY_CELLS = 50_000


def embedded(adata: ad.AnnData) -> np.ndarray:
    """The encoder's embedding, as an integration gets it."""
    gm.GeneMambaModel.setup_anndata(adata, batch_key=BATCH)
    model = gm.GeneMambaModel(adata)
    model.train(max_epochs=0, enable_progress_bar=False)
    return model.get_latent_representation(integrated=False, key_added=None)


def fits(adata: ad.AnnData, x: np.ndarray, batches: np.ndarray) -> dict[str, Callable[[], object]]:
    """What is compared: ours, Harmony, and the components that Harmony needs."""
    genes = genes_by_batch(adata)
    components = pca(adata, 0, genes)
    return {
        "ours": lambda: fit_integration(x, batches),
        "harmony": lambda: harmony(components, adata, 0),
        "pca": lambda: pca(adata, 0, genes_by_batch(adata)),
    }


def mapping(found: Integration, x: np.ndarray, batches: np.ndarray) -> dict[str, Callable[[], object]]:
    """Mapping many cells as one new batch, as known batches, and onto the axes only."""
    rows = np.random.default_rng(0).choice(len(x), QUERY_CELLS)
    cells, codes = x[rows], batches[rows]
    return {
        "a new batch, fit and mapped": lambda: found.map_batch(cells, found.fit_batch(cells)),
        "known batches": lambda: found(cells, codes),
        "no batch known": lambda: found(cells, np.full(len(cells), -1)),
    }


def fit_row(name: str, adata: ad.AnnData, seconds: dict[str, Seconds]) -> tuple[object, ...]:
    """One line of the table of fits."""
    ours, theirs, before = (seconds[key].wall for key in ("ours", "harmony", "pca"))
    cells = f"{adata.n_obs:,} of {adata.obs[BATCH].nunique()}"
    times = f"{ours:.2f}", f"{theirs:.2f}", f"{before:.2f}"
    return name, cells, *times, f"{ours / theirs:.2f}", f"{ours / (theirs + before):.2f}", cpu_ratio(seconds)


def cpu_ratio(seconds: dict[str, Seconds]) -> str:
    """The last ratio in processor time, which a busy machine disturbs less."""
    return f"{seconds['ours'].cpu / (seconds['harmony'].cpu + seconds['pca'].cpu):.2f}"


def mapping_rows(name: str, seconds: dict[str, Seconds]) -> list[tuple[object, ...]]:
    """Lines of the table of mapping."""
    rate = {what: (QUERY_CELLS / taken.wall, QUERY_CELLS / taken.cpu) for what, taken in seconds.items()}
    return [(name, what, f"{wall:,.0f}", f"{cpu:,.0f}") for what, (wall, cpu) in rate.items()]


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="immune_3studies,kang_ctrl")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    fitted, mapped = [], []
    machine = machine_line(1)
    for name in args.sets.split(","):
        adata = load_set(name)
        x = embedded(adata)
        batches = np.unique(column(adata, BATCH), return_inverse=True)[1]
        fitted.append(fit_row(name, adata, in_turn(fits(adata, x, batches), args.repeats)))
        seconds = in_turn(mapping(fit_integration(x, batches), x, batches), args.repeats)
        mapped += mapping_rows(name, seconds)
    header = ("set", "cells of batches", "ours, s", "Harmony, s", "PCA, s", "ours / Harmony", "ours / (PCA + Harmony)")
    text = f"# Integration\n\nMachine: {machine}\n\nMedians of {args.repeats} runs in turn, wall seconds.\n\n"
    text += markdown((*header, "the same, processor time"), fitted)
    text += f"\n\n## Mapping {QUERY_CELLS:,} cells\n\nBeyond the embedding, one thread.\n\n"
    text += markdown(("set", "what", "cells/s", "cells per processor second"), mapped) + "\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
