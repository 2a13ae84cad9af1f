"""Sum what the encoder puts out at each gene over cells; memory does not grow with the cells."""

from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from anndata import AnnData
from jaxtyping import Float64, Int64, Integer
from torch import Tensor

from genemamba_sc.data import CellSource
from genemamba_sc.model._blocks import batches
from genemamba_sc.model._module import GeneMambaModule
from genemamba_sc.model._queries import QueryMixin


class GeneSums(NamedTuple):
    """Hold sums of the encoder's output over cells, and of how many cells each is.

    ``sums`` (g, r, d) and ``n_cells`` (g, r) are of ``g`` groups of cells and ``r`` genes.
    """

    sums: Float64[np.ndarray, "g r d"]
    n_cells: Int64[np.ndarray, "g r"]


def source_of(
    model: QueryMixin, adata: AnnData | None, layer: str | None, gene_id_key: str | None, scale: str | None
) -> tuple[AnnData, CellSource]:
    """Return the cells that a query is about, and their tokens; arguments and errors are those of the model's queries.

    Parameters
    ----------
    model
        A trained model.
    adata
        The cells; ``None`` takes the registered ones.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.
    """
    cells = model._query(adata)
    return cells, model._source(cells, layer, gene_id_key, scale)


@torch.inference_mode()
def sum_gene_outputs(
    module: GeneMambaModule,
    source: CellSource,
    group_of_cell: Integer[np.ndarray, "n_obs"],
    row_of_token: Integer[np.ndarray, "v"],
) -> GeneSums:
    """Sum the encoder's output at each gene over the cells in which the layers read that gene.

    Parameters
    ----------
    module
        The trained module.
    source
        Source of the cells.
    group_of_cell
        Group of each cell, shape (n_obs,), counted from 0.
    row_of_token
        Row of each token in the result, shape (v,); -1 for tokens that are not asked for.

    Returns
    -------
    The sums, in double precision. The layers read the ``context_len`` highest-ranked genes of a cell.
    """
    n_groups, n_rows = int(group_of_cell.max()) + 1, int(row_of_token.max()) + 1
    sums = torch.zeros(n_groups * n_rows, module.encoder_config.d_model, dtype=torch.float64)
    counts = torch.zeros(n_groups * n_rows, dtype=torch.int64)
    rows, groups = torch.from_numpy(row_of_token.astype(np.int64)), torch.from_numpy(group_of_cell.astype(np.int64))
    with closing(batches(module, source, np.arange(len(group_of_cell)))) as read:
        for cells, batch in read:
            output = module.encoder(batch["token_ids"], batch["token_values"], batch["lengths"])
            ids = batch["token_ids"].gather(1, output.positions)
            place = _places(rows[ids.cpu()], groups[torch.from_numpy(cells)], n_rows)
            place[~output.mask.cpu()] = -1
            asked = place >= 0
            sums.index_add_(0, place[asked], output.hidden.cpu()[asked].double())
            counts += torch.bincount(place[asked], minlength=len(counts))
    shape = (n_groups, n_rows)
    return GeneSums(sums.numpy().reshape(*shape, -1), counts.numpy().reshape(shape))


def _places(rows: Tensor, groups: Tensor, n_rows: int) -> Tensor:
    """Return the row of the sums that each token of each cell adds to, (b, k); -1 for tokens that are not asked for."""
    return torch.where(rows >= 0, rows + groups[:, None] * n_rows, -1)
