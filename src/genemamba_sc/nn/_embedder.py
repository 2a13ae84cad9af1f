"""Embed cells without the hidden states of their tokens: what queries of a trained encoder ask for most."""

from typing import NamedTuple

import torch

from genemamba_sc._types import CellEmbedding, Lengths, TokenIds, TokenValues
from genemamba_sc.nn._encoder import BiMambaEncoder, BiMambaLayer
from genemamba_sc.ops import Pools, TokenPooler, TokenTable, choose_backend

# Largest number of elements of the table of projected tokens: 64 MiB. A wider one costs more than it saves.
_MOST_ELEMENTS = 2**24


class CellPools(NamedTuple):
    """Hold the embeddings of ``b`` cells; see :class:`genemamba_sc.nn.EncoderOutput`."""

    cell: CellEmbedding
    context: CellEmbedding


class ReadSums(NamedTuple):
    """Hold sums over the tokens of ``b`` cells that the layers read, (b, d) each, beside their ``context``.

    ``hidden`` adds their hidden states, ``bag`` the weighted rows of the token table with which they start.
    """

    hidden: CellEmbedding
    bag: CellEmbedding
    context: CellEmbedding


class Embedder:
    """Compute ``cell`` and ``context`` of an encoder in evaluation, as its weights are now.

    On a CPU the one layer of an encoder with ``combine="mean"`` or ``"sum"`` and a norm per cell takes a shorter way to
    the same numbers. ``in_proj`` acts on each row of the token table once, for a token is such a row times its weight;
    and ``out_proj``, which is linear, acts on the sum over the tokens. Other encoders run as they always do.

    Parameters
    ----------
    encoder
        The encoder.

    Attributes
    ----------
    is_compiled
        Whether the shorter way is taken. It needs no second thread, so that several can embed at once.
    """

    def __init__(self, encoder: BiMambaEncoder) -> None:
        self._encoder = encoder
        self.is_compiled = _is_short(encoder)
        self._pooler = _pooler(encoder) if self.is_compiled else None

    def __call__(self, ids: TokenIds, values: TokenValues, lengths: Lengths) -> CellPools:
        """Embed a batch of cells; parameters are as in :meth:`genemamba_sc.nn.BiMambaEncoder.forward`."""
        encoder = self._encoder
        if self._pooler is None:
            output = encoder(ids, values, lengths)
            return CellPools(output.cell, output.context)
        pools = self._pooler(ids, values, lengths)
        change = self._change(pools)
        cell = (pools.whole + change) / lengths.clamp(min=1)[:, None]
        return CellPools(encoder.norm_f(cell), self._context(pools.context + change, lengths))

    def read(self, ids: TokenIds, values: TokenValues, lengths: Lengths) -> ReadSums:
        """Add up what the layers read and make; parameters are as in :meth:`__call__`."""
        encoder = self._encoder
        reach = min(ids.shape[1], encoder.config.context_len or ids.shape[1])
        ids, values, lengths = ids[:, :reach], values[:, :reach], lengths.clamp(max=reach)
        if self._pooler is None:
            output = encoder(ids, values, lengths)
            return ReadSums(output.hidden.sum(dim=1), encoder.bag(ids, values, lengths), output.context)
        pools = self._pooler(ids, values, lengths)
        hidden = pools.context + self._change(pools)
        return ReadSums(hidden, pools.context, self._context(hidden, lengths))

    def _change(self, pools: Pools) -> CellEmbedding:
        """Return what the layer adds to the sum over the tokens."""
        both: CellEmbedding = _only_layer(self._encoder).mixer.out_proj(pools.read)
        return 0.5 * both if self._encoder.config.combine == "mean" else pools.context + both

    def _context(self, hidden: CellEmbedding, lengths: Lengths) -> CellEmbedding:
        encoder = self._encoder
        found: CellEmbedding = encoder.norm_f(hidden / lengths.clamp(min=1, max=encoder.config.context_len)[:, None])
        return found


def _is_short(encoder: BiMambaEncoder) -> bool:
    config, weight = encoder.config, encoder.embeddings.weight
    if config.n_layer != 1 or config.combine not in ("mean", "sum") or config.norm != "cell":
        return False
    mixer = _only_layer(encoder).mixer
    fits = config.vocab_size * mixer.in_proj.out_features <= _MOST_ELEMENTS
    plain = weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return fits and plain and choose_backend(weight.device, weight.dtype, mixer.backend).name == "compiled"


def _only_layer(encoder: BiMambaEncoder) -> BiMambaLayer:
    (layer,) = encoder.layers
    assert isinstance(layer, BiMambaLayer)
    return layer


@torch.no_grad()
def _pooler(encoder: BiMambaEncoder) -> TokenPooler:
    layer, rows, expression = _only_layer(encoder), encoder.embeddings.weight, encoder.expression
    entering = rows if layer.norm is None else rows * layer.norm.weight
    table = TokenTable(
        rows=rows,
        projected=layer.mixer.in_proj(entering),
        bins=torch.ones(1) if expression is None else expression.weight,
        lowest=0 if expression is None else expression.first,
        edge=0.0 if expression is None else expression.edge,
        eps=None if layer.norm is None else layer.norm.eps,
    )
    return TokenPooler(table, layer.mixer.weights(), encoder.config.context_len)
