"""Predict, from some genes of a cell, where its other genes lie in a frozen spectral table."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc._types import CellEmbedding, TokenIds, TokenValues

_EPS = 1e-6


class SpectralTeacher(nn.Module):
    """Embedding of a cell by a frozen gene table: the mean of its rows, weighted by ``log1p(value)``.

    Parameters
    ----------
    table
        The spectral vectors, shape (v, d). Rows of zeros mark tokens that tell nothing, such as pads.
    """

    table: Tensor

    def __init__(self, table: Float[Tensor, "v d"]) -> None:
        super().__init__()
        # The table is given, not learned: it moves with the module and is not saved with it.
        self.register_buffer("table", table.detach().clone(), persistent=False)

    @torch.no_grad()
    def forward(self, ids: TokenIds, values: TokenValues) -> CellEmbedding:
        """Return the direction of each cell, (b, l) -> (b, d); its length means nothing."""
        return F.embedding_bag(ids, self.table, mode="sum", per_sample_weights=torch.log1p(values))


def denoise_loss(
    first: CellEmbedding, second: CellEmbedding, targets: Float[Tensor, "b2 d"], valid: Bool[Tensor, "b"]
) -> Float[Tensor, ""]:
    """Average 1 - cosine between the embedding of one view and the target of the other, both ways.

    The views have no gene in common, so their noise is independent: the best prediction is what the genes of a cell
    have in common, and the target cannot be copied (Noise2Noise, Lehtinen et al., arXiv 1803.04189).

    Parameters
    ----------
    first, second
        Embeddings of the two views, shape (b, d).
    targets
        Frozen targets of the first views, followed by those of the second ones, shape (2 b, d).
    valid
        Cells that take part, shape (b,).

    Returns
    -------
    The loss; it is 0 with a gradient of 0 where no cell takes part.
    """
    of_first, of_second = targets.chunk(2)
    cosine = F.cosine_similarity(first, of_second, dim=1, eps=_EPS)
    cosine = (cosine + F.cosine_similarity(second, of_first, dim=1, eps=_EPS)) / 2
    return torch.where(valid, 1 - cosine, 0.0).sum() / valid.sum().clamp(min=1)
