"""Compute the losses, one function each."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc._types import CellLogits, Labels


def classification_loss(
    logits: CellLogits,
    labels: Labels,
    n_labels: int,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Compute cross-entropy over the labelled cells of a batch.

    Parameters
    ----------
    logits
        Scores, shape (b, c).
    labels
        Codes of the labels, shape (b,). Cells whose code is not in ``[0, n_labels)`` have no label and do not count.
    n_labels
        Number of cell types ``c``.
    label_smoothing
        As in :func:`torch.nn.functional.cross_entropy`.

    Returns
    -------
    The mean over the labelled cells; it is 0 (with a gradient of 0) where the batch has none.
    """
    labelled = (labels >= 0) & (labels < n_labels)
    if not labelled.any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits[labelled], labels[labelled], label_smoothing=label_smoothing)


def gene_loss(logits: Float[Tensor, "m v"], targets: Labels) -> Float[Tensor, ""]:
    """Compute cross-entropy of the hidden genes over the whole vocabulary.

    Parameters
    ----------
    logits
        Scores of all tokens at ``m`` hidden positions, shape (m, v).
    targets
        The token ids that were hidden, shape (m,).

    Returns
    -------
    The mean over the hidden positions; it is 0 (with a gradient of 0) where there are none.
    """
    if len(targets) == 0:
        return logits.sum() * 0.0
    return F.cross_entropy(logits, targets)


def sample_positions(hidden: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Draw at most ``limit`` of the hidden positions without bias; return their rows and columns.

    The softmax over the vocabulary dominates the cost of masked gene modelling. A uniform subsample of the hidden
    positions keeps the expectation of the mean loss and only raises its variance.

    Parameters
    ----------
    hidden
        True where a gene is hidden, shape (b, l).
    limit
        Largest number of positions to keep.
    """
    rows, columns = hidden.nonzero(as_tuple=True)
    if len(rows) > limit:
        kept = torch.randperm(len(rows), device=hidden.device)[:limit]
        rows, columns = rows[kept], columns[kept]
    return rows, columns
