"""Decode the cell embedding: which genes were hidden, and in which order they stood."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc._constants import PAD_ID
from genemamba_sc._types import CellEmbedding, Lengths, Mask, TokenIds
from genemamba_sc.nn._lengths import real_tokens

# This stands for minus infinity, whose gradient would not be finite.
_LOWEST = -1e9


class DecodeLoss(NamedTuple):
    """The two losses, and the share of pairs in the right order (NaN without any pair)."""

    which: Float[Tensor, ""]
    order: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]


class CellDecoder(nn.Module):
    """Scores of all genes from the embedding of a cell, tied to the gene table: one for presence, one for rank.

    ``scores = scale · rms_norm(W cell) E^T + bias``, with W, bias and scale of its own for each of the two.

    Parameters
    ----------
    d_model
        Width of the embedding and of the gene table.
    vocab_size
        Rows of the gene table.
    """

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.which = nn.Linear(d_model, d_model, bias=False)
        self.order = nn.Linear(d_model, d_model, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.order_bias = nn.Parameter(torch.zeros(vocab_size))
        self.scale = nn.Parameter(torch.ones(2))

    def forward(
        self, cell: CellEmbedding, table: Float[Tensor, "v d"], ids: TokenIds, lengths: Lengths, hidden: Mask
    ) -> DecodeLoss:
        """Compute the losses of the hidden genes of each cell.

        Parameters
        ----------
        cell
            Embeddings of the visible genes, shape (b, d).
        table
            The gene table, shape (v, d).
        ids
            Genes of each cell in the order of their ranks, hidden ones included, shape (b, l).
        lengths
            Genes per cell, shape (b,).
        hidden
            True at the genes to decode, shape (b, l).
        """
        real = real_tokens(ids.shape[1], lengths)
        which = self._score(self.which(cell), table, self.bias, self.scale[0])
        order = self._score(self.order(cell), table, self.order_bias, self.scale[1]).gather(1, ids)
        return DecodeLoss(
            which_loss(which, ids, real, hidden), order_loss(order, hidden), _order_accuracy(order, hidden)
        )

    @staticmethod
    def _score(query: Tensor, table: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
        scores = F.linear(scale * F.rms_norm(query, (query.shape[-1],)), table, bias)
        return scores.to(torch.promote_types(scores.dtype, torch.float32))


def which_loss(scores: Float[Tensor, "b v"], ids: TokenIds, real: Mask, hidden: Mask) -> Float[Tensor, ""]:
    """Compute the cross-entropy of the hidden genes among all genes that the cell does not show.

    The loss is the mean over the hidden genes of a cell, then over the cells that have any. The visible genes are left
    out of the softmax, because the input already shows that the cell has them.

    Parameters
    ----------
    scores
        Scores of all tokens, shape (b, v).
    ids
        Genes of each cell, shape (b, l).
    real, hidden
        True at genes, and at those to decode, shape (b, l).
    """
    shown = torch.where(real & ~hidden, ids, PAD_ID)
    log_share = scores.scatter(1, shown, -torch.inf).log_softmax(dim=1)
    at_hidden = log_share.gather(1, ids).masked_fill(~hidden, 0.0)
    return -_mean_over_cells(at_hidden.sum(dim=1), hidden.sum(dim=1))


def order_loss(scores: Float[Tensor, "b l"], hidden: Mask) -> Float[Tensor, ""]:
    """Compute the negative log-likelihood of the order of hidden genes (Plackett-Luce; ListMLE, Xia et al., ICML 2008).

    The first hidden gene is drawn among all hidden ones, the second among the rest, and so on. The loss is the mean
    over the draws of a cell (the last one is no choice), then over the cells with at least two hidden genes.

    Parameters
    ----------
    scores
        Scores of the genes of each cell, in the order of their ranks, shape (b, l).
    hidden
        True at the genes to decode, shape (b, l).
    """
    kept = scores.masked_fill(~hidden, _LOWEST)
    remaining = kept.flip(1).logcumsumexp(dim=1).flip(1)
    draws = (remaining - kept).masked_fill(~hidden, 0.0)
    return _mean_over_cells(draws.sum(dim=1), hidden.sum(dim=1) - 1)


def _mean_over_cells(sums: Float[Tensor, "b"], counts: Tensor) -> Float[Tensor, ""]:
    """Average sums / counts over the cells with a positive count; without any, return 0 with a gradient of 0."""
    counted = counts > 0
    per_cell = (sums / counts.clamp(min=1)).masked_fill(~counted, 0.0)
    return per_cell.sum() / counted.sum().clamp(min=1)


@torch.no_grad()
def _order_accuracy(scores: Float[Tensor, "b l"], hidden: Mask) -> Float[Tensor, ""]:
    """Compute the share of pairs of hidden genes, half a list apart, whose scores are in the right order."""
    counts = hidden.sum(dim=1)
    packed = scores.gather(1, torch.argsort(~hidden, dim=1, stable=True))
    half = counts // 2
    upper = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
    lower = (upper + (counts - half)[:, None]).clamp(max=scores.shape[1] - 1)
    pairs = upper < half[:, None]
    right = (packed > packed.gather(1, lower)) & pairs
    return right.sum() / pairs.sum() if bool(pairs.any()) else scores.new_tensor(float("nan"))
