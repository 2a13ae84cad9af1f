"""Encode a batch of cells: from tokens to hidden states and one embedding per cell, reading in both directions."""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from genemamba_sc._bins import BINS_PER_OCTAVE, EDGE
from genemamba_sc._types import CellEmbedding, Hidden, Lengths, Mask, TokenIds, TokenValues
from genemamba_sc.nn._config import EncoderConfig
from genemamba_sc.nn._lengths import real_tokens
from genemamba_sc.nn._mamba2 import BothWays, Mamba2Mixer

# Which directions the layers read; a direction that is switched off is replaced by the other one.
Reading = Literal["both", "left to right", "right to left", "none"]
_READINGS = get_args(Reading)

_EPS_TOKEN = 1e-5  # of the published final norm
# The mean of many tokens is small: with 1e-5 the norm of a cell would depend on how long the cell is.
_EPS_CELL = 1e-10


class EncoderOutput(NamedTuple):
    """Hold what the encoder computes for a batch of ``b`` cells, of which it reads up to ``k`` tokens each.

    ``cell`` (b, d) is the embedding: the pool of *all* tokens. Tokens that the layers do not read enter it with their
    embedding from the table. It is 0 for a cell without tokens.
    ``context`` (b, d) pools only the tokens that the layers read; it equals the cell's pool where they read all.
    ``hidden`` (b, k, d) is 0 where ``mask`` (b, k) is False; with ``norm="cell"`` it is the residual stream, without a
    norm.
    ``positions`` (b, k) tells where in the input the tokens stood, because token dropout takes some out of the
    sequence.
    """

    cell: CellEmbedding
    context: CellEmbedding
    hidden: Float[Tensor, "b k d"]
    mask: Bool[Tensor, "b k"]
    positions: Int[Tensor, "b k"]


class ExpressionWeight(nn.Module):
    """A learned scalar per half-octave of a token's value; 1 where no value is known (``value <= 0``).

    The bins are centred on the value 1, the non-zero median of a gene. The weights start at
    ``log1p(value) / log1p(1)``, taken in the middle of the bin, and grow with it.

    Parameters
    ----------
    n_bins
        Number of half-octaves; values beyond them fall into the first or last bin.
    exact_edges
        As in :class:`EncoderConfig`; see :mod:`genemamba_sc._bins`.
    """

    def __init__(self, n_bins: int, exact_edges: bool = False) -> None:
        super().__init__()
        self.edge = 0.0 if exact_edges else EDGE
        self.first = -(n_bins // 2)
        middle = torch.exp2((torch.arange(n_bins) + self.first + 0.5) / BINS_PER_OCTAVE)
        self.weight = nn.Parameter(torch.log1p(middle) / torch.log1p(torch.tensor(1.0)))

    def forward(self, values: TokenValues) -> TokenValues:
        """Return the weight of each token, (b, l)."""
        octaves = torch.log2(values.clamp(min=torch.finfo(values.dtype).tiny))
        bins = (torch.floor(BINS_PER_OCTAVE * octaves + self.edge) - self.first).clamp(0, len(self.weight) - 1).long()
        return torch.where(values > 0, self.weight[bins], self.weight.new_ones(()))


class BiMambaLayer(nn.Module):
    """Read a cell in both directions with one Mamba-2 mixer and a residual connection.

    Parameters
    ----------
    config
        Configuration of the encoder.
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

    def forward(
        self, x: Hidden, weight: TokenValues, mask: Mask, combiner: nn.Linear | None, reading: Reading = "both"
    ) -> Hidden:
        """Combine ``x`` + its two readings, (b, l, d) -> (b, l, d); the result is 0 at pads.

        With f and b the mixer's outputs left to right and right to left (GeneMamba, arXiv 2504.16956):
        ``mean`` ((x + f) + (x + b)) / 2, ``sum`` (x + f) + (x + b), ``concat`` W[x + f; x + b] + c, and ``gate``
        s (x + f) + (1 - s)(x + b) with s = sigmoid(W[x + f; x + b] + c).
        """
        # A norm per token cancels the expression weight, which the mixer has to see.
        read = x if self.norm is None else self.norm(x) * weight[..., None]
        out = self.mixer.out_proj
        if combiner is None and reading == "both":
            # out_proj is linear, so for the sum of the directions it runs once, on their sum.
            both = out(self.mixer.sum_of_ways(read, mask))
            return torch.add(x, both, alpha=0.5) if self.combine == "mean" else 2 * x + both
        forwards, backwards = (x + out(way) for way in _as_read(self.mixer.both_ways(read, mask), reading))
        if combiner is None:
            return (forwards + backwards) / (2 if self.combine == "mean" else 1)
        # Under autocast a projection returns half precision; the residual stream keeps its type.
        mixed = combiner(torch.cat([forwards, backwards], dim=-1)).to(x.dtype)
        if self.combine == "gate":
            return torch.lerp(backwards, forwards, torch.sigmoid(mixed))
        return mixed.masked_fill(~mask[..., None], 0)


class BiMambaEncoder(nn.Module):
    """Encode cells with a token table, an expression weight, bidirectional Mamba-2 layers, a pool and a norm.

    Parameters
    ----------
    config
        Shape and choices of the encoder.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = nn.Embedding(config.vocab_size, config.d_model)
        nn.init.normal_(self.embeddings.weight, std=config.d_model**-0.5)
        self.expression = ExpressionWeight(config.n_bins, config.exact_edges) if config.expression == "bins" else None
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
        self,
        ids: TokenIds,
        values: TokenValues | None,
        lengths: Lengths,
        visible: Mask | None = None,
        reading: Reading = "both",
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
            False, (b, l), at tokens that the layers read but the pool leaves out, and that token dropout keeps: the
            masked tokens, which are to be predicted.
        reading
            What the layers read. With ``"left to right"`` or ``"right to left"`` one direction stands for both, so that
            the states keep their size; with ``"none"`` the mixers add nothing.

        Raises
        ------
        ValueError
            If there is no such ``reading``.
        """
        if reading not in _READINGS:
            raise ValueError(f"reading must be one of {list(_READINGS)}. Got {reading!r}. Choose one of them.")
        visible = torch.ones_like(ids, dtype=torch.bool) if visible is None else visible
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        if self.training and self.config.token_dropout:
            positions, lengths = self._draw_tokens(lengths, visible)
            ids, visible = ids.gather(1, positions), visible.gather(1, positions)
            values = None if values is None else values.gather(1, positions)
        mask = real_tokens(ids.shape[1], lengths)
        weight, pooled = self._weigh(values, mask), mask & visible
        k = min(ids.shape[1], self.config.context_len or ids.shape[1])
        start = self.embeddings(ids[:, :k]) * weight[:, :k, None]
        x = start
        for i, layer in enumerate(self.layers):
            combiner = self.combiner if self.combiners is None else self.combiners[i]
            x = layer(x, weight[:, :k], mask[:, :k], combiner, reading)
        if self.config.norm == "token":
            hidden = self.norm_f(x)
            cell = _mean(hidden, pooled)
            return EncoderOutput(cell, cell, hidden, mask, positions)
        # The mean runs over all tokens; those that the layers do not read keep their embedding.
        share = pooled.to(x.dtype) / pooled.sum(1, keepdim=True).clamp(min=1)
        cell = self._bag(ids, weight * share) + ((x - start) * share[:, :k, None]).sum(1)
        context = _mean(x, pooled[:, :k])
        return EncoderOutput(self.norm_f(cell), self.norm_f(context), x, mask[:, :k], positions[:, :k])

    def bag(self, ids: TokenIds, values: TokenValues | None, lengths: Lengths) -> CellEmbedding:
        """Sum the weighted rows of the token table over the tokens; parameters are as in :meth:`forward`."""
        return self._bag(ids, self._weigh(values, real_tokens(ids.shape[1], lengths)))

    def _weigh(self, values: TokenValues | None, mask: Mask) -> TokenValues:
        """Return the weight of each token in the cell, (b, l), 0 at pads."""
        weight = mask.to(self.embeddings.weight.dtype)
        if values is None or self.expression is None:
            return weight
        return weight * self.expression(values)

    def _bag(self, ids: TokenIds, share: TokenValues) -> CellEmbedding:
        """Sum the weighted rows of the token table over all tokens, without a tensor of (b, l, d)."""
        if not ids.shape[1]:  # torch takes no empty bags of this form
            return share.new_zeros(len(ids), self.config.d_model)
        return F.embedding_bag(ids, self.embeddings.weight, mode="sum", per_sample_weights=share)

    def _draw_tokens(self, lengths: Lengths, visible: Mask) -> tuple[Int[Tensor, "b k"], Lengths]:
        """Draw which tokens stay; return their positions, first in each row and in their old order, and their number.

        Tokens that are left out are removed from the sequence, not blanked, so the scan gets shorter.
        """
        valid = real_tokens(visible.shape[1], lengths)
        # Cells differ in how many genes were captured, so the share that is left out varies too.
        rate = 2 * self.config.token_dropout * torch.rand(len(lengths), 1, device=lengths.device)
        drawn = torch.rand(valid.shape, device=lengths.device) >= rate
        keep = valid & (drawn | ~visible)
        kept = keep.sum(1)
        order = torch.argsort(~keep, dim=1, stable=True)
        return order[:, : max(1, max(kept.tolist(), default=0))], kept


def _mean(x: Hidden, pooled: Mask) -> CellEmbedding:
    """Average over the tokens that are pooled; return 0 where there are none."""
    share = pooled.to(x.dtype) / pooled.sum(1, keepdim=True).clamp(min=1)
    # This is a product and a sum, not a matrix product: autocast would round the cell to half precision.
    return (x * share[..., None]).sum(1)


def _as_read(ways: BothWays, reading: Reading) -> BothWays:
    """Replace the directions that are not read, (2, b, l, d_inner), by the one that is."""
    if reading == "none":
        return torch.zeros_like(ways)
    if reading == "both":
        return ways
    return ways[[0, 0]] if reading == "left to right" else ways[[1, 1]]


def _new_combiner(config: EncoderConfig) -> nn.Linear:
    """Build Linear(2d -> d); for ``concat`` it starts as the mean of the directions, so a new stack keeps its input."""
    combiner = nn.Linear(2 * config.d_model, config.d_model)
    if config.combine == "concat":
        with torch.no_grad():
            half = 0.5 * torch.eye(config.d_model)
            combiner.weight.copy_(torch.cat([half, half], dim=1))
            combiner.bias.zero_()
    return combiner
