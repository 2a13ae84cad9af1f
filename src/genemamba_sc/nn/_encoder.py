"""The bidirectional encoder: tokens of a batch of cells -> hidden states and one embedding per cell."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genemamba_sc._types import CellEmbedding, Hidden, Lengths, Mask, TokenIds, TokenValues
from genemamba_sc.nn._config import EncoderConfig
from genemamba_sc.nn._mamba2 import Mamba2Mixer

_EPS_TOKEN = 1e-5  # of the published final norm
# The mean of many tokens is small: with 1e-5 the norm of a cell would depend on how long the cell is.
_EPS_CELL = 1e-10


class EncoderOutput(NamedTuple):
    """What the encoder makes of a batch.

    ``hidden`` is (b, l, d), 0 where ``mask`` is False; ``cell`` is (b, d), 0 for a cell without tokens; ``mask`` is
    (b, l), True where a token was read, that is, neither a pad nor left out by token dropout. With ``norm="cell"``
    the hidden states are the residual stream, without a norm.
    """

    hidden: Hidden
    cell: CellEmbedding
    mask: Mask


class ExpressionWeight(nn.Module):
    """A learned scalar per half-octave of a token's value; 1 where no value is known (``value <= 0``).

    The bins are centred on the value 1, the non-zero median of a gene. The weights start at
    ``log1p(value) / log1p(1)``, taken in the middle of the bin, and grow with it.

    Parameters
    ----------
    n_bins
        Number of half-octaves; values beyond them fall into the first or last bin.
    """

    def __init__(self, n_bins: int) -> None:
        super().__init__()
        self.first = -(n_bins // 2)
        middle = torch.exp2((torch.arange(n_bins) + self.first + 0.5) / 2)
        self.weight = nn.Parameter(torch.log1p(middle) / torch.log1p(torch.tensor(1.0)))

    def forward(self, values: TokenValues) -> TokenValues:
        """Weight of each token, (b, l)."""
        octaves = torch.log2(values.clamp(min=torch.finfo(values.dtype).tiny))
        bins = (torch.floor(2 * octaves) - self.first).clamp(0, len(self.weight) - 1).long()
        return torch.where(values > 0, self.weight[bins], self.weight.new_ones(()))


class BiMambaLayer(nn.Module):
    """One Mamba-2 mixer that reads both ways, with its residual connection.

    Parameters
    ----------
    config
        Of the encoder.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.combine = config.combine
        self.norm = nn.RMSNorm(config.d_model, eps=_EPS_TOKEN) if config.pre_norm else None
        self.mixer = Mamba2Mixer(
            config.d_model, config.d_state, config.d_conv, config.expand, config.headdim, config.ngroups
        )
        with torch.no_grad():
            self.mixer.out_proj.weight.mul_(config.residual_init)

    def forward(self, x: Hidden, lengths: Lengths, mask: Mask, combiner: nn.Linear | None) -> Hidden:
        """Combine ``x`` + its two readings, (b, l, d) -> (b, l, d); 0 at pads.

        With f and b the mixer's outputs left to right and right to left (REFERENCE: GeneMamba, arXiv 2504.16956):
        ``mean`` ((x + f) + (x + b)) / 2, ``sum`` (x + f) + (x + b), ``concat`` W[x + f; x + b] + c, and ``gate``
        s (x + f) + (1 - s)(x + b) with s = sigmoid(W[x + f; x + b] + c).
        """
        forwards, backwards = self.mixer.both_ways(x if self.norm is None else self.norm(x), lengths, mask)
        out = self.mixer.out_proj
        # out_proj is linear: for the sum of the directions it runs once, on their sum.
        if combiner is None:
            both = out(forwards + backwards)
            return torch.add(x, both, alpha=0.5) if self.combine == "mean" else 2 * x + both
        forwards, backwards = x + out(forwards), x + out(backwards)
        mixed = combiner(torch.cat([forwards, backwards], dim=-1))
        if self.combine == "gate":
            return torch.lerp(backwards, forwards, torch.sigmoid(mixed))
        return mixed.masked_fill(~mask[..., None], 0)


class BiMambaEncoder(nn.Module):
    """Token table, expression weight, bidirectional Mamba-2 layers, pool and norm.

    Parameters
    ----------
    config
        What it is made of.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = nn.Embedding(config.vocab_size, config.d_model)
        nn.init.normal_(self.embeddings.weight, std=config.d_model**-0.5)
        self.expression = ExpressionWeight(config.n_bins) if config.expression == "bins" else None
        self.layers = nn.ModuleList(BiMambaLayer(config) for _ in range(config.n_layer))
        learned = config.combine in ("gate", "concat") and config.n_layer > 0
        self.combiner = _new_combiner(config) if learned and config.shared_combiner else None
        self.combiners = (
            nn.ModuleList(_new_combiner(config) for _ in range(config.n_layer))
            if learned and not config.shared_combiner
            else None
        )
        self.norm_f = nn.RMSNorm(config.d_model, eps=_EPS_TOKEN if config.norm == "token" else _EPS_CELL)

    def forward(
        self, ids: TokenIds, values: TokenValues | None, lengths: Lengths, visible: Mask | None = None
    ) -> EncoderOutput:
        """Encode a batch.

        Parameters
        ----------
        ids
            Tokens, (b, l), right-padded.
        values
            Their values (b, l), or ``None`` if unknown; not read with ``expression="none"``.
        lengths
            Tokens of each cell, (b,); 0 gives a zero embedding.
        visible
            False, (b, l), at tokens that the layers read but the pool leaves out, and that token dropout spares:
            the masked ones, which are to be predicted.
        """
        l = ids.shape[1]
        visible = torch.ones_like(ids, dtype=torch.bool) if visible is None else visible
        order: Int[Tensor, "b k"] | None = None
        if self.training and self.config.token_dropout:
            order, lengths = self._draw_tokens(lengths, visible)
            ids, visible = ids.gather(1, order), visible.gather(1, order)
            values = None if values is None else values.gather(1, order)
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        x = self._embed(ids, values, mask)
        for i, layer in enumerate(self.layers):
            x = layer(x, lengths, mask, self.combiner if self.combiners is None else self.combiners[i])
        hidden, cell = self._pool(x, mask & visible)
        if order is not None:
            hidden, mask = _put_back(hidden, mask, order, l)
        return EncoderOutput(hidden, cell, mask)

    def _embed(self, ids: TokenIds, values: TokenValues | None, mask: Mask) -> Hidden:
        weight = mask.to(self.embeddings.weight.dtype)
        if self.expression is not None and values is not None:
            weight = weight * self.expression(values)
        return self.embeddings(ids) * weight[..., None]

    def _pool(self, x: Hidden, pooled: Mask) -> tuple[Hidden, CellEmbedding]:
        hidden = self.norm_f(x) if self.config.norm == "token" else x
        # A cell without tokens divides 0 by 1.
        share = pooled.to(x.dtype) / pooled.sum(1, keepdim=True).clamp(min=1)
        cell = torch.bmm(share[:, None], hidden)[:, 0]
        return hidden, self.norm_f(cell) if self.config.norm == "cell" else cell

    def _draw_tokens(self, lengths: Lengths, visible: Mask) -> tuple[Int[Tensor, "b k"], Lengths]:
        """Draw which tokens stay: their positions, first in each row and in their old order, and how many.

        Tokens that are left out are taken out of the sequence, not blanked: the scan is shorter by as much.
        """
        valid = torch.arange(visible.shape[1], device=lengths.device) < lengths[:, None]
        drawn = torch.rand(valid.shape, device=lengths.device) >= self.config.token_dropout
        keep = valid & (drawn | ~visible)
        kept = keep.sum(1)
        order = torch.argsort(~keep, dim=1, stable=True)
        return order[:, : max(1, int(kept.max()))], kept


def _put_back(hidden: Float[Tensor, "b k d"], mask: Mask, order: Int[Tensor, "b k"], l: int) -> tuple[Hidden, Mask]:
    """Undo the drawing: hidden states at the positions their tokens had, 0 elsewhere."""
    full = hidden.new_zeros(hidden.shape[0], l, hidden.shape[2])
    full = full.scatter(1, order[..., None].expand_as(hidden), hidden)
    return full, mask.new_zeros(hidden.shape[0], l).scatter(1, order, mask)


def _new_combiner(config: EncoderConfig) -> nn.Linear:
    """Linear(2d -> d); for ``concat`` it starts as the mean of the directions, so that a new stack keeps its input."""
    combiner = nn.Linear(2 * config.d_model, config.d_model)
    if config.combine == "concat":
        with torch.no_grad():
            half = 0.5 * torch.eye(config.d_model)
            combiner.weight.copy_(torch.cat([half, half], dim=1))
            combiner.bias.zero_()
    return combiner
