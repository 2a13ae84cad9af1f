"""Keep the tokens of many cells in memory without their padding."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64, Integer, UInt16

from genemamba_sc._constants import PAD_ID
from genemamba_sc.data import Tokens

# Below this many tokens an id takes two bytes.
_SHORT = 2**16


@dataclass(frozen=True, eq=False)
class TokenStore:
    """Hold tokens cell after cell; a cell takes as much as it has genes, not as much as the longest one.

    Parameters
    ----------
    ids, values
        Tokens and values of all cells, shape (t,).
    starts
        Where each cell begins, and the end, shape (n + 1,).
    """

    ids: UInt16[np.ndarray, "t"] | Int32[np.ndarray, "t"]
    values: Float32[np.ndarray, "t"]
    starts: Int64[np.ndarray, "m"]

    @classmethod
    def of(cls, blocks: Iterable[Tokens], vocab_size: int) -> "TokenStore":
        """Take the tokens of blocks of cells, one after the other.

        Parameters
        ----------
        blocks
            Tokens of the cells.
        vocab_size
            Number of tokens, which tells how many bytes an id needs.
        """
        kind = np.uint16 if vocab_size <= _SHORT else np.int32
        ids, values, lengths = list[np.ndarray](), list[np.ndarray](), [np.zeros(1, dtype=np.int64)]
        for block in blocks:
            real = np.arange(block.ids.shape[1])[None, :] < block.lengths[:, None]
            ids.append(block.ids[real].astype(kind))
            values.append(block.values[real])
            lengths.append(block.lengths.astype(np.int64))
        return cls(_joined(ids, kind), _joined(values, np.float32), np.cumsum(np.concatenate(lengths)))

    @property
    def lengths(self) -> Int32[np.ndarray, "n"]:
        """Number of tokens of each cell."""
        return np.diff(self.starts).astype(np.int32)

    def take(self, rows: Integer[np.ndarray, "b"]) -> Tokens:
        """Return the tokens of cells, in this order, padded to the longest of them.

        Parameters
        ----------
        rows
            Numbers of the cells.
        """
        starts, ends = self.starts[:-1][rows], self.starts[1:][rows]
        shape = len(rows), max(1, int((ends - starts).max(initial=1)))
        ids, values = np.full(shape, PAD_ID, dtype=np.int32), np.zeros(shape, dtype=np.float32)
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist())):
            ids[row, : end - start] = self.ids[start:end]
            values[row, : end - start] = self.values[start:end]
        return Tokens(ids, values, (ends - starts).astype(np.int32))


def _joined(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    """Join parts, and let each go as soon as it is copied."""
    joined, end = np.empty(sum(map(len, parts)), dtype=dtype), 0
    parts.reverse()
    while parts:
        part = parts.pop()
        joined[end : end + len(part)] = part
        end += len(part)
    return joined
