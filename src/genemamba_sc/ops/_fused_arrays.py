"""Bundle what the compiled mixer works on: the weights, the cells, working memory, and the gradients.

Functions that work on a cell or a chunk take bundles and unpack them outside their loops over tokens. Every array that
is taken from a bundle counts as one more reference to it, and inside such a loop that costs as much as a short row. So
functions of one token take rows, and take only numbers from bundles.
"""

from typing import NamedTuple

import numpy as np


class Mixer(NamedTuple):
    """Hold the weights of a mixer between its projections, in float32, and its sizes."""

    taps: np.ndarray  # (k, [x | B | C]), the current token last
    bias: np.ndarray  # ([x | B | C])
    A: np.ndarray  # (heads)
    D: np.ndarray  # (heads)
    norm: np.ndarray  # (d_inner)
    groups: int
    n: int
    eps: float


class Batch(NamedTuple):
    """Hold cells of which those from ``first`` to ``last`` are read, in one direction."""

    projected: np.ndarray  # (b, l, [z | x | B | C | dt])
    dt: np.ndarray  # (b, l, heads)
    spans: np.ndarray  # (b, 2): the first token and the one behind the last
    first: int
    last: int
    reverse: bool


class Way(NamedTuple):
    """Tell where the tokens of a cell stand, and in which direction they are read."""

    first: int  # the first token, from the left
    last: int  # the one behind the last
    back: int  # 1 left to right, -1 right to left: the token read before t is t - back


class Cell(NamedTuple):
    """Hold one cell of a batch."""

    projected: np.ndarray  # (l, [z | x | B | C | dt])
    dt: np.ndarray  # (l, heads)
    way: Way


class Gradients(NamedTuple):
    """Hold the gradients of a batch, or of one of its cells, and of the weights, to which every cell adds."""

    projected: np.ndarray  # as in the batch or the cell; written, or added to
    dt: np.ndarray  # likewise
    add: bool
    taps: np.ndarray  # as in the mixer; added to
    bias: np.ndarray
    A: np.ndarray  # in float64, as is the next
    D: np.ndarray
    norm: np.ndarray


class Room(NamedTuple):
    """Hold working memory for one chunk; states and rows of a block are one allocation, always laid out alike."""

    state: np.ndarray  # (blocks x n, w), block after block
    a: np.ndarray  # (chunk), of one block at a time, as the next three
    u: np.ndarray  # (chunk, w), as the next two
    y: np.ndarray
    du: np.ndarray
    window: np.ndarray  # (k - 1 + chunk, [x | B | C]): what the convolution reads
    before: np.ndarray  # (chunk, [x | B | C]): what it gives, before the SiLU
    v: np.ndarray  # (chunk, [x | B | C])
    own: np.ndarray  # (chunk, d_inner): the scan's output where it is not kept
    gates: np.ndarray  # (chunk, d_inner): silu(z)
    opened: np.ndarray  # (d_inner)


class Block(NamedTuple):
    """Channels of one head whose states are updated together, over one chunk of q tokens."""

    state: np.ndarray  # (n, w)
    a: np.ndarray  # (q), decays
    u: np.ndarray  # (q, w), inputs
    v: np.ndarray  # (q, [x | B | C])
    at: int  # where its own B and C stand among those of all groups,
    at_b: int  # and in v
    at_c: int


class Space(NamedTuple):
    """Hold working memory for the gradient of one cell, used again by the next: fresh memory costs page faults.

    The rows are those of the longest cell in the order of reading; ``du`` and ``dB`` have the rows of one chunk.
    """

    before: np.ndarray  # (l, [x | B | C]): before the SiLU, later the gradient there
    dy: np.ndarray  # (l, d_inner): gradient of the scan's output
    dC: np.ndarray  # (l, C)
    products: np.ndarray  # (l, heads): y . dy, without D x
    anchors: np.ndarray  # (anchors, blocks x n, w): the states that enter there
    du: np.ndarray  # (chunk, d_inner)
    dB: np.ndarray  # (chunk, B)
    dlog: np.ndarray  # (heads), in float64: gradient of dt A
