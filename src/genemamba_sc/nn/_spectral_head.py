"""Predict where a hidden gene lies in a frozen spectral table."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-6


class SpectralLoss(NamedTuple):
    """Mean of 1 - cosine, and the mean cosine (NaN without any target)."""

    loss: Float[Tensor, ""]
    cosine: Float[Tensor, ""]


class SpectralHead(nn.Module):
    """Predict the direction of a hidden gene in a spectral table from its position and its context.

    ``prediction = U rms_norm(W_h h + W_c c)``; the target is the gene's row minus the mean row of all genes in use, at
    unit length. If the mean were not subtracted, the same prediction for every gene would do well.

    Parameters
    ----------
    d_model
        Width of hidden states and context.
    table
        The spectral vectors, shape (v, d_spectral), which stay as they are; rows of zeros are no targets.
    """

    targets: Tensor
    known: Tensor

    def __init__(self, d_model: int, table: Float[Tensor, "v d_spectral"]) -> None:
        super().__init__()
        self.from_hidden = nn.Linear(d_model, d_model, bias=False)
        self.from_context = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, table.shape[1])
        known = table.abs().sum(dim=1) > 0
        centred = table - table.sum(dim=0) / known.sum().clamp(min=1)
        # The table is given and not saved; it lies beside the weights where it is needed again.
        self.register_buffer("targets", F.normalize(centred, dim=1, eps=_EPS), persistent=False)
        self.register_buffer("known", known, persistent=False)

    def forward(
        self, hidden: Float[Tensor, "m d"], context: Float[Tensor, "m d"], genes: Int[Tensor, "m"]
    ) -> SpectralLoss:
        """Compute the loss of ``m`` hidden genes: the mean of 1 - cosine over those with a spectral vector.

        Parameters
        ----------
        hidden, context
            Hidden state at each position and pool of its cell, shape (m, d).
        genes
            The hidden genes, shape (m,).
        """
        counted = self.known[genes]
        query = F.rms_norm(self.from_hidden(hidden) + self.from_context(context), (hidden.shape[-1],))
        predicted = self.out(query)[counted]
        if len(predicted) == 0:
            return SpectralLoss(self.out(query).sum() * 0.0, hidden.new_tensor(float("nan")))
        predicted = predicted.to(torch.promote_types(predicted.dtype, torch.float32))
        cosine = (F.normalize(predicted, dim=1, eps=_EPS) * self.targets[genes[counted]]).sum(dim=1)
        return SpectralLoss(1 - cosine.mean(), cosine.detach().mean())
