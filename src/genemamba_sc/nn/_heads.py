"""Provide the heads on top of the encoder: cell types and hidden genes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._types import CellEmbedding, CellLogits, TokenIds, TokenValues


class CellTypeHead(nn.Module):
    """Score cell types by marker genes and gene programs, plus what the encoder adds.

    ``logits = sum_i log1p(value_i median_i) M[token_i] + sum_i share_i P[token_i] + m  +  W context + b``, with
    ``share_i = log1p(value_i) / sum_j log1p(value_j)``. Ranking divides values by the median of their gene; marker
    genes are read as counts per 10,000. The programs ``P`` are of low rank: a gene table times a few weights per type.
    Convex solvers fit ``M``, ``P`` and ``m`` before the encoder is trained, and these then stay fixed; ``W`` starts at
    zero.

    Parameters
    ----------
    d_model
        Width of the context.
    n_labels
        Number of cell types, c.
    vocab_size
        Number of tokens.
    """

    markers: Tensor
    programs: Tensor
    marker_bias: Tensor
    medians: Tensor

    def __init__(self, d_model: int, n_labels: int, vocab_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, n_labels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        # These are fitted, not learned: buffers are saved with the weights and the optimiser leaves them alone.
        self.register_buffer("markers", torch.zeros(vocab_size, n_labels))
        self.register_buffer("programs", torch.zeros(vocab_size, n_labels))
        self.register_buffer("marker_bias", torch.zeros(n_labels))
        self.register_buffer("medians", torch.ones(vocab_size))

    @property
    def is_fitted(self) -> bool:
        """Whether types were fitted. A new head knows no medians and gives every type the same score."""
        return self.tells_types or bool((self.medians != 1).any())

    @property
    def tells_types(self) -> bool:
        """Whether the types differ in score. Types that expression does not tell apart are fitted but do not differ."""
        fitted = (self.markers, self.programs, self.marker_bias, self.linear.weight, self.linear.bias)
        return any(bool(tensor.any()) for tensor in fitted)

    def score_genes(self, ids: TokenIds, values: TokenValues) -> CellLogits:
        """Score all tokens of a cell by markers and programs, (b, c); pads have the value 0 and add nothing."""
        levels = torch.log1p(values)
        shares = levels / levels.sum(dim=1, keepdim=True).clamp(min=torch.finfo(levels.dtype).tiny)
        by_gene = F.embedding_bag(
            ids, self.markers, mode="sum", per_sample_weights=torch.log1p(values * self.medians[ids])
        )
        by_pool = F.embedding_bag(ids, self.programs, mode="sum", per_sample_weights=shares)
        return by_gene + by_pool + self.marker_bias

    def forward(self, context: CellEmbedding, gene_scores: CellLogits) -> CellLogits:
        """Add the gene scores (b, c) to what a linear layer reads from the pool of the read tokens, (b, d)."""
        return gene_scores + self.linear(context)


class GeneHead(nn.Module):
    """Score all genes at hidden positions, tied to the gene table.

    The head predicts a hidden gene from the hidden state at its position and from the pool of the visible genes that
    the layers read:
    ``logits = scale · rms_norm(W_h h + W_c c) E^T + bias``.

    Parameters
    ----------
    d_model
        Width of hidden states, context and gene table.
    vocab_size
        Rows of the gene table.
    """

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.from_hidden = nn.Linear(d_model, d_model, bias=False)
        self.from_context = nn.Linear(d_model, d_model, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(
        self,
        hidden: Float[Tensor, "m d"],
        context: Float[Tensor, "m d"],
        table: Float[Tensor, "v d"],
    ) -> Float[Tensor, "m v"]:
        """Return the logits of ``m`` hidden positions over the vocabulary."""
        return F.linear(self.query(hidden, context), table, self.bias)

    def query(self, hidden: Float[Tensor, "m d"], context: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        """Compute the vectors that are compared with the rows of the gene table, (m, d)."""
        return self.scale * F.rms_norm(self.from_hidden(hidden) + self.from_context(context), (hidden.shape[-1],))


def gene_log_frequency(counts: Float[Tensor, "v"]) -> Float[Tensor, "v"]:
    """Compute log frequencies from token counts, with one pseudo-count per gene; specials get the lowest value."""
    smoothed = counts.double() + 1.0
    smoothed[:FIRST_GENE_ID] = 1.0
    return (smoothed / smoothed.sum()).log().float()
