"""Pool cells with the compiled kernels, where a single layer reads tokens straight from the token table."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genemamba_sc._types import Lengths, TokenIds, TokenValues
from genemamba_sc.ops._core import MixerWeights
from genemamba_sc.ops._fused import mixer_of


class Pools(NamedTuple):
    """Hold sums over the tokens of ``b`` cells.

    ``context`` (b, d) and ``whole`` (b, d) add the weighted rows of the token table, of the tokens that are read and of
    all; ``read`` (b, d_inner) adds what the mixer gives for the tokens read, both directions, before ``out_proj``.
    """

    context: Float[Tensor, "b d"]
    whole: Float[Tensor, "b d"]
    read: Float[Tensor, "b d_inner"]


@dataclass(frozen=True, eq=False)
class TokenTable:
    """Hold what the tokens of a vocabulary bring into a cell.

    A token of weight w enters the mixer with w times its row of ``projected``; where ``eps`` is given, with
    ``w^2 / sqrt(w^2 mean(row^2) + eps)`` times that, as an RMSNorm and another factor w have it.

    Parameters
    ----------
    rows
        Token table, (v, d).
    projected
        [z | x | B | C | dt] of each row, (v, width).
    bins
        Weight of each half-octave of a value, (n,); a value that is not positive has weight 1.
    lowest
        Half-octave of the first bin.
    edge
        Number that is added to a half-octave before it is rounded down.
    eps
        Number that is added to the mean of squares; ``None`` where no norm precedes the projection.
    """

    rows: Float[Tensor, "v d"]
    projected: Float[Tensor, "v width"]
    bins: Float[Tensor, "n"]
    lowest: int
    edge: float
    eps: float | None


class TokenPooler:
    """Pool cells whose first tokens a mixer reads in both directions, on one thread of a CPU.

    Parameters
    ----------
    table
        The tokens.
    weights
        Weights of the mixer.
    context
        How many tokens of a cell the mixer reads; ``None`` for all.
    """

    def __init__(self, table: TokenTable, weights: MixerWeights, context: int | None) -> None:
        from genemamba_sc.ops._fused_pool import Table

        self._table = Table(
            rows=_array(table.rows),
            projected=_array(table.projected),
            squares=_array(table.rows.square().mean(1)),
            bins=_array(table.bins),
            dt_bias=_array(weights.dt_bias),
            lowest=float(table.lowest),
            edge=float(table.edge),
            normed=table.eps is not None,
            eps=table.eps or 0.0,
        )
        parts = [t.detach().float().contiguous() for t in weights.tensors]
        self._mixer = mixer_of(parts, weights.n_groups, weights.d_state, weights.eps)
        self._context = context

    def __call__(self, ids: TokenIds, values: TokenValues, lengths: Lengths) -> Pools:
        """Pool a batch; what a cell gets does not depend on its neighbours, to the last bit.

        Parameters
        ----------
        ids, values
            Tokens of the cells and their values, (b, l), right-padded.
        lengths
            Tokens of each cell, (b,).

        Raises
        ------
        IndexError
            If a token is not in the table, or a length is beyond the tokens.
        """
        from genemamba_sc.ops._fused_pool import Cells, pool_cells

        _check(ids, lengths, len(self._table.rows))
        (b, l), d = ids.shape, self._table.rows.shape[1]
        octaves = values.clamp(min=torch.finfo(torch.float32).tiny).log2()
        tokens = [t.contiguous().numpy() for t in (ids, values.float(), octaves.float(), lengths)]
        cells = Cells(tokens[0], tokens[1], tokens[2], tokens[3], self._context or l)
        context, whole, read = (np.empty((b, n), dtype=np.float32) for n in (d, d, self._mixer.norm.size))
        pool_cells(cells, self._table, self._mixer, context, whole, read)
        return Pools(*(torch.from_numpy(sums) for sums in (context, whole, read)))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()


def _check(ids: TokenIds, lengths: Lengths, n_tokens: int) -> None:
    """Refuse what the kernels would read beyond their arrays."""
    if not ids.numel():
        return
    least, most, longest = int(ids.min()), int(ids.max()), int(lengths.max())
    if least < 0 or most >= n_tokens or longest > ids.shape[1] or int(lengths.min()) < 0:
        raise IndexError(
            f"Tokens must lie in the table of {n_tokens} rows, and a cell within its {ids.shape[1]} positions. Got "
            f"tokens from {least} to {most} and {longest} tokens in a cell. Tokenise with the vocabulary of the model."
        )
