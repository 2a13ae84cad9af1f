"""Take some of the tokens of each cell."""

import numpy as np
from jaxtyping import Bool

from genemamba_sc._constants import PAD_ID
from genemamba_sc.data.tokens._tokenizer import Tokens


def visible_part(tokens: Tokens, visible: Bool[np.ndarray, "b l"]) -> Tokens:
    """Take the visible tokens of each cell; they keep their order and their values, and close the gaps.

    Parameters
    ----------
    tokens
        Tokens of ``b`` cells.
    visible
        True at the tokens that stay, shape (b, l).
    """
    kept = visible & real_positions(tokens)
    lengths = kept.sum(axis=1).astype(np.int32)
    order = np.argsort(~kept, axis=1, kind="stable")[:, : max(1, int(lengths.max(initial=1)))]
    stays = np.take_along_axis(kept, order, axis=1)
    ids = np.where(stays, np.take_along_axis(tokens.ids, order, axis=1), PAD_ID).astype(np.int32)
    return Tokens(ids, np.take_along_axis(tokens.values, order, axis=1) * stays, lengths)


def first_tokens(tokens: Tokens, n: int) -> Tokens:
    """Take the first ``n`` tokens of each cell, those of the highest rank.

    Parameters
    ----------
    tokens
        Tokens of ``b`` cells.
    n
        Largest number of tokens that a cell keeps, at least 1.
    """
    return Tokens(tokens.ids[:, :n], tokens.values[:, :n], np.minimum(tokens.lengths, n))


def real_positions(tokens: Tokens) -> Bool[np.ndarray, "b l"]:
    """Mark the positions that hold a token, (b, l); the others are pads."""
    return np.arange(tokens.ids.shape[1])[None, :] < tokens.lengths[:, None]
