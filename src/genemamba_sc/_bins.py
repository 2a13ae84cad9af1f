"""Define the half-octaves of a token's value once, for corpora, encoder and self-test.

The module lies below ``data`` and ``nn``, which do not know each other, and needs numpy alone.
"""

from typing import Final

import numpy as np
from jaxtyping import Float32, Int8

BINS_PER_OCTAVE: Final = 2
# A value that equals an edge up to rounding counts as the edge: a gene at its median has the value 1, which is an edge,
# and the same cell read from counts and from logarithms must not fall on different sides of it. In bins, this is some
# 3e-6 of the value, where rounding in float32 leaves 1e-7.
EDGE: Final = 1e-5
# An encoder has 16 bins by default; eight bits hold values from 2^-64 to 2^64.
_LOWEST, _HIGHEST = -127, 127
# This bin means that no value is known, as in a corpus without values.
NO_VALUE: Final = -128


def to_bins(values: Float32[np.ndarray, "*s"]) -> Int8[np.ndarray, "*s"]:
    """Return the half-octave of each value, ``floor(2 log2(value))``: all that the encoder reads of it.

    Parameters
    ----------
    values
        Values of any shape; those that are not positive become ``NO_VALUE``.

    Notes
    -----
    :class:`genemamba_sc.nn.BiMambaEncoder` weighs a token by the half-octave of its value
    (``expression="bins"``) and reads nothing else of it, so one byte per token trains the same model as a float.
    """
    known = values > 0
    octaves = np.log2(np.where(known, values, np.float32(1.0)))
    bins = np.clip(np.floor(np.float32(BINS_PER_OCTAVE) * octaves + np.float32(EDGE)), _LOWEST, _HIGHEST)
    return np.where(known, bins, NO_VALUE).astype(np.int8)


def from_bins(bins: Int8[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Return the value in the middle of each bin, ``2^((bin + 1/2) / 2)``; 0 where none is known."""
    return _MIDDLES[bins.astype(np.int16) - NO_VALUE]


_MIDDLES = np.exp2((np.arange(NO_VALUE, _HIGHEST + 1) + 0.5) / BINS_PER_OCTAVE).astype(np.float32)
_MIDDLES[0] = 0.0
