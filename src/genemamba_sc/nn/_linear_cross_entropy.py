"""Compute cross-entropy over the whole vocabulary without ever holding all scores."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

# How many scores are held at a time: 16 MB of float32; 256 MB on accelerators, whose products want more rows.
_BLOCK_NUMBERS = 2**22
_ACCELERATOR_BLOCK_NUMBERS = 2**26


class VocabularyLoss(NamedTuple):
    """Mean cross-entropy of ``m`` targets, and the best-scored token of each, (m,)."""

    loss: Float[Tensor, ""]
    predicted: Int[Tensor, "m"]


def linear_cross_entropy(
    query: Float[Tensor, "m d"],
    table: Float[Tensor, "v d"],
    bias: Float[Tensor, "v"],
    targets: Int[Tensor, "m"],
) -> VocabularyLoss:
    """Average ``cross_entropy(query @ table.T + bias, targets)``, computed in blocks of rows.

    The value and the gradient are those of the full softmax. The gradient of a block is computed while its scores still
    exist, so neither the scores nor their gradient, (m, v) numbers each, are kept for the backward pass. Only three
    gradients of the size of the inputs are kept. The cost is the three matrix products of the plain form. Under
    autocast the products run in its type and the softmax in float32. The function can be differentiated once.

    Parameters
    ----------
    query
        Shape (m, d).
    table, bias
        Row and bias of each token, shapes (v, d) and (v,).
    targets
        Token ids, shape (m,).

    Returns
    -------
    The mean over the targets, and the predictions. Without targets the mean is 0 with gradients of 0.
    """
    if len(targets) == 0:
        return VocabularyLoss(query.sum() * 0.0 + table.sum() * 0.0 + bias.sum() * 0.0, targets)
    # Gradients are switched off inside a Function, so whether they are needed has to be asked here.
    wanted = torch.is_grad_enabled() and (query.requires_grad or table.requires_grad or bias.requires_grad)
    loss, predicted = _LinearCrossEntropy.apply(query, table, bias, targets, wanted)
    return VocabularyLoss(loss, predicted)


class _LinearCrossEntropy(torch.autograd.Function):
    """Compute loss and gradients in one walk over blocks of rows."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, table: Tensor, bias: Tensor, targets: Tensor, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        work = _matmul_dtype(query)
        softmax = torch.promote_types(query.dtype, torch.float32)
        q, e = query.to(work), table.to(work)
        needs = [wanted and need for need in ctx.needs_input_grad[:3]]
        grads = [torch.zeros_like(x, dtype=softmax) if need else None for x, need in zip((query, table, bias), needs)]
        total, predicted = query.new_zeros((), dtype=softmax), torch.empty_like(targets)
        block = _BLOCK_NUMBERS if query.device.type == "cpu" else _ACCELERATOR_BLOCK_NUMBERS
        n_rows = max(1, block // len(table))
        with torch.autocast(query.device.type, enabled=False):
            for rows in (slice(start, start + n_rows) for start in range(0, len(targets), n_rows)):
                log_share = F.linear(q[rows], e).to(softmax).add_(bias).log_softmax(dim=1)
                predicted[rows] = log_share.argmax(dim=1)
                own = targets[rows, None]
                total -= log_share.gather(1, own).sum()
                if any(needs):
                    # The gradient of the scores is their softmax, less 1 at the target.
                    of_scores = log_share.exp_().scatter_add_(1, own, -torch.ones_like(own, dtype=softmax))
                    _add_gradients(grads, of_scores, q[rows], e, rows)
        ctx.save_for_backward(*(None if g is None else g / len(targets) for g in grads))
        ctx.dtypes = query.dtype, table.dtype, bias.dtype
        ctx.mark_non_differentiable(predicted)
        return total / len(targets), predicted

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if g is None else (g * grads[0]).to(t) for g, t in zip(ctx.saved_tensors, ctx.dtypes))
        return (*scaled, None, None)


def _add_gradients(grads: list[Tensor | None], of_scores: Tensor, q: Tensor, e: Tensor, rows: slice) -> None:
    """Add the contribution of one block of rows to the gradients of query, table and bias."""
    of_query, of_table, of_bias = grads
    if of_bias is not None:
        of_bias += of_scores.sum(dim=0)
    of_scores = of_scores.to(q.dtype)
    if of_query is not None:
        of_query[rows] = (of_scores @ e).to(of_query.dtype)
    if of_table is not None and of_table.dtype == q.dtype:
        of_table.addmm_(of_scores.T, q)
    elif of_table is not None:
        of_table += of_scores.T @ q


def _matmul_dtype(query: Tensor) -> torch.dtype:
    """Return the type of the matrix products: that of autocast where it is on."""
    kind = query.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
