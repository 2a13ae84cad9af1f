"""Compute contrastive losses: between genes that share pathways, and between two parts of one cell."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc._constants import PAD_ID
from genemamba_sc._pathway_index import PathwayIndex
from genemamba_sc._types import CellEmbedding, Lengths, TokenIds, TokenValues
from genemamba_sc.nn._draws import Draws
from genemamba_sc.nn._lengths import real_tokens

# A shorter vector than this has no direction worth a gradient.
_EPS = 1e-6
# Range of the share of a cell's genes that a view takes; two views of at most a half each never overlap.
_LEAST_SHARE, _MOST_SHARE = 0.2, 0.5


class GeneContrast(NamedTuple):
    """The loss, and by how much the mean cosine of positive pairs exceeds that of negative ones (NaN without any)."""

    loss: Float[Tensor, ""]
    margin: Float[Tensor, ""]


def pathway_contrast(
    hidden: Float[Tensor, "k d"], token_ids: Int[Tensor, "k"], pathways: PathwayIndex, temperature: float = 0.1
) -> GeneContrast:
    """Compute InfoNCE between occurrences of genes: those that share a pathway against those that do not.

    For an anchor i with positives P(i) and negatives N(i), and s the cosine of two hidden states over the temperature,

    ``L_i = -1/|P(i)| sum_{p in P(i)} ( s_ip - log sum_{a in P(i) and N(i)} exp s_ia )``,

    the mean over the anchors with at least one of each (van den Oord et al., arXiv 1807.03748; several positives as in
    Khosla et al., arXiv 2004.11362). Positives are *other* genes that share a pathway with the anchor's gene, negatives
    genes that share none. Occurrences count wherever they are, in the same cell or another; a gene that occurs in
    several cells gives several anchors. Two occurrences of one gene are neither positive nor negative: they start from
    the same row of the gene table, so that a copy of the token would make them equal. Genes of no pathway are unknown,
    not negative, and take no part.

    Parameters
    ----------
    hidden
        Hidden states of the occurrences, shape (k, d).
    token_ids
        Their genes, shape (k,).
    pathways
        Which genes share a pathway.
    temperature
        Temperature that divides the cosines.

    Returns
    -------
    The loss and the margin. Where there is no anchor, the loss is 0 with a gradient of 0.
    """
    known = pathways.known(token_ids)
    hidden, token_ids = hidden[known], token_ids[known]
    share = pathways.share(token_ids, token_ids)
    positive = share & (token_ids[:, None] != token_ids)
    anchors = positive.any(dim=1) & (~share).any(dim=1)
    if not bool(anchors.any()):
        return GeneContrast(hidden.sum() * 0.0, hidden.new_tensor(float("nan")))
    direction = _directions(hidden)
    positive, negative = positive[anchors], ~share[anchors]
    cosine = direction[anchors] @ direction.T
    # Pairs that are neither positive nor negative leave the denominator.
    scores = (cosine / temperature).masked_fill(~(positive | negative), -torch.inf)
    log_share = scores.log_softmax(dim=1).masked_fill(~positive, 0.0)
    loss = -(log_share.sum(dim=1) / positive.sum(dim=1)).mean()
    cosine = cosine.detach()
    return GeneContrast(loss, cosine[positive].mean() - cosine[negative].mean())


class Views(NamedTuple):
    """Two views of each of ``b`` cells: the first views are rows 0..b-1, the second ones rows b..2b-1."""

    ids: Int[Tensor, "b2 k"]
    values: Float[Tensor, "b2 k"]
    lengths: Int[Tensor, "b2"]


def disjoint_views(ids: TokenIds, values: TokenValues, lengths: Lengths, draws: Draws) -> Views:
    """Draw two random parts of each cell that have no gene in common, each in the old order.

    Each view takes its own share of the genes, drawn between a fifth and a half. If the shares were fixed, the length
    of a view would tell which cell it comes from.

    Parameters
    ----------
    ids, values
        Tokens, shape (b, l).
    lengths
        Genes per cell, shape (b,).
    draws
        Source of random numbers.
    """
    real = real_tokens(ids.shape[1], lengths)
    shares = _LEAST_SHARE + (_MOST_SHARE - _LEAST_SHARE) * draws.uniform((2, len(ids), 1))
    place = draws.uniform(ids.shape)
    keep = torch.cat([real & (place < shares[0]), real & (place >= 1 - shares[1])])
    kept = keep.sum(dim=1)
    order = torch.argsort(~keep, dim=1, stable=True)[:, : max(1, int(kept.max()) if len(kept) else 1)]
    pads = ~real_tokens(order.shape[1], kept)
    return Views(
        ids.repeat(2, 1).gather(1, order).masked_fill(pads, PAD_ID),
        values.repeat(2, 1).gather(1, order).masked_fill(pads, 0.0),
        kept,
    )


class CellContrast(NamedTuple):
    """The loss, and the share of cells whose other view is the nearest of all (NaN where no cell takes part)."""

    loss: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]


def view_contrast(
    first: CellEmbedding, second: CellEmbedding, valid: Bool[Tensor, "b"], temperature: float = 0.1
) -> CellContrast:
    """Compute InfoNCE between two views of each cell; the other cells of the batch are the negatives.

    ``mean_i ( -log softmax_j(s_ij)[i] - log softmax_j(s_ji)[i] ) / 2`` with s the cosine over the temperature.

    Parameters
    ----------
    first, second
        Embeddings of the two views, shape (b, d).
    valid
        Cells that take part, shape (b,): those with both views.
    temperature
        Temperature that divides the cosines.

    Returns
    -------
    The loss, and the accuracy of the retrieval. For fewer than two cells the loss is 0 with a gradient of 0.
    """
    if int(valid.sum()) < 2:
        return CellContrast((first.sum() + second.sum()) * 0.0, first.new_tensor(float("nan")))
    scores = _directions(first[valid]) @ _directions(second[valid]).T / temperature
    own = torch.arange(len(scores), device=scores.device)
    loss = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    return CellContrast(loss, (scores.detach().argmax(dim=1) == own).to(scores.dtype).mean())


def _directions(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Scale vectors to length 1, never in half precision."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1, eps=_EPS)
