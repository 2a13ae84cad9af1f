"""Half-octaves of a token's value, ``floor(2 log2(value))``: one definition, for arrays and for tensors.

An encoder reads no more of a value than this, and a corpus stores no more of it. A value that equals an edge but for
rounding counts as the edge: a gene at its median has the value 1, which is an edge, and the same cell read from counts
and from logarithms must not fall on different sides of it.
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Float32

# In half-octaves: some 3e-6 of the value, where rounding in float32 leaves 1e-7.
EDGE: Final = 1e-5


def half_octaves(values: Float32[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Half-octave of each value, in float32.

    Parameters
    ----------
    values
        Positive numbers of any shape.
    """
    return np.floor(np.float32(2) * np.log2(values) + np.float32(EDGE))


def middles(octaves: Float[np.ndarray, "*s"]) -> Float32[np.ndarray, "*s"]:
    """Value in the middle of each half-octave, ``2^((octave + 1/2) / 2)``."""
    return np.exp2((octaves + 0.5) / 2).astype(np.float32)
