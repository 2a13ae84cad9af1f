"""Encode the cells of a source: embeddings, scores of cell types, coordinates."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Integer
from torch import Tensor
from torch.nn import functional as F

from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource
from genemamba_sc.data.tokens._batches import TokenBatch
from genemamba_sc.model._blocks import batch_after_batch, blocks_at_once
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model._progress import compilation_named
from genemamba_sc.nn import CellPools, Embedder


@dataclass(frozen=True, eq=False)
class CellReadings:
    """Hold what one pass reads off cells.

    Parameters
    ----------
    latent
        Embeddings, shape (n, d).
    logits
        Scores of the cell types, shape (n, c).
    coordinates
        Coordinates on components of expression, shape (n, k); no columns where none were asked for.
    """

    latent: Float32[np.ndarray, "n d"]
    logits: Float32[np.ndarray, "n c"]
    coordinates: Float32[np.ndarray, "n k"]


def embed(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    *,
    batch_size: int | None = None,
) -> Float32[np.ndarray, "n d"]:
    """Embed the cells ``indices``, in that order.

    Parameters
    ----------
    module
        The trained module.
    source
        Source of the cells.
    indices
        Row numbers, shape (n,), in any order.
    batch_size
        Number of cells per pass; ``None`` packs cells of similar length into a budget of tokens. The result does not
        depend on it.

    Notes
    -----
    More than 4,096 cells draw a progress bar with the cells per second and the time left, unless
    ``scvi.settings.progress_bar_style`` is ``None``. Where torch may use more than one thread, each of them reads,
    tokenises and embeds cells of its own; an encoder that has no compiled way (see :class:`genemamba_sc.nn.Embedder`)
    uses them for its matrix products, while another thread reads and tokenises the next 4,096 cells.
    """
    return _run(module, source, indices, _cells, module.encoder_config.d_model, batch_size)


def cell_type_logits(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    *,
    batch_size: int | None = None,
) -> Float32[np.ndarray, "n c"]:
    """Compute the scores of the cell types, whose softmax are probabilities. Parameters are as in :func:`embed`."""
    return _run(module, source, indices, _logits, module.n_labels, batch_size)


def read_cells(
    module: GeneMambaModule,
    source: CellSource,
    indices: Integer[np.ndarray, "n"],
    *,
    table: Float32[np.ndarray, "v k"] | None = None,
    batch_size: int | None = None,
) -> CellReadings:
    """Compute all that an annotation needs in one pass over the cells.

    Parameters
    ----------
    module, source, indices, batch_size
        As in :func:`embed`.
    table
        Coordinates that a token adds per ``log1p`` of its counts per 10,000, shape (v, k); ``None`` computes none.
    """
    width, n_labels = module.encoder_config.d_model, module.n_labels
    weights = None if table is None else torch.from_numpy(table).to(module.device)

    def everything(module: GeneMambaModule, batch: TokenBatch, pools: CellPools) -> Tensor:
        parts = [pools.cell.float(), _logits(module, batch, pools).float()]
        return torch.cat(parts if weights is None else [*parts, _coordinates(module, batch, weights)], dim=1)

    n_found = 0 if table is None else table.shape[1]
    found = _run(module, source, indices, everything, width + n_labels + n_found, batch_size)
    parts = np.split(found, [width, width + n_labels], axis=1)
    return CellReadings(*(np.ascontiguousarray(part) for part in parts))


def _cells(module: GeneMambaModule, batch: TokenBatch, pools: CellPools) -> Tensor:
    return pools.cell


def _logits(module: GeneMambaModule, batch: TokenBatch, pools: CellPools) -> Tensor:
    return module.generative(pools.context, batch["token_ids"], batch["token_values"])["cell_type_logits"]


def _coordinates(module: GeneMambaModule, batch: TokenBatch, weights: Tensor) -> Tensor:
    assert module.cell_type_head is not None  # only what knows types asks where they lie
    ids = batch["token_ids"]
    levels = torch.log1p(batch["token_values"] * module.cell_type_head.medians[ids])
    return F.embedding_bag(ids, weights, mode="sum", per_sample_weights=levels)


def _run(
    module: GeneMambaModule,
    source: CellSource,
    indices: np.ndarray,
    function: Callable[[GeneMambaModule, TokenBatch, CellPools], Tensor],
    width: int,
    batch_size: int | None,
) -> np.ndarray:
    embedder = Embedder(module.encoder)

    @torch.inference_mode()  # each thread has to enter it
    def answer(batch: TokenBatch) -> np.ndarray:
        pools = embedder(batch["token_ids"], batch["token_values"], batch["lengths"])
        return function(module, batch, pools).float().cpu().numpy()

    result, lengths = np.empty((len(indices), width), dtype=np.float32), np.empty(len(indices), dtype=np.int64)
    ways = blocks_at_once if embedder.is_compiled else batch_after_batch
    with compilation_named(), closing(ways(module, source, indices, answer, batch_size)) as answers:
        for rows, batch_lengths, values in answers:
            result[rows], lengths[rows] = values, batch_lengths
    broken, n_empty = int((~np.isfinite(result).all(axis=1)).sum()), int((lengths == 0).sum())
    if broken:
        raise ValueError(
            f"Every cell must get finite numbers. {broken} of {len(indices)} cells have none: the weights are damaged, "
            "or the training diverged. Load the model again, or train it with a smaller learning rate (lr)."
        )
    if n_empty:
        warn(
            f"{n_empty} of {len(indices)} cells express no gene that the model knows: their embedding is zero, and "
            "their cell type a guess by frequency. Remove them, e.g. with sc.pp.filter_cells(adata, min_counts=1).",
        )
    return result
