"""Embed cells without the hidden states of their tokens: what queries of a trained encoder ask for most."""

from typing import NamedTuple

import torch

from genemamba_sc._types import CellEmbedding, Lengths, TokenIds, TokenValues
from genemamba_sc.nn._encoder import BiMambaEncoder, BiMambaLayer
from genemamba_sc.ops import TokenPooler, TokenTable, choose_backend

# Largest number of elements of the table of projected tokens: 64 MiB. A wider one costs more than it saves.
_MOST_ELEMENTS = 2**24


class CellPools(NamedTuple):
    """Hold the embeddings of ``b`` cells; see :class:`genemamba_sc.nn.EncoderOutput`."""

    cell: CellEmbedding
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
        both = _only_layer(encoder).mixer.out_proj(pools.read)
        change = 0.5 * both if encoder.config.combine == "mean" else pools.context + both
        n_read = lengths.clamp(min=1, max=encoder.config.context_len)[:, None]
        cell, context = (pools.whole + change) / lengths.clamp(min=1)[:, None], (pools.context + change) / n_read
        return CellPools(encoder.norm_f(cell), encoder.norm_f(context))


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
