"""Integrate gradients from cells whose genes are all average to the cells themselves.

Sundararajan, Taly & Yan, ICML 2017 (arXiv 1703.01365): the gradient along a straight path, times the way of each input,
adds up to the difference of the ends. Here the path leads each token from the mean gene to its own row of the gene
table, while places, values and lengths stay.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from genemamba_sc.data import Tokens, take_tokens, to_batch
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.tl._targets import Target

# Points of the Gauss-Legendre rule, doubled for the cells where the sum misses the difference.
_FIRST_STEPS, _MOST_STEPS = 32, 512
# Tokens of one pass with gradients.
_TOKEN_BUDGET = 8192


class Integrated(NamedTuple):
    """Scores of the tokens (n, l), what the target reads from average genes (n,), and what the sums miss (n,)."""

    scores: Float[np.ndarray, "n l"]
    baseline: Float[np.ndarray, "n"]
    gap: Float[np.ndarray, "n"]


def integrate(
    module: GeneMambaModule, tokens: Tokens, target: Target, mean_gene: Float[np.ndarray, "d"], tolerance: float
) -> Integrated:
    """Attribute what a target reads from the encoder to the tokens of each cell.

    Parameters
    ----------
    module
        The module.
    tokens
        Tokens of the cells.
    target
        What is read.
    mean_gene
        Row of the gene table that stands for an average gene, shape (d,).
    tolerance
        The number of points grows, up to 512, until the sum over the tokens misses the difference by less than this.
    """
    scores = np.zeros(tokens.ids.shape)
    baseline, gap = np.zeros(len(scores)), np.full(len(scores), np.inf)
    steps = _FIRST_STEPS
    left = np.arange(len(scores))
    was_training = module.training
    module.eval()
    try:
        while len(left) and steps <= _MOST_STEPS:
            for rows in _batches(tokens, left, target.reach(module)):
                part = take_tokens(tokens, rows)
                found = _along_path(module, part, target.take(rows), mean_gene, steps)
                scores[rows[:, None], np.arange(found.scores.shape[1])] = found.scores
                baseline[rows], gap[rows] = found.baseline, found.gap
            left, steps = left[gap[left] >= tolerance], 2 * steps
    finally:
        module.train(was_training)
    return Integrated(scores, baseline, gap)


def _batches(tokens: Tokens, rows: np.ndarray, reach: int | None) -> list[np.ndarray]:
    lengths = tokens.lengths[rows]
    longest = int(lengths.max(initial=1)) if reach is None else min(reach, int(lengths.max(initial=1)))
    ordered = rows[np.argsort(-lengths, kind="stable")]
    n = max(1, _TOKEN_BUDGET // max(1, longest))
    return [ordered[start : start + n] for start in range(0, len(ordered), n)]


def _along_path(
    module: GeneMambaModule, tokens: Tokens, target: Target, mean_gene: np.ndarray, steps: int
) -> Integrated:
    batch, reach = to_batch(tokens), target.reach(module)
    ids, values, lengths = (batch[name].to(module.device) for name in ("token_ids", "token_values", "lengths"))
    ids, values = ids[:, :reach], values[:, :reach]
    lengths = lengths.clamp(max=ids.shape[1])
    table = module.encoder.embeddings.weight.detach()
    start = torch.as_tensor(mean_gene, dtype=table.dtype, device=table.device)
    way = table[ids] - start
    # Every token gets a row of its own, so that the encoder can be asked about rows between two genes.
    places = torch.arange(ids.numel(), device=ids.device).view(ids.shape)

    def read(share: float, track: bool) -> tuple[Tensor, Tensor]:
        rows = (start + share * way).flatten(0, 1).requires_grad_(track)
        with torch.set_grad_enabled(track):
            output = functional_call(module.encoder, {"embeddings.weight": rows}, (places, values, lengths))
            return target.read(module, output), rows

    slope = torch.zeros_like(way, dtype=torch.float64)
    for share, weight in zip(*_rule(steps)):
        value, rows = read(share, True)
        slope += weight * torch.autograd.grad(value.sum(), rows)[0].view(way.shape)
    scores = (slope * way).sum(dim=2) * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])
    first, last = (read(share, False)[0].double() for share in (0.0, 1.0))
    gap = (scores.sum(dim=1) - (last - first)).abs()
    return Integrated(scores.cpu().numpy(), first.cpu().numpy(), gap.cpu().numpy())


def _rule(steps: int) -> tuple[Float[np.ndarray, "s"], Float[np.ndarray, "s"]]:
    """Return points in (0, 1) and their weights; the points lie densest at average genes, where norms turn fastest."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    places = (nodes + 1) / 2
    return places**2, weights * places
