"""Integrate gradients from cells whose genes are all average to the cells themselves.

Sundararajan, Taly & Yan, ICML 2017 (arXiv 1703.01365): the gradient along a straight path, times the way of each input,
adds up to the difference of the ends. Here the path leads each token from the mean gene to its own row of the gene
table, while places, values and lengths stay.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call

from genemamba_sc.data import Tokens, take_tokens, to_batch
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.tl.attribution._targets import Target

# Points of the Gauss-Legendre rule on a part of the path, and how often a part may be halved.
_POINTS, _MOST_HALVINGS = 32, 12
# A part may miss this share of what a cell may.
_SHARE_OF_PART = 1 / 8
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
        Parts of the path are halved, at most twelve times, until the sums over the tokens miss the difference of the
        ends by less than this.
    """
    scores = np.zeros(tokens.ids.shape)
    baseline, gap = np.zeros((2, len(scores)))
    cells, spans = np.arange(len(scores)), np.tile([0.0, 1.0], (len(scores), 1))
    was_training = module.training
    module.eval()
    try:
        for halvings in range(_MOST_HALVINGS + 1):
            parts = []
            for rows in _batches(tokens.lengths[cells], target.reach(module)):
                cell = cells[rows]
                parts.append(
                    (rows, _along_path(module, take_tokens(tokens, cell), target.take(cell), mean_gene, spans[rows]))
                )
            missed = np.zeros(len(cells))
            for rows, found in parts:
                missed[rows] = found.gap
                if halvings == 0:
                    baseline[rows] = found.baseline
            # What a cell misses so far; where that is little, its parts stay as they are: rounding is not halved.
            total = gap + np.bincount(cells, missed, minlength=len(gap))
            again = (missed >= _SHARE_OF_PART * tolerance) & (total[cells] >= tolerance) & (halvings < _MOST_HALVINGS)
            for rows, found in parts:
                done = ~again[rows]
                columns = np.arange(found.scores.shape[1])
                np.add.at(scores, (cells[rows[done], None], columns), found.scores[done])
            np.add.at(gap, cells[~again], missed[~again])
            if not again.any():
                break
            middle = spans[again].mean(axis=1, keepdims=True)
            halves = [np.hstack([spans[again, :1], middle]), np.hstack([middle, spans[again, 1:]])]
            cells, spans = np.tile(cells[again], 2), np.concatenate(halves)
    finally:
        module.train(was_training)
    return Integrated(scores, baseline, gap)


def _batches(lengths: Int[np.ndarray, "n"], reach: int | None) -> list[Int[np.ndarray, "_"]]:
    """Put cells of similar length together, within a budget of tokens."""
    longest = int(lengths.max(initial=1)) if reach is None else min(reach, int(lengths.max(initial=1)))
    order = np.argsort(-lengths, kind="stable")
    n = max(1, _TOKEN_BUDGET // max(1, longest))
    return [order[start : start + n] for start in range(0, len(order), n)]


def _along_path(
    module: GeneMambaModule,
    tokens: Tokens,
    target: Target,
    mean_gene: Float[np.ndarray, "d"],
    spans: Float[np.ndarray, "n 2"],
) -> Integrated:
    """Integrate over a part of the path of each cell; the baseline is what is read at its start."""
    batch, reach = to_batch(tokens), target.reach(module)
    ids, values, lengths = (batch[name].to(module.device) for name in ("token_ids", "token_values", "lengths"))
    ids, values = ids[:, :reach], values[:, :reach]
    lengths = lengths.clamp(max=ids.shape[1])
    table = module.encoder.embeddings.weight.detach()
    start = torch.as_tensor(mean_gene, dtype=table.dtype, device=table.device)
    way = table[ids] - start
    # Every token gets a row of its own, so that the encoder can be asked about rows between two genes.
    places = torch.arange(ids.numel(), device=ids.device).view(ids.shape)

    def read(place: np.ndarray, track: bool) -> tuple[Tensor, Tensor]:
        # Squared, places lie densest at average genes, where norms turn fastest.
        share = torch.as_tensor(place**2, dtype=table.dtype, device=table.device)[:, None, None]
        rows = (start + share * way).flatten(0, 1).requires_grad_(track)
        with torch.set_grad_enabled(track):
            output = functional_call(module.encoder, {"embeddings.weight": rows}, (places, values, lengths))
            return target.read(module, output), rows

    slope = torch.zeros_like(way, dtype=torch.float64)
    left, width = spans[:, 0], spans[:, 1] - spans[:, 0]
    for node, weight in zip(*np.polynomial.legendre.leggauss(_POINTS)):
        place = left + width * (node + 1) / 2
        value, rows = read(place, True)
        factor = torch.as_tensor(weight * width * place, device=table.device)[:, None, None]
        slope += factor * torch.autograd.grad(value.sum(), rows)[0].view(way.shape)
    scores = (slope * way).sum(dim=2) * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])
    first, last = (read(spans[:, end], False)[0].double() for end in (0, 1))
    gap = (scores.sum(dim=1) - (last - first)).abs()
    return Integrated(scores.cpu().numpy(), first.cpu().numpy(), gap.cpu().numpy())
