"""Turn a range of cells of one file, the unit of work, into one part of the corpus, whole or not at all."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import sparse

from genemamba_sc._constants import UNK_ID
from genemamba_sc._files import replacing_file
from genemamba_sc.corpus._records import is_whole, read_record, write_record
from genemamba_sc.corpus._shards import ShardWriter, shard_schema
from genemamba_sc.corpus._sources import Source
from genemamba_sc.data import CellReader, GeneVocabulary, RankTokenizer, Tokens, take_tokens, to_linear
from genemamba_sc.data.cells._cell_files import Place, open_cells
from genemamba_sc.data.cells._matrix import without_others
from genemamba_sc.data.cells._scale_check import naming_rows

# Number of cells in memory at once: with 2,048 tokens each they take some 30 MB.
_BLOCK = 2048
# What is told of each piece, in numbers that add up.
COUNTED = ("read", "kept", "too_few_genes", "tokens", "counts", "counts_with_token")


@dataclass(frozen=True, eq=False)
class Piece:
    """Hold what a worker needs to tokenise a range of cells.

    Parameters
    ----------
    name
        Name of the files that it leaves in ``folder``: ``.arrow``, ``.npy`` with the hashes, and ``.json``, written
        last.
    folder
        Folder to write to.
    number, source
        Number of the file that the cells are from, and the file.
    first, last
        The range of rows: the first, and the one after the last.
    place
        Where the expression is.
    vocabulary
        Path of the vocabulary's table.
    max_len
        Largest number of tokens of a cell.
    min_genes
        Least number of tokens of a cell; cells with fewer are dropped.
    """

    name: str
    folder: Path
    number: int
    source: Source
    first: int
    last: int
    place: Place
    vocabulary: Path
    max_len: int
    min_genes: int

    @property
    def cells(self) -> Path:
        """The part of the corpus; it leaves the folder when it takes its place."""
        return self.folder / f"{self.name}.arrow"

    @property
    def hashes(self) -> Path:
        """The hashes of the cells."""
        return self.folder / f"{self.name}.npy"

    @property
    def record(self) -> Path:
        """What is told of the piece, and the digests of its files; written last."""
        return self.folder / f"{self.name}.json"

    def is_done(self, has_shards: bool) -> bool:
        """Whether a run has finished the piece, and its files are as they were written.

        Parameters
        ----------
        has_shards
            Whether parts have begun to take their places, so that this one may be gone from the folder.
        """
        record = read_record(self.record)
        if record is None or not is_whole(record, self.hashes):
            return False
        return is_whole(record, self.cells) or (has_shards and not self.cells.exists())


def tokenize_piece(piece: Piece) -> int:
    """Write the part of the corpus that a piece stands for; return the number of cells read.

    Parameters
    ----------
    piece
        The piece of work.

    Raises
    ------
    ValueError
        If a value of the file cannot be ranked. The message names the file and the cells.
    """
    tokenizer = _tokenizer(piece.vocabulary, piece.max_len)
    told: dict[str, float] = dict.fromkeys(COUNTED[:4], 0) | dict.fromkeys(COUNTED[4:], 0.0)
    hashes: list[np.ndarray] = [np.empty(0, dtype=np.uint64)]
    with open_cells(piece.source.path, piece.place) as cells, replacing_file(piece.cells) as temporary:
        reader, _ = without_others(cells.reader, cells.var)
        with ShardWriter(temporary, shard_schema(tokenizer.vocabulary.size)) as writer:
            for first in range(piece.first, piece.last, _BLOCK):
                rows = np.arange(first, min(first + _BLOCK, piece.last))
                block, tokens = _tokenize(piece, reader, tokenizer, rows)
                kept = np.flatnonzero(tokens.lengths >= piece.min_genes)
                hashes.append(writer.write(take_tokens(tokens, kept), piece.number, rows[kept]))
                told["read"] += len(rows)
                told["kept"] += len(kept)
                told["too_few_genes"] += len(rows) - len(kept)
                told["tokens"] += int(tokens.lengths[kept].sum())
                told["counts"] += float(block.data.sum(dtype=np.float64))
                known = piece.source.columns[block.indices] != UNK_ID
                told["counts_with_token"] += float(block.data[known].sum(dtype=np.float64))
    with replacing_file(piece.hashes) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.concatenate(hashes))
    write_record(piece.record, told, [piece.cells, piece.hashes])
    return int(told["read"])


def _tokenize(
    piece: Piece, reader: CellReader, tokenizer: RankTokenizer, rows: np.ndarray
) -> tuple[sparse.csr_matrix, Tokens]:
    try:
        with naming_rows(rows):
            block = to_linear(reader.read(rows), piece.source.expression)
            return block, tokenizer(block, piece.source.columns)
    except (ValueError, OSError) as error:
        raise ValueError(f"{piece.source.path}, cells {rows[0]} to {rows[-1]}: {error}") from error


@lru_cache(maxsize=1)
def _tokenizer(vocabulary: Path, max_len: int) -> RankTokenizer:
    # Each tokenizer runs on one thread, because the processes share the cores.
    return RankTokenizer(GeneVocabulary.from_tsv(vocabulary), max_len)
