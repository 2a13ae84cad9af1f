"""Random batches of tokens from several stores: cells per second, and memory that is not the page cache.

    python benchmarks/speed/stores.py --cells 40000

Every store gives the same padded batches of 64 random cells; each runs in a process of its own. The files are
read again and again, so the page cache is hot: a cold disk is not measured. Lines of what is not installed tell the
error.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

Take = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
BATCH, SECONDS = 64, 4.0
STORES = {
    "corpus": "ours: Arrow, memory-mapped, numpy views",
    "pyarrow": "the same files, pyarrow `Table.take`",
    "datasets_arrow": "the same files, `datasets`, Arrow format",
    "datasets_numpy": "the same files, `datasets`, numpy format",
    "numpy": "numpy memory map of one flat array",
    "h5ad": "h5ad, not compressed: read and tokenise",
    "h5ad_gzip": "h5ad, gzip: read and tokenise",
}


def main() -> None:
    """Make the files, measure each store, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--store", choices=STORES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.store:
        print(json.dumps(measure(arguments.store, arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        print(prepare(folder, arguments.cells))
        print(table(folder))


def prepare(folder: Path, n_cells: int) -> str:
    """Write the cells as h5ad, tokenise them, and write the tokens as flat arrays; what was made."""
    from _cells import resampled
    from _machine import machine_line

    from genemamba_sc import GeneVocabulary
    from genemamba_sc.corpus import TokenCorpus, build_corpus

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "flat.json").exists():
        adata = resampled(n_cells)
        # Each molecule stays with a chance of 0.9: no two cells are the same, or the corpus would drop them.
        adata.X.data = np.random.default_rng(0).binomial(adata.X.data.astype(int), 0.9).astype(np.float32)
        adata.X.eliminate_zeros()
        adata.write_h5ad(folder / "plain.h5ad")
        adata.write_h5ad(folder / "gzip.h5ad", compression="gzip")
        vocabulary = GeneVocabulary.from_anndata(adata)
        start = time.perf_counter()
        build_corpus([folder / "plain.h5ad"], folder / "corpus", vocabulary=vocabulary)
        seconds = time.perf_counter() - start
        corpus = TokenCorpus.open(folder / "corpus")
        write_flat(corpus, folder)
        (folder / "flat.json").write_text(json.dumps({"seconds": seconds}))
    corpus = TokenCorpus.open(folder / "corpus")
    rate = corpus.n_cells / json.loads((folder / "flat.json").read_text())["seconds"]
    size = sum(path.stat().st_size for path in (folder / "corpus").iterdir())
    return (
        f"{machine_line(1)}\n\n{corpus.n_cells:,} cells of {corpus.lengths.mean():,.0f} tokens; "
        f"{size / corpus.n_cells:,.0f} bytes per cell; tokenised at {rate:,.0f} cells/s by one process.\n"
    )


def write_flat(corpus: "TokenCorpus", folder: Path) -> None:
    """All tokens in one array, all bins in another, and where each cell begins."""
    starts = np.concatenate([[0], np.cumsum(corpus.lengths, dtype=np.int64)])
    ids = np.lib.format.open_memmap(folder / "ids.npy", "w+", np.uint16, (int(starts[-1]),))
    bins = np.lib.format.open_memmap(folder / "bins.npy", "w+", np.int8, (int(starts[-1]),))
    from genemamba_sc.data import to_bins

    for cell in range(corpus.n_cells):
        tokens = corpus.tokens(np.array([cell]))
        ids[starts[cell] : starts[cell + 1]] = tokens.ids[0, : tokens.lengths[0]]
        bins[starts[cell] : starts[cell + 1]] = to_bins(tokens.values[0, : tokens.lengths[0]])
    np.save(folder / "starts.npy", starts)


def table(folder: Path) -> str:
    """Run each store in its own process; the table."""
    from _timing import markdown

    rows: list[tuple[object, ...]] = []
    sums = set()
    for store, name in STORES.items():
        command = [sys.executable, __file__, "--store", store, "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            rows.append((name, done.stderr.strip().splitlines()[-1], "", ""))
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        sums.add(found["checksum"])
        rows.append((name, f"{found['rate']:,.0f}", f"{found['open']:.2f}", f"{found['memory']:.0f}"))
    if len(sums) != 1:
        raise RuntimeError(f"The stores gave different tokens: checksums {sums}.")
    return markdown(("store", "cells/s", "s to open", "MB of memory beyond the imports"), rows)


def measure(store: str, folder: Path) -> dict[str, float]:
    """Open a store and read random batches from it for a few seconds."""
    import genemamba_sc.corpus  # noqa: F401  imports are not what is measured

    if store.startswith("datasets"):
        import datasets  # noqa: F401
    before, start = anonymous_mb(), time.perf_counter()
    with ExitStack() as stack:
        take, n_cells = OPENERS[store.split("_")[0]](store, folder, stack)
        opened = time.perf_counter() - start
        ids, _, lengths = take(np.arange(0, n_cells, max(1, n_cells // BATCH))[:BATCH])  # also compiles
        checksum = int(ids.sum(dtype=np.int64)) * 1000 + int(lengths.sum()) % 1000
        rng, n_read, start = np.random.default_rng(0), 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            take(rng.integers(0, n_cells, BATCH))
            n_read += BATCH
        rate = n_read / (time.perf_counter() - start)
    return {"rate": rate, "open": opened, "memory": anonymous_mb() - before, "checksum": checksum}


def open_corpus(store: str, folder: Path, stack: ExitStack) -> tuple[Take, int]:
    """What the package does."""
    from genemamba_sc.corpus import TokenCorpus

    corpus = TokenCorpus.open(folder / "corpus")

    def take(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tokens = corpus.tokens(cells)
        return tokens.ids, tokens.values, tokens.lengths

    return take, corpus.n_cells


def open_pyarrow(store: str, folder: Path, stack: ExitStack) -> tuple[Take, int]:
    """The rows of a memory-mapped table."""
    import pyarrow as pa

    files = sorted((folder / "corpus").glob("data-*.arrow"))
    rows = pa.concat_tables([pa.ipc.open_stream(pa.memory_map(str(path))).read_all() for path in files])
    rows = rows.select(["input_ids", "value_bins"])

    def take(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return from_table(rows.take(cells))

    return take, rows.num_rows


def open_datasets(store: str, folder: Path, stack: ExitStack) -> tuple[Take, int]:
    """Hugging Face datasets, in the format the name of the store ends with."""
    import datasets

    kind = store.rpartition("_")[2]
    rows = datasets.load_from_disk(str(folder / "corpus")).select_columns(["input_ids", "value_bins"])
    rows = rows.with_format(kind)

    def take(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = rows[cells]
        return from_table(found) if kind == "arrow" else pad(found["input_ids"], found["value_bins"])

    return take, len(rows)


def open_numpy(store: str, folder: Path, stack: ExitStack) -> tuple[Take, int]:
    """Flat arrays."""
    ids, bins = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ids", "bins"))
    starts = np.load(folder / "starts.npy")

    def take(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        spans = [slice(starts[cell], starts[cell + 1]) for cell in cells]
        return pad([ids[span] for span in spans], [bins[span] for span in spans])

    return take, len(starts) - 1


def open_h5ad(store: str, folder: Path, stack: ExitStack) -> tuple[Take, int]:
    """Counts from disk, tokenised anew for each batch."""
    import anndata as ad

    from genemamba_sc import GeneVocabulary
    from genemamba_sc.data import query_source

    name = "gzip.h5ad" if store.endswith("gzip") else "plain.h5ad"
    adata = ad.read_h5ad(folder / name, backed="r")
    stack.callback(adata.file.close)
    source = query_source(adata, GeneVocabulary.from_tsv(folder / "corpus" / "genes.tsv"), 2048, {})

    def take(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tokens = source.tokens(rows)
        return tokens.ids, tokens.values, tokens.lengths

    return take, adata.n_obs


OPENERS = {
    "corpus": open_corpus,
    "pyarrow": open_pyarrow,
    "datasets": open_datasets,
    "numpy": open_numpy,
    "h5ad": open_h5ad,
}


def from_table(rows: "pa.Table") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pad the lists of a table."""
    columns = [rows[name].combine_chunks() for name in ("input_ids", "value_bins")]
    parts = [np.split(c.flatten().to_numpy(), (c.offsets.to_numpy() - c.offsets[0].as_py())[1:-1]) for c in columns]
    return pad(*parts)


def pad(ids: list[np.ndarray], bins: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists of cells as padded arrays, values from bins."""
    from genemamba_sc.data import NO_VALUE, from_bins

    lengths = np.array([len(cell) for cell in ids], dtype=np.int32)
    out = np.ones((len(ids), max(1, lengths.max())), dtype=np.int32)
    levels = np.full(out.shape, NO_VALUE, dtype=np.int8)
    for i, (tokens, values) in enumerate(zip(ids, bins)):
        out[i, : len(tokens)], levels[i, : len(tokens)] = tokens, values
    return out, from_bins(levels), lengths


def anonymous_mb() -> float:
    """Memory of this process without the pages of mapped files (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
