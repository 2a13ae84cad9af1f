"""Write and read token shards: memory-mapped Arrow files, laid out as Hugging Face ``datasets`` lays them out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Int8, Int32, Int64, UInt64

from genemamba_sc._bins import to_bins
from genemamba_sc._json import quoted
from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._cell_hashes import near_hashes, token_hashes

try:
    import pyarrow as pa
except ImportError as error:
    raise ImportError(
        "A corpus of tokens is stored in Arrow files, which need pyarrow. "
        "Install it with: pip install 'genemamba-sc[corpus]'"
    ) from error

IDS, BINS, LENGTH = "input_ids", "value_bins", "length"
TOKEN_HASH, NEAR_HASH, SOURCE, ROW = "token_hash", "near_hash", "source", "row"


def shard_schema(vocab_size: int) -> pa.Schema:
    """Return the columns of a shard; tokens take two bytes where the vocabulary fits into them.

    Parameters
    ----------
    vocab_size
        Number of tokens.
    """
    token = pa.uint16() if vocab_size <= 1 << 16 else pa.int32()
    return pa.schema(
        [
            (IDS, pa.list_(token)),
            (BINS, pa.list_(pa.int8())),
            (LENGTH, pa.int32()),
            (TOKEN_HASH, pa.uint64()),
            (NEAR_HASH, pa.uint64()),
            (SOURCE, pa.int32()),
            (ROW, pa.int64()),
        ]
    )


class ShardWriter:
    """Write one shard in the order of the cells; used as a context manager.

    Parameters
    ----------
    path
        The file, which the caller renames once it is whole.
    schema
        What :func:`shard_schema` returned.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, schema)

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._sink.close()

    def write(self, tokens: Tokens, source: int, rows: Int64[np.ndarray, "b"]) -> UInt64[np.ndarray, "b"]:
        """Append cells and return their hashes.

        Parameters
        ----------
        tokens
            Tokens of ``b`` cells.
        source, rows
            Where the cells stand: number of the file, and row numbers in it.
        """
        real = np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
        offsets = pa.array(np.concatenate([[0], np.cumsum(tokens.lengths)]).astype(np.int32))
        ids = tokens.ids[real].astype(self.schema.field(IDS).type.value_type.to_pandas_dtype())
        hashes = token_hashes(tokens)
        columns = [
            pa.ListArray.from_arrays(offsets, pa.array(ids)),
            pa.ListArray.from_arrays(offsets, pa.array(to_bins(tokens.values[real]))),
            pa.array(tokens.lengths, pa.int32()),
            pa.array(hashes),
            pa.array(near_hashes(tokens)),
            pa.array(np.full(len(rows), source, dtype=np.int32)),
            pa.array(rows, pa.int64()),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self.schema))
        return hashes

    def copy(self, batch: pa.RecordBatch) -> None:
        """Append cells of another shard."""
        # Buffers of a filtered batch may be longer than what it holds; a copy is written compactly.
        self._writer.write_batch(batch)


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the record batches of an Arrow stream or file, as views into a memory map.

    Parameters
    ----------
    path
        The Arrow file.

    Raises
    ------
    ValueError
        If the file is damaged, truncated, or no Arrow file.
    """
    # The map outlives its handle, which matters where there are thousands of shards.
    with pa.memory_map(str(path)) as memory:
        try:
            if memory.read_at(6, 0) == b"ARROW1":
                stream = pa.ipc.open_file(memory)
                batches = (stream.get_batch(i) for i in range(stream.num_record_batches))
            else:
                batches = iter(pa.ipc.open_stream(memory))
            for batch in batches:
                batch.validate()  # lengths that exceed the buffers would be read beyond the file
                _ = batch.schema.names  # raises where they are no text
                yield batch
        except (pa.ArrowException, ValueError, OSError) as error:  # ValueError: names of columns that are no text
            raise ValueError(
                f"{path} is not a complete Arrow file ({quoted(error)}). Copy the corpus again, or tokenize again."
            ) from error


@dataclass(frozen=True, eq=False)
class CellBlock:
    """Hold cells that lie together in one shard, as views.

    Parameters
    ----------
    offsets
        Position in ``ids`` where each cell begins, shape ``(n + 1,)``.
    ids, bins
        Tokens, and their bins where the corpus has any.
    """

    offsets: np.ndarray
    ids: np.ndarray
    bins: Int8[np.ndarray, "t"] | None

    @property
    def lengths(self) -> Int32[np.ndarray, "n"]:
        """Number of tokens of each cell."""
        return np.diff(self.offsets).astype(np.int32)


def view_block(batch: pa.RecordBatch, path: Path) -> CellBlock:
    """View the cells of a record batch as numpy arrays, without a copy.

    Parameters
    ----------
    batch
        A record batch with at least a column ``input_ids``.
    path
        Path of the file, for messages.

    Raises
    ------
    ValueError
        If ``input_ids`` does not hold lists of whole numbers, or some are missing.
    """
    column = _whole_numbers(batch, IDS, path, "a list of token ids for each cell")
    offsets = _checked_offsets(column, path)
    if BINS not in batch.schema.names:
        return CellBlock(offsets, column.values.to_numpy(), None)
    bins = _whole_numbers(batch, BINS, path, "a list of bins, of one byte each, for each cell, or has none")
    if not np.array_equal(_checked_offsets(bins, path), offsets):
        raise ValueError(f"{IDS!r} and {BINS!r} of {path} do not belong together. Tokenize again.")
    return CellBlock(offsets, column.values.to_numpy(), bins.values.to_numpy())


def _whole_numbers(batch: pa.RecordBatch, name: str, path: Path, what: str) -> pa.Array:
    """Give a column of lists of whole numbers; refused where it is none, or some are missing."""
    kind = batch.schema.field(name).type if batch.schema.names.count(name) == 1 else pa.null()
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    is_whole = is_list and (kind.value_type == pa.int8() if name == BINS else pa.types.is_integer(kind.value_type))
    if not is_whole or batch.column(name).null_count or batch.column(name).values.null_count:
        raise ValueError(
            f"A token corpus has a column {name!r} with {what}; {path} has "
            f"{quoted(', '.join(f'{field.name}: {field.type}' for field in batch.schema))}. Rename or convert the "
            "column."
        )
    return batch.column(name)


def view_numbers(batch: pa.RecordBatch, name: str, path: Path) -> np.ndarray:
    """See a column of whole numbers, one for each cell.

    Parameters
    ----------
    batch
        Of a shard.
    name
        Of the column.
    path
        Of the file, for messages.

    Raises
    ------
    ValueError
        If there is no such column, or it has something else.
    """
    kind = batch.schema.field(name).type if batch.schema.names.count(name) == 1 else pa.null()
    if not pa.types.is_integer(kind) or batch.column(name).null_count:
        raise ValueError(
            f"{path} must have one whole number for each cell in the column {name!r}. Got "
            f"{quoted(str(kind))}: it is damaged. Copy the corpus again, or tokenize anew."
        )
    return batch.column(name).to_numpy()


def _checked_offsets(column: pa.Array, path: Path) -> np.ndarray:
    """Return where each cell begins; raise ValueError where the offsets are out of order or beyond the values."""
    offsets = column.offsets.to_numpy()
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > len(column.values) or (np.diff(offsets) < 0).any()):
        raise ValueError(
            f"The lists of {path} must follow each other within its {len(column.values):,} values. Got offsets that do "
            "not: the file is damaged. Copy the corpus again, or tokenize again."
        )
    return offsets
