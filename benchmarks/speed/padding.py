"""Padded tokens of every real set: embedding in length batches, training in length buckets.

python benchmarks/speed/padding.py --out benchmarks/speed/results/padding.md

Per cent of the tokens of all batches that are pads. «all»: of the cell's tokens, up to 2,048, which are pooled. «read»:
of its first 128, which the layers read; they are what costs time. The packing is the package's own
(``length_batches`` as ``get_latent_representation`` calls it, ``LengthBucketSampler`` as ``train`` does).
«after dropout»: token dropout takes a share of each cell's tokens out within the model, a share drawn for each cell
anew, after the batch was made.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import numpy as np
from _cells import cells_folder
from _packing import BLOCK_CELLS, MOST_PADDING, TOKEN_BUDGET
from _timing import markdown

from genemamba_sc.data import length_batches
from genemamba_sc.training import LengthBucketSampler

MAX_LEN, CONTEXT, BATCH, DROPOUT = 2048, 128, 32, 0.3


def padded(lengths: np.ndarray, batches: Iterable[np.ndarray], cut: int) -> float:
    """Per cent of pads where each batch is as wide as its longest cell."""
    read = np.minimum(lengths, cut)
    parts = [read[rows] for rows in batches]
    total = sum(part.size * max(1, int(part.max())) for part in parts)
    return 100 * (1 - sum(int(part.sum()) for part in parts) / total)


def embedding_batches(lengths: np.ndarray) -> list[np.ndarray]:
    """As cells are embedded: blocks of cells, batches of similar length within a block."""
    blocks = {start: lengths[start : start + BLOCK_CELLS] for start in range(0, len(lengths), BLOCK_CELLS)}
    return [
        start + rows
        for start, block in blocks.items()
        for rows in length_batches(block, TOKEN_BUDGET, most_padding=MOST_PADDING)
    ]


def row(name: str, lengths: np.ndarray) -> tuple[object, ...]:
    """All figures of one set."""
    rng = np.random.default_rng(0)
    embedding = embedding_batches(lengths)
    training = [np.array(rows) for rows in LengthBucketSampler(lengths, np.arange(len(lengths)), BATCH, seed=0)]
    shuffled = np.split(rng.permutation(len(lengths)), range(BATCH, len(lengths), BATCH))
    kept = rng.binomial(lengths, 1 - 2 * DROPOUT * rng.random(len(lengths)))
    figures = (
        padded(lengths, shuffled, MAX_LEN),
        padded(lengths, embedding, MAX_LEN),
        padded(lengths, embedding, CONTEXT),
        padded(lengths, training, MAX_LEN),
        padded(lengths, training, CONTEXT),
        padded(kept, training, MAX_LEN),
        padded(kept, training, CONTEXT),
    )
    return (name, f"{lengths.mean():,.0f}", *(f"{figure:.1f}" for figure in figures))


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    for path in sorted(cells_folder().glob("*.h5ad")):
        cells = ad.read_h5ad(path).X.tocsr()
        rows.append(row(path.stem, np.minimum(np.diff(cells.indptr), MAX_LEN)))
    header = ("set", "tokens/cell", "no buckets, all", "embedding, all", "embedding, read", "training, all")
    header += ("training, read", "after dropout, all", "after dropout, read")
    text = f"# Padding\n\nPads, per cent of the tokens of all batches.\n\n{markdown(header, rows)}\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
