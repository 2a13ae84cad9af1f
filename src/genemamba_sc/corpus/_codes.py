"""What is stored of a token beside its id, and how cells are recognised: half-octave bins and hashes."""

import hashlib

import numpy as np
from jaxtyping import Float32, Int8, Int32, UInt64

from genemamba_sc.data import Tokens

# The bins of an encoder are 16 by default; eight bits hold values from 2^-64 to 2^64.
_LOWEST, _HIGHEST = -127, 127
# No value is known: what a corpus without values says of each token.
NO_VALUE = -128
# The same cell in another file may lack genes: few of the highest ones, chosen alike, are often all there.
_HIGHEST_TOKENS, _CHOSEN = 64, 8


def to_bins(values: Float32[np.ndarray, "*s"]) -> Int8[np.ndarray, "*s"]:
    """Half-octave of each value, ``floor(2 log2(value))``: all that the encoder reads of it.

    Parameters
    ----------
    values
        Any shape; ``NO_VALUE`` stands for values that are not positive.

    Notes
    -----
    :class:`genemamba_sc.nn.BiMambaEncoder` weighs a token by the half-octave of its value
    (``expression="bins"``) and reads nothing else of it, so one byte per token trains the same model as a float.
    """
    known = values > 0
    # In float32, as the encoder computes it: a value on the edge of a bin falls to the same side.
    octaves = np.log2(np.where(known, values, np.float32(1.0)))
    bins = np.clip(np.floor(np.float32(2) * octaves), _LOWEST, _HIGHEST)
    return np.where(known, bins, NO_VALUE).astype(np.int8)


def from_bins(bins: Int8[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Value in the middle of each bin, ``2^((bin + 1/2) / 2)``; 0 where none is known."""
    return _MIDDLES[bins.astype(np.int16) - NO_VALUE]


_MIDDLES = np.exp2((np.arange(NO_VALUE, _HIGHEST + 1) + 0.5) / 2).astype(np.float32)
_MIDDLES[0] = 0.0


def token_hashes(tokens: Tokens) -> UInt64[np.ndarray, "b"]:
    """64-bit BLAKE2b of each cell's token ids, as little-endian 32-bit numbers in their order.

    Parameters
    ----------
    tokens
        Tokens of ``b`` cells.

    Returns
    -------
    Shape ``(b,)``. The chance that any two of 30 million different cells share a hash is about 1 in 40,000.
    """
    cells = zip(tokens.ids.astype("<i4"), tokens.lengths)
    return np.fromiter((_digest(ids[:n].tobytes()) for ids, n in cells), np.uint64, len(tokens.lengths))


def near_hashes(tokens: Tokens) -> UInt64[np.ndarray, "b"]:
    """Hash of eight of each cell's 64 highest tokens, chosen by the tokens themselves (min-wise hashing).

    It does not change when a cell is cut at another length, nor with the order of these genes, and survives some
    missing genes: of the same cells published with two thirds of the genes, half keep theirs.

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


def common_rank_tokens(ids: Int32[np.ndarray, "b l"], lengths: Int32[np.ndarray, "b"]) -> Int32[np.ndarray, "l"]:
    """Most frequent token at each rank over cells, the smallest id among equals.

    Parameters
    ----------
    ids, lengths
        Tokens of a sample of cells.
    """
    n_cells, width = ids.shape
    real = np.arange(width)[None, :] < lengths[:, None]
    best = np.zeros(width, dtype=np.int32)
    for rank in range(width):
        seen = ids[real[:, rank], rank]
        best[rank] = np.bincount(seen).argmax() if len(seen) else 0
    return best
