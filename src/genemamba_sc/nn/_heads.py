"""What stands on top of the encoder: cell types and hidden genes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc._types import CellEmbedding, CellLogits


class CellTypeHead(nn.Module):
    """Scores of cell types, linear in the cell embedding.

    Parameters
    ----------
    d_model
        Width of the cell embedding.
    n_labels
        Number of cell types.
    dropout
        Dropout on the embedding while training.
    """

    def __init__(self, d_model: int, n_labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(d_model, n_labels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, cell: CellEmbedding) -> CellLogits:
        """Logits, shape (b, c)."""
        return self.linear(self.dropout(cell))


class GeneHead(nn.Module):
    """Scores of all genes at hidden positions, tied to the gene table.

    A hidden gene is predicted from the hidden state at its position (its context in the sequence) and from
    the embedding of the cell, which pools the visible genes only:
    ``logits = (W_h h + W_c c) E^T + bias``.

    Parameters
    ----------
    d_model
        Width of hidden states, cell embedding and gene table.
    vocab_size
        Rows of the gene table.
    """

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.from_hidden = nn.Linear(d_model, d_model, bias=False)
        self.from_cell = nn.Linear(d_model, d_model, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(
        self,
        hidden: Float[Tensor, "m d"],
        cell: Float[Tensor, "m d"],
        table: Float[Tensor, "v d"],
    ) -> Float[Tensor, "m v"]:
        """Logits of ``m`` hidden positions over the vocabulary."""
        query = F.rms_norm(self.from_hidden(hidden) + self.from_cell(cell), (hidden.shape[-1],))
        return F.linear(query, table, self.bias)
