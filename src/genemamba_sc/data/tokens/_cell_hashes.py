"""Recognise cells without storing them: hash their tokens, and write the hashes to a file."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt, UInt64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from genemamba_sc._json import quoted
from genemamba_sc.data.tokens._tokenizer import Tokens

CELLS_FILE = "cells.safetensors"
# The metadata has one entry: several would be written in another order each time, and equal hashes would not be equal
# files.
_FACTS = "cells"
# The same cell in another file may lack genes; a few of the highest ones, chosen alike, are often all there.
_HIGHEST_TOKENS, _CHOSEN = 64, 8


@dataclass(frozen=True, eq=False)
class CellHashes:
    """Hold hashes of the cells that weights were trained on: 16 to 18 bytes a cell, and no expression.

    Parameters
    ----------
    exact
        :func:`token_hashes` of the cells, shape ``(n,)``, in the token ids of the vocabulary of the weights.
    near
        :func:`near_hashes` of the same cells, shape ``(n,)``.
    max_len
        Largest number of tokens of each cell that ``exact`` covers; a query has to be cut there too.
    source
        Number in ``sources`` of the set that each cell is from, shape ``(n,)``; all 0 where that is not known.
    sources
        Names of the sets or files; empty where they are not known.

    Raises
    ------
    ValueError
        If the arrays differ in length, or a cell is from a source without a name.
    """

    exact: UInt64[np.ndarray, "_"]
    near: UInt64[np.ndarray, "_"]
    max_len: int
    source: UInt[np.ndarray, "_"]
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = [len(self.exact), len(self.near), len(self.source)]
        if len(set(lengths)) > 1:
            raise ValueError(f"Each array of hashes has one value per cell. Got {lengths}. Take all of the same cells.")
        if self.sources and len(self.source) and int(self.source.max()) >= len(self.sources):
            raise ValueError(
                f"Every cell is from one of the {len(self.sources)} sources. Got number {self.source.max()}. "
                "Count them from 0, and name them all."
            )

    def __len__(self) -> int:
        return len(self.exact)

    @classmethod
    def of(
        cls,
        exact: UInt64[np.ndarray, "n"],
        near: UInt64[np.ndarray, "n"],
        max_len: int,
        source: np.ndarray | None = None,
        sources: tuple[str, ...] = (),
    ) -> "CellHashes":
        """Sort hashes by value, so that nothing is told about the order of the cells.

        Parameters
        ----------
        exact, near, max_len, sources
            As in the class.
        source
            Whole numbers, shape ``(n,)``; ``None`` where the source is not known.
        """
        order = np.lexsort((near, exact))
        numbers = np.zeros(len(exact), np.uint8) if source is None else np.asarray(source)
        kind = np.min_scalar_type(max(0, len(sources) - 1))
        return cls(exact[order], near[order], int(max_len), numbers[order].astype(kind), tuple(sources))

    @classmethod
    def from_tokens(
        cls, tokens: Tokens, max_len: int, source: np.ndarray | None = None, sources: tuple[str, ...] = ()
    ) -> "CellHashes":
        """Hash cells.

        Parameters
        ----------
        tokens
            Tokens of the cells, in the vocabulary of the weights.
        max_len
            Number of tokens at which the cells were cut.
        source, sources
            As in :meth:`of`.
        """
        return cls.of(token_hashes(tokens), near_hashes(tokens), max_len, source, sources)


def write_cell_hashes(path: Path, cells: CellHashes) -> None:
    """Write hashes to a safetensors file; equal hashes give equal files.

    Parameters
    ----------
    path
        Path of the file.
    cells
        The hashes to write.
    """
    arrays = {"exact": cells.exact, "near": cells.near, "source": cells.source}
    facts = json.dumps({"max_len": cells.max_len, "sources": list(cells.sources)})
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, metadata={_FACTS: facts})


def read_cell_hashes(path: Path) -> CellHashes:
    """Read what :func:`write_cell_hashes` wrote.

    Parameters
    ----------
    path
        Path of the file.

    Raises
    ------
    ValueError
        If the file is damaged, or holds something else.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            facts = json.loads((stream.metadata() or {})[_FACTS])
            arrays = {name: stream.get_tensor(name) for name in ("exact", "near", "source")}
        return CellHashes(**arrays, max_len=int(facts["max_len"]), sources=tuple(facts["sources"]))
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{path} holds no hashes of cells ({type(error).__name__}: {quoted(error)}): it is damaged or of another "
            "kind. Copy it again."
        ) from error


def token_hashes(tokens: Tokens) -> UInt64[np.ndarray, "b"]:
    """Compute the 64-bit BLAKE2b of each cell's token ids, as little-endian 32-bit numbers in their order.

    Parameters
    ----------
    tokens
        Tokens of ``b`` cells.

    Returns
    -------
    Hashes, shape ``(b,)``. The chance that any two of 30 million different cells share a hash is about 1 in 40,000.
    """
    cells = zip(tokens.ids.astype("<i4"), tokens.lengths)
    return np.fromiter((_digest(ids[:n].tobytes()) for ids, n in cells), np.uint64, len(tokens.lengths))


def near_hashes(tokens: Tokens) -> UInt64[np.ndarray, "b"]:
    """Hash eight of each cell's 64 highest tokens, chosen by the tokens themselves (min-wise hashing).

    The hash does not change when a cell is cut at another length, nor with the order of these genes, and it survives
    some missing genes: of the same cells published without the genes that few cells express, half keep theirs.

    Parameters
    ----------
    tokens
        Tokens of ``b`` cells.
    """
    width = min(_HIGHEST_TOKENS, tokens.ids.shape[1])
    real = np.arange(width)[None, :] < tokens.lengths[:, None]
    mixed = np.where(real, _mix(tokens.ids[:, :width].astype(np.uint64)), np.uint64(0xFFFFFFFFFFFFFFFF))
    chosen = np.sort(mixed, axis=1)[:, :_CHOSEN].astype("<u8")
    return np.fromiter((_digest(row.tobytes()) for row in chosen), np.uint64, len(chosen))


def _mix(x: UInt64[np.ndarray, "*s"]) -> UInt64[np.ndarray, "*s"]:
    """Scatter numbers over 64 bits, one to one (the finaliser of SplitMix64, Steele et al., OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
