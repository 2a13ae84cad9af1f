"""Read a corpus of tokens from ``genemamba tokenize``, or from a folder of Hugging Face ``datasets`` with token ids."""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Integer, UInt64

from genemamba_sc._bins import NO_VALUE, from_bins
from genemamba_sc._constants import FIRST_GENE_ID, PAD_ID
from genemamba_sc._json import read_object
from genemamba_sc.corpus._build import WORK_FOLDER
from genemamba_sc.corpus._manifest import GENES_FILE, MANIFEST_FILE, read_manifest, require_regular
from genemamba_sc.corpus._shards import NEAR_HASH, SOURCE, TOKEN_HASH, CellBlock, read_batches, view_block, view_numbers
from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.data.cells._file_hash import size_and_sha256
from genemamba_sc.data.genes._text_files import naming
from genemamba_sc.data.tokens._cell_hashes import CellHashes, near_hashes, token_hashes

_STATE_FILE = "state.json"
_BLOCK_CELLS = 4096


class TokenCorpus:
    """Read tokens of any number of cells through a memory map; only the lengths are held in memory.

    Parameters
    ----------
    folder
        Folder of the corpus.
    vocabulary
        The genes behind the token ids.
    manifest
        Description of what the corpus is made of.
    shards
        The Arrow files, in the order of the cells.

    Notes
    -----
    Two layouts are read: that of :func:`build_corpus`, and any folder that ``Dataset.save_to_disk`` of Hugging Face
    ``datasets`` wrote, with a list of token ids per cell in the column ``input_ids`` (Genecorpus-30M is one, with the
    ids of the published vocabulary). Where no values are stored, the value of a token is 0, "unknown", and its weight
    1.
    """

    def __init__(self, folder: Path, vocabulary: GeneVocabulary, manifest: dict[str, Any], shards: list[Path]) -> None:
        self.folder = folder
        self.vocabulary = vocabulary
        self.manifest = manifest
        self._shards = shards
        self._digests = [shard.get("sha256") for shard in manifest["shards"]]
        self._checked: set[int] = set()
        found = [
            (number, view_block(batch, path))
            for number, path in enumerate(shards)
            for batch in read_batches(path)
            if batch.num_rows
        ]
        self._blocks: list[CellBlock] = [block for _, block in found]
        self._shard_of_block = np.array([number for number, _ in found], dtype=np.int64)
        sizes = [len(block.offsets) - 1 for block in self._blocks]
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        # The lengths are read once at the start, 4 bytes a cell, because batches are planned by them.
        parts = [block.lengths for block in self._blocks]
        self._lengths = np.concatenate(parts) if parts else np.empty(0, np.int32)

    @classmethod
    def open(cls, folder: str | Path, *, vocabulary: GeneVocabulary | None = None) -> "TokenCorpus":
        """Open a corpus.

        Parameters
        ----------
        folder
            Folder that ``genemamba tokenize`` or ``Dataset.save_to_disk`` wrote.
        vocabulary
            The genes behind the token ids. It is needed where the folder does not hold them, and refused where they
            differ.

        Raises
        ------
        FileNotFoundError
            If there is no corpus, the corpus is not finished, or a shard is missing.
        ValueError
            If the corpus is damaged, or the vocabulary is missing or another one.
        """
        path = Path(folder)
        if (path / MANIFEST_FILE).exists():
            return cls._open_own(path, vocabulary)
        if (path / WORK_FOLDER).exists():
            raise FileNotFoundError(
                f"{path} holds an unfinished corpus. Run the same genemamba tokenize command again to finish it."
            )
        if not (path / _STATE_FILE).exists():
            raise FileNotFoundError(
                f"{path} is not a corpus: it has neither {MANIFEST_FILE} nor {_STATE_FILE}. Give a folder that "
                "genemamba tokenize wrote, or one of Hugging Face datasets with token ids in 'input_ids'."
            )
        if vocabulary is None:
            raise ValueError(
                f"{path} holds token ids without their genes. Pass the vocabulary they were made with "
                "(--vocabulary TSV): for Genecorpus-30M the published one, of 25,424 genes."
            )
        return cls._open_dataset(path, vocabulary)

    @classmethod
    def _open_own(cls, path: Path, vocabulary: GeneVocabulary | None) -> "TokenCorpus":
        manifest = read_manifest(path)
        own = GeneVocabulary.from_tsv(path / GENES_FILE)
        for given, whose in ((manifest["vocabulary_fingerprint"], "its manifest"), (vocabulary, "the one passed")):
            if given not in (None, own, own.fingerprint):
                raise ValueError(
                    f"{path / GENES_FILE} differs from {whose}. Leave out the vocabulary, because a corpus "
                    "brings its own, and keep the files of a corpus together."
                )
        shards = [path / shard["file"] for shard in manifest["shards"]]
        for file, shard in zip(shards, manifest["shards"]):
            require_regular(file, path, MANIFEST_FILE)
            if file.stat().st_size != shard["size"]:
                raise FileNotFoundError(
                    f"{file} is missing or does not have the {shard['size']} bytes that {MANIFEST_FILE} says. "
                    "Copy the corpus again."
                )
        corpus = cls(path, own, manifest, shards)
        if corpus.n_cells != manifest["n_cells"]:
            raise ValueError(
                f"The shards of {path} must hold the {manifest['n_cells']:,} cells that {MANIFEST_FILE} says. Got "
                f"{corpus.n_cells:,}. Copy the corpus again, or tokenize again."
            )
        return corpus

    @classmethod
    def _open_dataset(cls, path: Path, vocabulary: GeneVocabulary) -> "TokenCorpus":
        state = read_object(path / _STATE_FILE)
        shards = [path / entry.text("filename") for entry in state.objects("_data_files")]
        for file in shards:
            require_regular(file, path, _STATE_FILE)
        manifest = {
            "format": "datasets",
            "fingerprint": state.optional_text("_fingerprint"),
            "vocabulary_fingerprint": vocabulary.fingerprint,
            "vocab_size": vocabulary.size,
            "shards": [{"file": file.name, "size": file.stat().st_size} for file in shards],
        }
        corpus = cls(path, vocabulary, manifest, shards)
        if corpus.n_cells:
            corpus.tokens(np.unique(np.linspace(0, corpus.n_cells - 1, 1000).astype(np.int64)))
        manifest |= {"n_cells": corpus.n_cells, "n_tokens": int(corpus.lengths.sum(dtype=np.int64))}
        return corpus

    @property
    def lengths(self) -> Int32[np.ndarray, "n"]:
        """Number of tokens of each cell."""
        return self._lengths

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self._starts[-1])

    @property
    def has_values(self) -> bool:
        """Whether the half-octave of each token's value is stored."""
        return all(block.bins is not None for block in self._blocks)

    def tokens(self, indices: Integer[np.ndarray, "b"], max_len: int | None = None) -> Tokens:
        """Return the tokens of cells, in the order asked.

        Parameters
        ----------
        indices
            Cell numbers in ``[0, n_cells)``, in any order, repeats allowed.
        max_len
            Largest number of tokens of each cell; ``None`` takes all that are stored.

        Returns
        -------
        Tokens
            Values are the middles of half-octaves, which is all that the encoder tells apart; 0 where none is stored.

        Raises
        ------
        IndexError
            If a number is out of range.
        ValueError
            If a token id does not belong to a gene of the vocabulary.
        """
        cells = np.asarray(indices, dtype=np.int64)
        if cells.size and not 0 <= cells.min() <= cells.max() < self.n_cells:
            raise IndexError(f"Cells are numbered from 0 to {self.n_cells - 1}; got {cells.min()} to {cells.max()}.")
        lengths = self._lengths[cells] if max_len is None else np.minimum(self._lengths[cells], max_len)
        width = max(1, int(lengths.max(initial=1)))
        ids = np.full((len(cells), width), PAD_ID, dtype=np.int32)
        bins = np.full((len(cells), width), NO_VALUE, dtype=np.int8)
        block_of = np.searchsorted(self._starts, cells, side="right") - 1
        row_of = cells - self._starts[block_of]
        self._check_shards(np.unique(self._shard_of_block[block_of]).tolist())
        for i, (number, row, n) in enumerate(zip(block_of.tolist(), row_of.tolist(), lengths.tolist())):
            block = self._blocks[number]
            begin = block.offsets[row]
            ids[i, :n] = block.ids[begin : begin + n]
            if block.bins is not None:
                bins[i, :n] = block.bins[begin : begin + n]
        real = ids[ids != PAD_ID] if cells.size else ids[:0]
        if real.size and not FIRST_GENE_ID <= real.min() <= real.max() < self.vocabulary.cls_id:
            raise ValueError(
                f"Token ids of {self.folder} must be genes of the vocabulary, {FIRST_GENE_ID} to "
                f"{self.vocabulary.cls_id - 1}; got {real.min()} to {real.max()}. Pass the vocabulary it was made with."
            )
        return Tokens(ids=ids, values=from_bins(bins), lengths=lengths.astype(np.int32))

    @cached_property
    def token_hashes(self) -> UInt64[np.ndarray, "n"]:
        """Hash of each cell's tokens: a cell with these tokens is in the corpus."""
        return self._column(TOKEN_HASH)

    @cached_property
    def near_hashes(self) -> UInt64[np.ndarray, "n"]:
        """Hash of a few of each cell's highest tokens: a cell that shares it is most probably the same cell."""
        return self._column(NEAR_HASH)

    def _column(self, name: str) -> UInt64[np.ndarray, "n"]:
        if self.manifest["format"] == "datasets":
            raise ValueError(
                f"{self.folder} stores no hashes of its cells. "
                "Compute them with genemamba_sc.corpus.token_hashes(corpus.tokens(rows))."
            )
        return self._stored(name).astype(np.uint64)

    def _stored(self, name: str) -> np.ndarray:
        self._check_shards(range(len(self._shards)))
        parts = [view_numbers(batch, name, path) for path in self._shards for batch in read_batches(path)]
        return np.concatenate(parts)

    def _check_shards(self, numbers: Iterable[int]) -> None:
        """Compare each shard once with its SHA-256; corpora of older versions store none."""
        for number in set(numbers) - self._checked:
            file, digest = self._shards[number], self._digests[number]
            if digest is not None and size_and_sha256(file)[1] != digest:
                raise ValueError(
                    f"{file} must have the SHA-256 that {MANIFEST_FILE} says, {digest}. It has another one: it is "
                    "damaged or belongs to another corpus. Copy the corpus again, or tokenize again."
                )
            self._checked.add(number)

    def cell_hashes(self, cells: Integer[np.ndarray, "b"]) -> CellHashes:
        """Return hashes of cells, to be kept with the weights that are trained on them.

        Parameters
        ----------
        cells
            Cell numbers.

        Notes
        -----
        A corpus of :func:`build_corpus` stores the hashes, and which file each cell is from. For a folder of
        ``datasets`` they are computed from the tokens.
        """
        if self.manifest["format"] == "datasets":
            blocks = [self.tokens(cells[i : i + _BLOCK_CELLS]) for i in range(0, len(cells), _BLOCK_CELLS)]
            hashed = [(token_hashes(block), near_hashes(block)) for block in blocks]
            exact, near = (np.concatenate(part) for part in zip(*hashed))
            return CellHashes.of(exact, near, int(self.lengths.max()))
        names = tuple(source["name"] for source in self.manifest["sources"])
        of_cell = self._stored(SOURCE)[cells]
        max_len = self.manifest["filters"]["max_len"]
        with naming(self.folder):
            return CellHashes.of(self.token_hashes[cells], self.near_hashes[cells], max_len, of_cell, names)

    def identity(self) -> str:
        """Return one string for cells and vocabulary, by which a training run recognises its corpus."""
        shards = [(shard["file"], shard["size"]) for shard in self.manifest["shards"]]
        parts = [self.manifest["fingerprint"], self.vocabulary.fingerprint, self.n_cells, shards]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def __len__(self) -> int:
        return self.n_cells

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker opens the files itself: the system shares the memory map, and nothing is sent through a pipe.
        return TokenCorpus, (self.folder, self.vocabulary, self.manifest, self._shards)

    def __repr__(self) -> str:
        return f"TokenCorpus({str(self.folder)!r}: {self.n_cells:,} cells, {self.vocabulary.n_genes:,} genes)"
