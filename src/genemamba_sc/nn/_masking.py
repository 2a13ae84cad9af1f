"""Masked gene modelling: which tokens are hidden, and what stands in their place."""

from dataclasses import dataclass

import torch

from genemamba_sc._types import Lengths, Mask, TokenIds


@dataclass(frozen=True)
class MaskedTokens:
    """Tokens with some genes hidden.

    Parameters
    ----------
    ids
        Token ids with [MASK] at the hidden positions, shape (b, l).
    hidden
        True where the gene is hidden and has to be predicted, shape (b, l).
    """

    ids: TokenIds
    hidden: Mask


def mask_tokens(ids: TokenIds, lengths: Lengths, rate: float, mask_id: int, first: int | None = None) -> MaskedTokens:
    """Hide each gene with probability ``rate``.

    A hidden gene is always replaced by [MASK], never kept and never swapped for another one (BERT's
    80/10/10): a kept gene would be solved by copying, and the encoder never sees [MASK] as a token of
    its own, since hidden positions are left out of the pool. What stays visible of a hidden gene is its
    position and its expression value, not its identity.

    Parameters
    ----------
    ids
        Token ids, shape (b, l).
    lengths
        Genes per cell, shape (b,).
    rate
        Probability to hide a gene, in [0, 1).
    mask_id
        Token id of [MASK].
    first
        Hide genes among the first so many only; ``None`` for all.
    """
    if rate == 0:
        # Embedding cells leaves the stream of random numbers as it is.
        return MaskedTokens(ids=ids, hidden=torch.zeros_like(ids, dtype=torch.bool))
    candidates = lengths if first is None else lengths.clamp(max=first)
    real = torch.arange(ids.shape[1], device=ids.device)[None, :] < candidates[:, None]
    hidden = real & (torch.rand(ids.shape, device=ids.device) < rate)
    return MaskedTokens(ids=ids.masked_fill(hidden, mask_id), hidden=hidden)
