"""Hide genes for masked gene modelling: choose the tokens to hide, and what takes their place."""

from dataclasses import dataclass

import torch

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._types import Lengths, Mask, TokenIds
from genemamba_sc.nn._draws import Draws
from genemamba_sc.nn._lengths import real_tokens


@dataclass(frozen=True)
class MaskedTokens:
    """Hold tokens with some genes hidden.

    Parameters
    ----------
    ids
        Token ids with [MASK] (or its replacement) at the hidden positions, shape (b, l).
    hidden
        True where the gene is hidden and has to be predicted, shape (b, l).
    """

    ids: TokenIds
    hidden: Mask


def mask_tokens(
    ids: TokenIds,
    lengths: Lengths,
    rate: float,
    mask_id: int,
    first: int | None = None,
    *,
    span: int = 1,
    keep: float = 0.0,
    swap: float = 0.0,
    draws: Draws | None = None,
) -> MaskedTokens:
    """Hide each gene with probability ``rate``.

    By default a hidden gene is always replaced by [MASK]; it is never kept or swapped for another one (BERT's
    80/10/10). A kept gene would be solved by copying. The encoder never sees [MASK] as a token of its own, because
    hidden positions are left out of the pool. Of a hidden gene only its position and its expression value stay visible,
    not its identity.

    Parameters
    ----------
    ids
        Token ids, shape (b, l).
    lengths
        Genes per cell, shape (b,).
    rate
        Probability of hiding a gene, in [0, 1).
    mask_id
        Token id of [MASK], the last one; [CLS] comes before it, and the genes before that.
    first
        How many of the first genes may be hidden; ``None`` allows all.
    span
        Number of genes of neighbouring ranks that are hidden together; overlapping spans make longer ones. Each gene is
        hidden with probability ``rate``, whatever the span.
    keep, swap
        Shares of the hidden genes that stay in the input as they are, and that are replaced by a random gene; the
        others become [MASK]. BERT: 0.1 and 0.1.
    draws
        Source of random numbers; ``None`` for the global stream.
    """
    if rate == 0:
        # Embedding cells must not change the stream of random numbers.
        return MaskedTokens(ids=ids, hidden=torch.zeros_like(ids, dtype=torch.bool))
    draws = Draws(ids.device) if draws is None else draws
    candidates = lengths if first is None else lengths.clamp(max=first)
    real = real_tokens(ids.shape[1], candidates)
    hidden = real & _draw_spans(ids.shape, rate, span, draws)
    masked = ids.masked_fill(hidden, mask_id)
    if keep or swap:
        role = draws.uniform(ids.shape)
        swapped = hidden & (role >= keep) & (role < keep + swap)
        masked = torch.where(hidden & (role < keep), ids, masked)
        masked = torch.where(swapped, draws.integers(FIRST_GENE_ID, mask_id - 1, ids.shape), masked)
    return MaskedTokens(ids=masked, hidden=hidden)


def _draw_spans(shape: torch.Size, rate: float, span: int, draws: Draws) -> Mask:
    """Mark positions that lie in a span; spans may start before the first position, so none is hidden less often."""
    if span == 1:
        return draws.uniform(shape) < rate
    # A position is free if none of the `span` starts that reach it was drawn: (1 - p)^span = 1 - rate.
    starts = draws.uniform((shape[0], shape[1] + span - 1)) < 1 - (1 - rate) ** (1 / span)
    return starts.unfold(1, span, 1).any(dim=-1)
