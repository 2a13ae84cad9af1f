"""Whole files, small: what is damaged."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from safetensors.torch import load_file, save_file
from scipy import sparse

from genemamba_sc import EncoderConfig, GeneAliases, GeneMambaModel, read_pretrained, write_pretrained
from genemamba_sc._digests import sha256_of
from genemamba_sc.benchmark import BenchmarkReport, BenchmarkRow, NotRun, append_row
from genemamba_sc.checks import write_reference_cells
from genemamba_sc.data.tokens._cell_hashes import read_cell_hashes
from genemamba_sc.nn import BiMambaEncoder

OLD = Path(__file__).parents[1] / "data" / "format_2"


def copied(name: str, folder: Path) -> Path:
    """Copy a folder of the old files."""
    return Path(shutil.copytree(OLD / name, folder))


def saved_model(folder: Path) -> None:
    """Save a model of today's format, with all the files it may have."""
    model = GeneMambaModel.load(OLD / "model", adata=False, accelerator="cpu")
    aliases_table(folder.with_suffix(".tsv"))
    model.gene_aliases = GeneAliases.from_tsv(folder.with_suffix(".tsv"))
    model.pretrained_cells_ = read_cell_hashes(OLD / "weights" / "cells.safetensors")
    counts = pd.read_csv(OLD / "counts.csv", index_col=0)
    obs = pd.DataFrame({"type": np.resize(model.cell_types, len(counts))}, index=counts.index)
    cells = AnnData(counts.to_numpy(np.float32), obs=obs, var=pd.DataFrame(index=counts.columns))
    model.calibrate(cells, "type")
    model.save(folder)


def pretrained(folder: Path) -> None:
    """Write pretrained weights of today's format."""
    write_pretrained(folder, read_pretrained(OLD / "weights"))


def published(folder: Path) -> None:
    """Write weights, tokenizer and configuration as the authors do."""
    folder.mkdir()
    sizes = {"vocab_size": 44, "d_model": 32, "n_layer": 2, "d_state": 8, "headdim": 8, "expand": 2}
    shape = {"combine": "mean", "shared_combiner": True, "pre_norm": False, "expression": "none", "norm": "token"}
    stored = {}
    for name, tensor in BiMambaEncoder(EncoderConfig(residual_init=1.0, **sizes, **shape)).state_dict().items():
        key = name.replace(".mixer.", ".mamba.")
        stored[f"mamba_mixer.{key}" if key.startswith("layers.") else key] = tensor.contiguous()
    save_file(stored, folder / "model.safetensors")
    content = {"architectures": ["MambaModel"], "d_model": 32, "mamba_layer": 2, "vocab_size": 44, "mode": "mean"}
    (folder / "config.json").write_text(json.dumps(content))
    tokenizer(folder / "tokenizer.json")


def sharded(folder: Path) -> None:
    """Write the same weights in two files and their index."""
    published(folder)
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    files = {name: f"model-{1 + 2 * i // len(names):05d}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in sorted(set(files.values())):
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file)
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def with_reference_cells(folder: Path) -> None:
    """Write pretrained weights and the cells of their self-test."""
    pretrained(folder)
    genes = read_pretrained(folder).vocabulary
    columns = np.arange(2, genes.cls_id, dtype=np.int32)
    counts = np.random.default_rng(0).poisson(1.0, (200, len(columns))).astype(np.float32)
    write_reference_cells(folder, sparse.csr_matrix(counts), columns, 2)


def corpus(folder: Path) -> None:
    """Copy the corpus, with the digest of its shard."""
    copied("corpus", folder)
    count(folder)


def count(folder: Path) -> None:
    """Write size and digest of the shard into the manifest of a corpus."""
    path, shard = folder / "manifest.json", next(folder.glob("*.arrow"))
    manifest = json.loads(path.read_bytes())
    manifest["shards"][0] |= {"size": shard.stat().st_size, "sha256": sha256_of(shard)}
    path.write_text(json.dumps(manifest))


def dataset(folder: Path) -> None:
    """Copy the corpus as Hugging Face datasets would have written it."""
    copied("corpus", folder)
    (folder / "manifest.json").unlink()


def tokenizer(path: Path) -> None:
    """Write a word-level tokenizer of forty genes."""
    vocab = {"[UNK]": 0, "[PAD]": 1} | {f"ENSG{i:011d}": i + 1 for i in range(1, 41)}
    added = [{"id": 0, "content": "[UNK]"}, {"id": 1, "content": "[PAD]"}]
    path.write_text(json.dumps({"added_tokens": added, "model": {"type": "WordLevel", "vocab": vocab}}))


def aliases_table(path: Path) -> None:
    """Write a table of symbols in HGNC's layout."""
    lines = ["symbol\tensembl_gene_id\talias_symbol\tprev_symbol"]
    lines += [f"GENE{i}\tENSG{i:011d}\tALIAS{i}|OTHER{i}\tOLD{i % 7}" for i in range(1, 13)]
    path.write_text("\n".join(lines) + "\n")


def benchmark_report(path: Path) -> None:
    """Write a report of two methods and two seeds, and of one that was not run."""
    _report().to_json(path)


def benchmark_rows(path: Path) -> None:
    """Write its rows as a benchmark keeps them."""
    for row in _report().rows:
        append_row(path, asdict(row))


def _report() -> BenchmarkReport:
    rows = [
        BenchmarkRow("annotation", name, "random", "", seed, {"accuracy": 0.5 + 0.1 * seed, "macro_f1": 0.5}, 8, 2, 0,
                     0.2, 1.5, {"C": 1.0}, "", {}, {"numpy": "2"}, f"{name}{seed}")
        for name in ("genemamba", "knn") for seed in (0, 1)
    ]  # fmt: skip
    absent = NotRun("annotation", "xgboost", "not installed")
    sizes = (10, 5, 2, 1, 0)
    return BenchmarkReport("type", None, (0, 1), *sizes, "counts", "0" * 64, tuple(rows), (absent,), {"numpy": "2"})


def gene_sets(path: Path) -> None:
    """Write eight overlapping sets."""
    names = [f"ENSG{i:011d}" for i in range(1, 31)]
    path.write_text("".join(f"set{i}\thttps://a.b\t" + "\t".join(names[i : i + 8]) + "\n" for i in range(8)))


def regulons(path: Path) -> None:
    """Write pairs of genes."""
    path.write_text("".join(f"ENSG{i:011d}\tENSG{i + 1:011d}\t+\n" for i in range(1, 12)))
