"""The readers of files: what each reads, how the file is damaged, and what must hold of whatever it returns."""

import gzip
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from cell_readers import CELLS
from cell_samples import tiny_cells
from damaged_stores import damaged_arrow
from mutations import damaged_bytes, damaged_json, damaged_lines, damaged_safetensors, gunzipped
from reader import Reader, one_file
from samples import (
    OLD,
    aliases_table,
    benchmark_report,
    benchmark_rows,
    copied,
    corpus,
    count,
    dataset,
    gene_sets,
    pretrained,
    published,
    regulons,
    saved_model,
    sharded,
    tokenizer,
    with_reference_cells,
)

from genemamba_sc import GeneAliases, GeneMambaModel, GeneVocabulary, PathwaySet, read_pretrained, read_regulon_pairs
from genemamba_sc._digests import sha256_of
from genemamba_sc.benchmark import BenchmarkReport
from genemamba_sc.benchmark.results._folder import kept_rows
from genemamba_sc.checks._selftest_cells import read_reference_cells
from genemamba_sc.corpus import TokenCorpus, _build, build_corpus
from genemamba_sc.corpus._build import _begin
from genemamba_sc.data.tokens._cell_hashes import read_cell_hashes
from genemamba_sc.pretraining._settings import check_folder
from genemamba_sc.pretraining._start import start_from
from genemamba_sc.pretraining._state import read_state
from genemamba_sc.weights._folder import sealed


def run(folder: Path) -> None:
    copied("weights.run", folder)


def tokenizer_and_medians(folder: Path) -> None:
    folder.mkdir()
    tokenizer(folder / "tokenizer.json")
    shutil.copy(GENES, folder / "medians.tsv")


def unfinished(folder: Path) -> None:
    (folder / ".unfinished").mkdir(parents=True)
    (folder / ".unfinished" / "settings.json").write_text(json.dumps(SETTINGS))


# --------------------------------------------------------------- checksums made right


def resealed(name: str) -> Callable[[Path], None]:
    """Repair the checksum of a file in config.json, and that of config.json itself."""

    def repair(folder: Path) -> None:
        path = folder / "config.json"
        try:
            config = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return
        if isinstance(config, dict):
            if isinstance(config.get("sha256"), dict) and name != "config.json":
                config["sha256"][name] = sha256_of(folder / name)
            config.pop("config_sha256", None)
            path.write_text(json.dumps(sealed(config)))

    return repair


def noted(name: str) -> Callable[[Path], None]:
    """Repair the digest beside a file of a run."""
    return lambda folder: (folder / f"{name}.sha256").write_text(sha256_of(folder / name)) and None


# ------------------------------------------------------------------------- what is read


def load(folder: Path) -> GeneMambaModel:
    return GeneMambaModel.load(folder, adata=False, accelerator="cpu")


def state_of(model: GeneMambaModel) -> Any:
    tensors = {name: tensor.numpy().tobytes() for name, tensor in model.module.state_dict().items()}
    genes = (model.vocabulary.fingerprint, model.vocabulary.symbols, model.max_len_)
    names = model.gene_aliases and sorted(model.gene_aliases.records.items())
    return tensors, genes, names, str(model.module.encoder_config)


def weights_of(pretrained: Any) -> Any:
    tensors = {name: tensor.numpy().tobytes() for name, tensor in pretrained.encoder.items()}
    return tensors, pretrained.vocabulary.fingerprint, pretrained.vocabulary.symbols, pretrained.max_len


def corpus_of(folder: Path, vocabulary: GeneVocabulary | None = None) -> tuple[TokenCorpus, Any, Any]:
    corpus = TokenCorpus.open(folder, vocabulary=vocabulary)
    every = np.arange(corpus.n_cells)
    corpus.identity()
    return corpus, corpus.tokens(every), corpus.cell_hashes(every) if len(every) else None


def dataset_of(folder: Path) -> Any:
    genes = GeneVocabulary.from_tsv(OLD / "corpus" / "genes.tsv")
    return corpus_of(folder, genes)


def tokens_of(found: Any) -> Any:
    return found[1].ids.tolist(), found[1].values.tolist(), found[2].exact.tolist(), found[2].near.tolist()


def unfinished_corpus(folder: Path) -> None:
    """Build a corpus of a file beside it, up to the moment when its parts are put together."""
    tiny_cells(folder.with_name("cells.h5ad"))
    with mock.patch.object(_build, "assemble", side_effect=KeyboardInterrupt), suppress(KeyboardInterrupt):
        finished_corpus(folder)


def finished_corpus(folder: Path) -> Any:
    build_corpus([folder.with_name("cells.h5ad")], folder)
    return corpus_of(folder)


def settings_of(folder: Path) -> None:
    settings = json.loads((OLD / "weights.run" / "settings.json").read_bytes())
    settings["encoder"]["exact_edges"] = False
    check_folder(folder, settings)


def start_of(folder: Path) -> Any:
    corpus = TokenCorpus.open(OLD / "corpus")
    start = start_from(corpus, np.arange(corpus.n_cells), 64, 30, 0, folder)
    start.set_table(torch.zeros(corpus.vocabulary.size, 64))
    return start


def pathways_of(folder: Path) -> Any:
    genes = GeneVocabulary.from_tsv(OLD / "corpus" / "genes.tsv")
    return PathwaySet.from_gmt(folder / "sets.gmt", genes, min_genes=2).index()


def regulons_of(folder: Path) -> Any:
    return read_regulon_pairs(folder / "pairs.tsv", GeneVocabulary.from_tsv(OLD / "corpus" / "genes.tsv"))


def json_of(name: str) -> Reader:
    return Reader(f"pretrained {name}", name, read_pretrained, damaged_json, pretrained, resealed(name))


# What a build leaves of its work, and how it is damaged; of the same cells comes the same corpus.
PARTS: dict[str, Any] = {
    "genes.tsv": damaged_lines,
    "source-00000.json": damaged_json,
    "piece-00000-00000.json": damaged_json,
    "piece-00000-00000.npy": damaged_bytes,
    "piece-00000-00000.arrow": damaged_bytes,
}
GENES = OLD / "corpus" / "genes.tsv"
KEPT = ("genemamba0", "genemamba1", "knn0", "knn1")
SETTINGS = {"files": [["a.h5ad", 1, 2]], "vocabulary": None, "filters": {"max_len": 9, "min_genes": 1}, "layer": None}

FILES = (
    Reader("model, any change", "config.json", load, damaged_json, saved_model, same=state_of),
    Reader("model, weights changed", "model.safetensors", load, damaged_bytes, saved_model, same=state_of),
    Reader("model config.json", "config.json", load, damaged_json, saved_model, resealed("config.json")),
    Reader("model genes.tsv", "genes.tsv", load, damaged_lines, saved_model, resealed("genes.tsv")),
    Reader("model weights", "model.safetensors", load, damaged_safetensors, saved_model, resealed("model.safetensors")),
    Reader("model aliases", "gene_aliases.json", load, damaged_json, saved_model, resealed("gene_aliases.json")),
    Reader("pretrained, any change", "config.json", read_pretrained, damaged_json, pretrained, same=weights_of),
    json_of("config.json"),
    json_of("manifest.json"),
    json_of("evaluation.json"),
    Reader("pretrained vocabulary", "vocabulary.tsv.gz", read_pretrained, gunzipped, pretrained,
           resealed("vocabulary.tsv.gz")),
    Reader("pretrained weights", "model.safetensors", read_pretrained, damaged_safetensors, pretrained,
           resealed("model.safetensors")),
    Reader("pretrained cells", "cells.safetensors", read_pretrained, damaged_safetensors, pretrained,
           resealed("cells.safetensors")),
    Reader("cell hashes", "cells.safetensors", lambda folder: read_cell_hashes(folder / "cells.safetensors"),
           damaged_safetensors, pretrained),
    Reader("published config.json", "config.json", read_pretrained, damaged_json, published),
    Reader("published tokenizer", "tokenizer.json", read_pretrained, damaged_json, published),
    Reader("published weights", "model.safetensors", read_pretrained, damaged_safetensors, published),
    Reader("published index", "model.safetensors.index.json", read_pretrained, damaged_json, sharded),
    Reader("published shard", "model-00002-of-00002.safetensors", read_pretrained, damaged_safetensors, sharded),
    Reader("self-test", "selftest.safetensors", read_reference_cells, damaged_safetensors, with_reference_cells),
    Reader("corpus manifest", "manifest.json", corpus_of, damaged_json, corpus),
    Reader("corpus genes.tsv", "genes.tsv", corpus_of, damaged_lines, corpus),
    Reader("corpus shard, any change", "data-00000-of-00001.arrow", corpus_of, damaged_arrow, corpus,
           same=tokens_of),
    Reader("corpus shard", "data-00000-of-00001.arrow", corpus_of, damaged_arrow, corpus, count),
    Reader("datasets state.json", "state.json", dataset_of, damaged_json, dataset),
    Reader("datasets shard", "data-00000-of-00001.arrow", dataset_of, damaged_arrow, dataset),
    Reader("unfinished corpus settings.json", ".unfinished/settings.json", lambda folder: _begin(folder, SETTINGS),
           damaged_json, unfinished),
    *(Reader(f"unfinished corpus {name}", f".unfinished/{name}", finished_corpus, damage, unfinished_corpus,
             same=tokens_of) for name, damage in PARTS.items()),
    Reader("run settings.json", "settings.json", settings_of, damaged_json, run),
    Reader("run state.ckpt", "state.ckpt", lambda folder: read_state(folder / "state.ckpt"), damaged_bytes,
           run, noted("state.ckpt")),
    Reader("run start.safetensors", "start.safetensors", start_of, damaged_safetensors, run,
           noted("start.safetensors")),
    Reader("vocabulary TSV", "genes.tsv", lambda folder: GeneVocabulary.from_tsv(folder / "genes.tsv"), damaged_lines,
           one_file("genes.tsv", lambda path: shutil.copy(GENES, path))),
    Reader("vocabulary TSV.GZ", "genes.tsv.gz", lambda folder: GeneVocabulary.from_tsv(folder / "genes.tsv.gz"),
           gunzipped, one_file("genes.tsv.gz", lambda path: path.write_bytes(gzip.compress(GENES.read_bytes())))),
    Reader("tokenizer JSON", "tokenizer.json", lambda folder: GeneVocabulary.from_tokenizer_json(
        folder / "tokenizer.json"), damaged_json, one_file("tokenizer.json", tokenizer)),
    Reader("medians TSV", "medians.tsv", lambda folder: GeneVocabulary.from_tokenizer_json(
        folder / "tokenizer.json", medians=folder / "medians.tsv"), damaged_lines,
                   tokenizer_and_medians),
    Reader("aliases TSV", "aliases.tsv", lambda folder: GeneAliases.from_tsv(folder / "aliases.tsv"), damaged_lines,
           one_file("aliases.tsv", aliases_table)),
    Reader("gene sets GMT", "sets.gmt", pathways_of, damaged_lines, one_file("sets.gmt", gene_sets)),
    Reader("gene sets GMT, gzipped", "sets.gmt", pathways_of, gunzipped, one_file(
        "sets.gmt", lambda path: (gene_sets(path), path.write_bytes(gzip.compress(path.read_bytes()))))),
    Reader("regulons", "pairs.tsv", regulons_of, damaged_lines, one_file("pairs.tsv", regulons)),
    Reader("benchmark report", "report.json", lambda folder: str(BenchmarkReport.from_json(folder / "report.json")),
           damaged_json, one_file("report.json", benchmark_report)),
    Reader("benchmark rows", "rows.jsonl", lambda folder: kept_rows(folder / "rows.jsonl", KEPT), damaged_lines,
           one_file("rows.jsonl", benchmark_rows)),
)  # fmt: skip

READERS = FILES + CELLS
