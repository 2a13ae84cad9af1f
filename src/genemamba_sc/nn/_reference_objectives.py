"""Compute the published objective, to measure what is wrong with it; nothing in this package trains with it."""

import torch
from jaxtyping import Int
from torch import Tensor

from genemamba_sc._types import Hidden, Lengths, TokenIds
from genemamba_sc.nn._heads import GeneHead
from genemamba_sc.nn._lengths import real_tokens
from genemamba_sc.nn._linear_cross_entropy import VocabularyLoss, linear_cross_entropy


def next_token_loss(
    hidden: Hidden,
    head: GeneHead,
    table: Tensor,
    ids: TokenIds,
    lengths: Lengths,
    drawn: Int[Tensor, "k"] | slice = slice(None),
) -> VocabularyLoss:
    """Compute the cross-entropy of ``logits[:, :-1]`` against ``ids[:, 1:]``: name the token after each.

    The loss is sound for hidden states that were read from left to right. A state that was also read from right to left
    has just seen the answer. The published loss counts pads as targets as well; here they do not count, because naming
    them would only flatter it.

    Parameters
    ----------
    hidden
        Hidden states, shape (b, l, d).
    head
        Head that names genes from hidden states; its context is left at 0.
    table
        The gene table, shape (v, d).
    ids
        Tokens, shape (b, l).
    lengths
        Genes per cell, shape (b,).
    drawn
        Which of the targets enter, cell by cell in the order of ranks; by default all do.

    Returns
    -------
    The mean over the targets, and the predictions.
    """
    has_next = real_tokens(ids.shape[1] - 1, lengths - 1)
    states, targets = hidden[:, :-1][has_next][drawn], ids[:, 1:][has_next][drawn]
    return linear_cross_entropy(head.query(states, torch.zeros_like(states)), table, head.bias, targets)
