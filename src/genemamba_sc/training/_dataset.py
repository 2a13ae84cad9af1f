"""Make the minibatches of a training: which cells go together, with their labels and batches."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
import torch
from anndata.io import sparse_dataset
from jaxtyping import Integer
from scipy import sparse
from torch.utils.data import Dataset, Sampler, get_worker_info

from genemamba_sc._constants import UNK_ID
from genemamba_sc.data import CellSource, GeneVocabulary, Tokens
from genemamba_sc.data.tokens._batches import TokenBatch, to_batch
from genemamba_sc.training._token_store import TokenStore

# Number of batches whose cells are sorted by length together: enough that at most 3 % are pads
# (benchmarks/speed/padding.py), few enough that the order of cells stays random.
_WINDOW_BATCHES = 64
# Tokens of up to this many bytes are kept in memory between epochs.
_CACHE_BYTES = 2 * 1024**3
_BLOCK = 4096


class LengthBucketSampler(Sampler[list[int]]):
    """Yield shuffled batches of cells of similar length.

    Parameters
    ----------
    lengths
        Number of tokens of every cell, shape ``(n_obs,)``.
    indices
        The cells to draw from.
    batch_size
        Number of cells per batch; the last batch may be smaller.
    seed
        Seed of the order; the epoch's number is added to it.
    """

    def __init__(
        self,
        lengths: Integer[np.ndarray, "n_obs"],
        indices: Integer[np.ndarray, "n"],
        batch_size: int,
        seed: int,
    ) -> None:
        self._lengths = lengths
        self._indices = indices
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self._seed, self._epoch])
        self._epoch += 1
        order = rng.permutation(self._indices)
        window = self._batch_size * _WINDOW_BATCHES
        batches: list[np.ndarray] = []
        for start in range(0, len(order), window):
            part = order[start : start + window]
            part = part[np.argsort(self._lengths[part], kind="stable")]
            batches += [part[i : i + self._batch_size] for i in range(0, len(part), self._batch_size)]
        for position in rng.permutation(len(batches)):
            yield batches[position].tolist()


class TokenDataset(Dataset[TokenBatch]):
    """Make minibatches of tokens, with the labels and batches of the cells where there are any.

    Parameters
    ----------
    source
        Source of the tokens.
    columns
        Arrays whose first axis is the cells; they are handed on with the tokens by name (``"labels"``, ``"batch"``).
    """

    def __init__(self, source: CellSource, columns: dict[str, np.ndarray]) -> None:
        self._source: CellSource | None = source
        self._n_obs = source.n_obs
        self._vocabulary = source.tokenizer.vocabulary
        self._columns = dict(columns)
        self._cache = self._read_all() if self._fits() else None
        self.lengths = self._cache.lengths if self._cache is not None else self._count_lengths()

    def __len__(self) -> int:
        return self._n_obs

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: workers that are not forked read the cache, or open the file again."""
        if self._cache is not None:
            return {**self.__dict__, "_source": None}
        return {**self.__dict__, "_source": _by_path(self.source)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._source, _ClosedSource):
            self._source = self._source.open()

    def __getitem__(self, indices: list[int]) -> TokenBatch:
        rows = np.asarray(indices, dtype=np.int64)
        batch = to_batch(self._take(rows))
        return batch | {name: torch.from_numpy(values[rows]) for name, values in self._columns.items()}

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Read-only view of the arrays that are handed on with the tokens."""
        return MappingProxyType(self._columns)

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> "TokenDataset":
        """Return a dataset of the same tokens with further columns; the tokens are shared.

        Parameters
        ----------
        columns
            Arrays whose first axis is the cells, by name.
        """
        other = copy.copy(self)
        other._columns = {**self._columns, **columns}
        return other

    @property
    def vocabulary(self) -> GeneVocabulary:
        """The genes that have tokens."""
        return self._vocabulary

    @property
    def source(self) -> CellSource:
        """Source of the tokens; a copy in a worker process may go without."""
        assert self._source is not None  # a worker reads the tokens from memory
        return self._source

    def tokens(self, indices: Integer[np.ndarray, "n"]) -> Tokens:
        """Return the tokens of the cells ``indices``, in that order."""
        return self._take(np.asarray(indices, dtype=np.int64))

    def blocks(self, indices: Integer[np.ndarray, "n"]) -> Iterator[Tokens]:
        """Yield the tokens of the cells ``indices`` in parts, for what needs not be in memory at once."""
        return (self.tokens(indices[start : start + _BLOCK]) for start in range(0, len(indices), _BLOCK))

    def _fits(self) -> bool:
        return self.source.n_obs * self.source.tokenizer.max_len * 8 <= _CACHE_BYTES

    def _read_all(self) -> TokenStore:
        # Blocks are read, because a linear copy of the whole matrix would double the memory.
        return TokenStore.of(self._blocks_read(np.arange(self.source.n_obs)), self.vocabulary.size)

    def _blocks_read(self, rows: np.ndarray) -> Iterator[Tokens]:
        return (self.source.tokens(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK))

    def _count_lengths(self) -> np.ndarray:
        columns = self.source.columns
        matched = np.flatnonzero(columns != UNK_ID)
        # All columns of one gene make one token.
        tokens = sparse.csr_matrix(
            (np.ones(len(matched), dtype=np.float32), (matched, columns[matched])), (len(columns), self.vocabulary.size)
        )
        found = [np.diff((cells.astype(bool) @ tokens).indptr) for _, cells in self.source.reader.blocks(_BLOCK)]
        return np.minimum(np.concatenate(found), self.source.tokenizer.max_len).astype(np.int32)

    def _take(self, rows: np.ndarray) -> Tokens:
        if self._cache is not None:
            return self._cache.take(rows)
        # A worker process has one core; threads of its own would take those of its neighbours.
        source = self.source if get_worker_info() is None else self.source.on_one_thread()
        return source.tokens(rows)


@dataclass(frozen=True)
class _ClosedSource:
    """Hold a source in an HDF5 file by the path of that file."""

    rest: CellSource
    path: str
    name: str

    def open(self) -> CellSource:
        stored = h5py.File(self.path, "r")[self.name]
        matrix = sparse_dataset(stored) if isinstance(stored, h5py.Group) else stored
        return replace(self.rest, reader=self.rest.reader.over(matrix))


def _by_path(source: CellSource) -> "CellSource | _ClosedSource":
    """Replace an open HDF5 file by its path; sources in memory, and zarr, travel as they are."""
    stored = source.reader.hdf5
    if stored is None:
        return source
    empty = source.reader.over(sparse.csr_matrix((0, source.reader.n_vars), dtype=np.float32))
    return _ClosedSource(replace(source, reader=empty), stored.file.filename, stored.name)
