"""Rank tokens per second, beside the ranking of Geneformer's public tokenizer on the same matrix.

python benchmarks/speed/tokenizer.py --cells 8192 --threads 1 2 --out benchmarks/speed/results/tokenizer.md

The peer is written anew here after ctheodoris/Geneformer, geneformer/tokenizer.py (``tokenize_anndata``,
``rank_genes``, Apache-2.0), without its metadata, its files and its vocabulary: chunks of 512 cells, counts divided by
the cell's total, times 10,000, divided by the median of the gene, then ``argsort(-x)`` cell by cell, the first 2,048.
It works on one thread. Three forms: of h5ad files (sparse rows), of loom files (dense columns, ``tokenize_cell``), and
the same ranking on the arrays of the matrix, which is the fastest plain numpy for it that we know of.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _cells import SETS, resampled
from _machine import machine_line
from _timing import Seconds, in_turn, markdown
from scipy import sparse

from genemamba_sc.data import GeneVocabulary, RankTokenizer, match_genes

CHUNK, MAX_LEN, TARGET = 512, 2048, 10_000


def normalised_chunks(cells: sparse.csr_matrix, totals: np.ndarray, medians: np.ndarray) -> Iterator[sparse.csr_matrix]:
    """Chunks as Geneformer scales them for h5ad."""
    for start in range(0, cells.shape[0], CHUNK):
        rows = slice(start, start + CHUNK)
        yield sparse.csr_matrix(cells[rows] / totals[rows, None] * TARGET / medians)


def peer_h5ad(cells: sparse.csr_matrix, totals: np.ndarray, medians: np.ndarray, tokens: np.ndarray) -> list:
    """Rows of a sparse chunk, one by one."""
    found = []
    for scaled in normalised_chunks(cells, totals, medians):
        for i in range(scaled.shape[0]):
            values, ids = scaled[i].data, tokens[scaled[i].indices]
            found.append(ids[np.argsort(-values)][:MAX_LEN])
    return found


def peer_loom(cells: sparse.csr_matrix, totals: np.ndarray, medians: np.ndarray, tokens: np.ndarray) -> list:
    """Columns of a dense chunk of genes × cells, one by one."""
    found = []
    for start in range(0, cells.shape[0], CHUNK):
        rows = slice(start, start + CHUNK)
        dense = cells[rows].toarray().T
        scaled = dense / totals[rows] * TARGET / medians[:, None]
        for i in range(scaled.shape[1]):
            expressed = np.nonzero(scaled[:, i])[0]
            found.append(tokens[expressed][np.argsort(-scaled[expressed, i])][:MAX_LEN])
    return found


def peer_arrays(cells: sparse.csr_matrix, totals: np.ndarray, medians: np.ndarray, tokens: np.ndarray) -> list:
    """The same on slices of the three arrays of the matrix."""
    found = []
    for scaled in normalised_chunks(cells, totals, medians):
        for first, last in zip(scaled.indptr[:-1], scaled.indptr[1:]):
            order = np.argsort(-scaled.data[first:last])[:MAX_LEN]
            found.append(tokens[scaled.indices[first:last][order]])
    return found


PEERS = {"Geneformer, h5ad": peer_h5ad, "Geneformer, loom": peer_loom, "the same, plain numpy": peer_arrays}


def same_genes(ours: np.ndarray, lengths: np.ndarray, theirs: list) -> float:
    """Share of tokens at which both have the same gene; ties, which argsort breaks as it likes, make the rest."""
    agree = sum(int((row[:n] == other[:n]).sum()) for row, n, other in zip(ours, lengths, theirs))
    return agree / int(lengths.sum())


def measure(n_cells: int, threads: list[int], repeats: int) -> str:
    """The table, and what was checked."""
    adata = resampled(n_cells)
    cells = sparse.csr_matrix(adata.X)
    vocabulary = GeneVocabulary.from_anndata(adata)
    columns = match_genes(adata.var, vocabulary).token_ids
    totals, medians = np.asarray(cells.sum(axis=1)).ravel(), vocabulary.token_medians[columns]
    tokenizers = {n: RankTokenizer(vocabulary, MAX_LEN, n_threads=n) for n in threads}

    functions: dict[str, Callable[[], object]] = {}
    for n, tokenizer in tokenizers.items():
        functions[f"genemamba_sc, {n} thread(s)"] = lambda tokenizer=tokenizer: tokenizer(cells, columns)
    for name, peer in PEERS.items():
        functions[name] = lambda peer=peer: peer(cells, totals, medians, columns)
    seconds = in_turn(functions, repeats)

    results = [tokenizer(cells, columns) for tokenizer in tokenizers.values()]
    equal = all(np.array_equal(results[0].ids, other.ids) for other in results)
    agree = same_genes(results[0].ids, results[0].lengths, peer_h5ad(cells, totals, medians, columns))
    genes = np.diff(cells.indptr)
    return "\n".join(
        [
            f"{n_cells:,} cells drawn from {' and '.join(SETS)}, {genes.mean():,.0f} genes per cell (5th to 95th "
            f"percentile {np.percentile(genes, 5):,.0f} to {np.percentile(genes, 95):,.0f}), top {MAX_LEN:,}; "
            f"medians of {repeats} calls, in turn.",
            "",
            *(f"Machine: {machine_line(n)}" for n in threads),
            "",
            table(seconds, n_cells),
            "",
            f"Tokens identical whatever the thread count: {equal}. Same gene at the same rank as the peer: {agree:.1%} "
            "(ties are broken by token id here, at will there).",
        ]
    )


def table(seconds: dict[str, Seconds], n_cells: int) -> str:
    """One row per method; the ratio is to Geneformer's ranking of h5ad files, in wall time."""
    peer = seconds["Geneformer, h5ad"]
    rows: list[tuple[object, ...]] = [
        (name, f"{n_cells / s.wall:,.0f}", f"{n_cells / s.cpu:,.0f}", f"{peer.wall / s.wall:.1f}")
        for name, s in seconds.items()
    ]
    return markdown(("ranking", "cells/s, wall", "cells per CPU second", "× Geneformer, h5ad"), rows)


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=8192)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    text = "# Tokenizer\n\n" + measure(args.cells, args.threads, args.repeats) + "\n"
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
