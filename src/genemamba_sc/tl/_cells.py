"""Read cells as the tokens of a model, and pass tokens through it."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from anndata import AnnData
from jaxtyping import Float32, Int
from torch import Tensor

from genemamba_sc._checks import CellIndices, row_numbers
from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource, TokenBatch, Tokens, length_batches, take_tokens, to_batch
from genemamba_sc.model import GeneMambaModel, GeneMambaModule
from genemamba_sc.model._gene_outputs import source_of

# Number of padded tokens of one pass: enough to keep a core busy, few enough for caches.
_TOKEN_BUDGET = 16_384
_MOST_PADDING = 0.03
# Cells whose tokens are in memory at once.
_BLOCK_CELLS = 256
# Cells of shorter lists have no ranking worth a correlation.
_LEAST_GENES = 10

Pass = Callable[[GeneMambaModule, TokenBatch], Tensor]


def require_model(model: object) -> None:
    """Refuse what is no model; a trained one is asked for by what reads it."""
    if not isinstance(model, GeneMambaModel):
        raise TypeError(f"A GeneMambaModel is needed. Got {type(model).__name__}. Pass the trained model first.")


def open_query(
    model: GeneMambaModel,
    adata: AnnData | None,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: str | None = None,
) -> tuple[AnnData, CellSource]:
    """Return the cells of a query, and their tokens.

    Parameters
    ----------
    model
        A trained model.
    adata
        The cells; ``None`` takes those that the model has.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.

    Raises
    ------
    TypeError
        If the model is no :class:`genemamba_sc.GeneMambaModel`, or the cells are no AnnData.
    RuntimeError
        If the model is not trained.
    ValueError
        If there are no cells, or they cannot be read.
    """
    require_model(model)
    if not isinstance(adata, AnnData | None):
        raise TypeError(f"Cells are an AnnData. Got {type(adata).__name__}. Read it first, or wrap it in an AnnData.")
    cells, source = source_of(model, adata, layer, gene_id_key, scale)
    if not source.n_obs:
        raise ValueError("At least one cell is needed. Got an AnnData with none. Pass cells.")
    return cells, source


def cells_asked(indices: CellIndices | None, n_obs: int) -> Int[np.ndarray, "n"]:
    """Return the row numbers of the cells that are asked for; refuse none."""
    rows = row_numbers(indices, n_obs)
    if not len(rows):
        raise ValueError("At least one cell is needed. Got none. Pass other indices.")
    return rows


def blocks_of(source: CellSource, rows: Int[np.ndarray, "n"]) -> Iterator[tuple[Tokens, slice]]:
    """Yield the tokens of cells block by block, and which of ``rows`` they are."""
    for start in range(0, len(rows), _BLOCK_CELLS):
        part = slice(start, start + _BLOCK_CELLS)
        yield source.tokens(rows[part]), part


def draw_cells(source: CellSource, n: int, rng: np.random.Generator) -> tuple[np.ndarray, Tokens, np.ndarray]:
    """Draw cells of at least ten genes; return their numbers, their tokens, and the other cells in a random order.

    Parameters
    ----------
    source
        Source of the cells.
    n
        Number of cells to draw; fewer where there are not so many.
    rng
        Source of the draws.

    Raises
    ------
    ValueError
        If no cell has ten genes.

    Warns
    -----
    UserWarning
        If cells are left out.
    """
    order = rng.permutation(source.n_obs)
    picked: list[np.ndarray] = []
    seen, short = 0, 0
    while sum(map(len, picked)) < n and seen < len(order):
        part = order[seen : seen + n]
        long = source.tokens(part).lengths >= _LEAST_GENES
        picked.append(part[long][: n - sum(map(len, picked))])
        short, seen = short + int((~long).sum()), seen + len(part)
    rows = np.sort(np.concatenate(picked))
    if not len(rows):
        raise ValueError(
            f"An order of genes needs cells of at least {_LEAST_GENES} genes that the model knows. None of the "
            f"{source.n_obs} cells has as many. Pass cells with more genes."
        )
    if short:
        warn(f"{short} of {seen} cells have fewer than {_LEAST_GENES} genes that the model knows; they were left out.")
    return rows, source.tokens(rows), order[~np.isin(order, rows)]


@torch.inference_mode()
def pass_through(module: GeneMambaModule, tokens: Tokens, function: Pass, width: int) -> Float32[np.ndarray, "n w"]:
    """Compute something of every cell, in batches of cells of similar length.

    Parameters
    ----------
    module
        The module; dropout is off meanwhile.
    tokens
        Tokens of ``n`` cells.
    function
        What to compute of a batch of b cells, (b, w).
    width
        Numbers per cell, w.
    """
    was_training = module.training
    module.eval()
    result = np.empty((len(tokens.lengths), width), dtype=np.float32)
    try:
        for rows in length_batches(tokens.lengths, _TOKEN_BUDGET, None, _MOST_PADDING):
            batch = to_batch(take_tokens(tokens, rows))
            batch = {name: value.to(module.device) for name, value in batch.items()}
            result[rows] = function(module, batch).float().cpu().numpy()
    finally:
        module.train(was_training)
    return result


def embedding_of(module: GeneMambaModule, batch: TokenBatch) -> Tensor:
    """Return the embedding of the encoder of each cell of a batch, (b, d)."""
    return module.inference(batch["token_ids"], batch["token_values"], batch["lengths"])["cell"]
