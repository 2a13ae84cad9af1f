"""What is stored of a token beside its id: the half-octave of its value."""

import numpy as np
from jaxtyping import Float32, Int8, Int32

from genemamba_sc._octaves import half_octaves, middles

# The bins of an encoder are 16 by default; eight bits hold values from 2^-64 to 2^64.
_LOWEST, _HIGHEST = -127, 127
# No value is known: what a corpus without values says of each token.
NO_VALUE = -128


def to_bins(values: Float32[np.ndarray, "*s"]) -> Int8[np.ndarray, "*s"]:
    """Half-octave of each value (:mod:`genemamba_sc._octaves`): all that the encoder reads of it.

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
    bins = np.clip(half_octaves(np.where(known, values, np.float32(1.0))), _LOWEST, _HIGHEST)
    return np.where(known, bins, NO_VALUE).astype(np.int8)


def from_bins(bins: Int8[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Value in the middle of each bin, ``2^((bin + 1/2) / 2)``; 0 where none is known."""
    return _MIDDLES[bins.astype(np.int16) - NO_VALUE]


_MIDDLES = middles(np.arange(NO_VALUE, _HIGHEST + 1, dtype=np.float64))
_MIDDLES[0] = 0.0


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
