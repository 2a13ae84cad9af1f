"""Finish a build: drop duplicates, put the parts in their place, write the manifest last."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, UInt64

from genemamba_sc._files import replacing_file
from genemamba_sc._version import __version__
from genemamba_sc.corpus._manifest import FORMAT, FORMAT_VERSION, GENES_FILE, MANIFEST_FILE
from genemamba_sc.corpus._pieces import COUNTED, Piece
from genemamba_sc.corpus._records import noted_digest, read_record
from genemamba_sc.corpus._shards import LENGTH, ShardWriter, read_batches, shard_schema
from genemamba_sc.corpus._sources import READING_KEYS, Source
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.data.cells._file_hash import size_and_sha256


class NoCells(ValueError):
    """Tell that no cell is left for a corpus."""


def assemble(
    target: Path,
    pieces: Sequence[Piece],
    sources: Sequence[Source],
    hashed: Sequence[Path],
    vocabulary: GeneVocabulary,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Make a corpus of finished pieces; this may be killed and called again at any moment.

    Parameters
    ----------
    target
        Folder of the corpus.
    pieces
        All pieces, finished, in the order of the corpus.
    sources, hashed
        The files, and the paths of the records of their size and SHA-256.
    vocabulary, settings
        The genes and the choices that the corpus was made with.

    Returns
    -------
    The manifest.

    Raises
    ------
    NoCells
        If no cell is left.
    """
    hashes = [np.load(piece.hashes) for piece in pieces]
    kept = first_of_each(hashes)
    n_cells = sum(int(mask.sum()) for mask in kept)
    if n_cells == 0:
        raise NoCells(
            f"A corpus needs cells; of {sum(source.n_cells for source in sources)} none has "
            f"{settings['filters']['min_genes']} genes of the vocabulary. Lower --min-genes, or check the genes."
        )
    shards = _place(target, pieces, kept, vocabulary.size)
    vocabulary.to_tsv(target / GENES_FILE)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "n_cells": n_cells,
        "n_tokens": sum(shard["n_tokens"] for shard in shards),
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "vocab_size": vocabulary.size,
        "genes_of_files": settings["vocabulary"] is None,
        **{key: settings[key] for key in ("filters", *READING_KEYS) if key in settings},
        "fingerprint": _fingerprint(hashes, kept),
        "sources": [_describe(n, source, hashed[n], pieces, kept) for n, source in enumerate(sources)],
        "shards": shards,
    }
    _write_dataset_files(target, [shard["file"] for shard in shards], manifest["fingerprint"])
    with replacing_file(target / MANIFEST_FILE) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


def first_of_each(hashes: Sequence[UInt64[np.ndarray, "_"]]) -> list[Bool[np.ndarray, "_"]]:
    """Mark the first cell of each hash over all pieces; this needs some 40 bytes per cell.

    Parameters
    ----------
    hashes
        Hashes of the cells of each piece, in the order of the corpus.
    """
    together = np.concatenate(list(hashes))
    keep = np.zeros(len(together), dtype=bool)
    keep[np.unique(together, return_index=True)[1]] = True
    return np.split(keep, np.cumsum([len(part) for part in hashes])[:-1])


def _place(target: Path, pieces: Sequence[Piece], kept: Sequence[np.ndarray], vocab_size: int) -> list[dict[str, Any]]:
    """Move or copy each piece that has cells to its name in the corpus."""
    filled = [(piece, mask) for piece, mask in zip(pieces, kept) if mask.any()]
    shards = []
    for number, (piece, mask) in enumerate(filled):
        shard = target / f"data-{number:05d}-of-{len(filled):05d}.arrow"
        if not shard.exists():
            if mask.all():
                os.replace(piece.cells, shard)
            else:
                with replacing_file(shard) as temporary:
                    _copy_kept(piece.cells, temporary, mask, vocab_size)
                piece.cells.unlink()
        size, digest = size_and_sha256(shard)
        if mask.all() and digest != noted_digest(_record(piece.record), piece.cells):
            raise ValueError(
                f"{shard} must be the part of the corpus that was tokenised, by its SHA-256. It is damaged. "
                f"Remove {target} to build the corpus anew."
            )
        n_tokens = sum(int(np.sum(batch.column(LENGTH).to_numpy())) for batch in read_batches(shard))
        shards.append(
            {"file": shard.name, "n_cells": int(mask.sum()), "n_tokens": n_tokens, "size": size, "sha256": digest}
        )
    return shards


def _record(path: Path) -> dict[str, Any]:
    record = read_record(path)
    if record is None:
        raise ValueError(f"{path} must be as it was written. It is damaged. Start the same build again to mend it.")
    return record


def _copy_kept(part: Path, target: Path, mask: np.ndarray, vocab_size: int) -> None:
    start = 0
    with ShardWriter(target, shard_schema(vocab_size)) as writer:
        for batch in read_batches(part):
            chosen = mask[start : start + batch.num_rows]
            start += batch.num_rows
            if chosen.any():
                writer.copy(batch.filter(pa.array(chosen)))


def _fingerprint(hashes: Sequence[np.ndarray], kept: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for part, mask in zip(hashes, kept):
        digest.update(part[mask].astype("<u8").tobytes())
    return digest.hexdigest()


def _describe(
    number: int, source: Source, hashed: Path, pieces: Sequence[Piece], kept: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Describe what a file contributed to the corpus."""
    own = [(piece, mask) for piece, mask in zip(pieces, kept) if piece.number == number]
    told = [_record(piece.record) for piece, _ in own]
    total = {key: sum(part[key] for part in told) for key in COUNTED} if told else {}
    n_kept = sum(int(mask.sum()) for _, mask in own)
    counts = total.get("counts", 0.0)
    return {
        "name": source.path.name,
        **{key: _record(hashed)[key] for key in ("size", "sha256")},
        "cells": {
            "read": total.get("read", 0),
            "kept": n_kept,
            "too_few_genes": total.get("too_few_genes", 0),
            "duplicates": total.get("kept", 0) - n_kept,
        },
        "genes": {**source.genes, "share_of_counts": total["counts_with_token"] / counts if counts else 0.0},
        "expression": {"kind": source.expression.kind, "log_base": source.expression.log_base},
    }


def _write_dataset_files(target: Path, shards: list[str], fingerprint: str) -> None:
    """Write what ``datasets.load_from_disk`` looks for; it reads the columns from the shards."""
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in shards],
        "_fingerprint": fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    info = {"description": "Rank tokens of cells, written by genemamba-sc.", "features": None}
    for name, content in (("state.json", state), ("dataset_info.json", info)):
        with replacing_file(target / name) as temporary:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
