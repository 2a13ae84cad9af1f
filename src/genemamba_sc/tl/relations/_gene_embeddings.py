"""Give each gene a vector: the one of the table, or what the encoder makes of it in cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Int64

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._described import Described, listed
from genemamba_sc._warn import warn
from genemamba_sc.data import Scale
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.model._gene_outputs import sum_gene_outputs
from genemamba_sc.tl._cell_groups import cell_groups
from genemamba_sc.tl._cells import open_query, require_model
from genemamba_sc.tl._genes import find_genes, gene_labels, gene_table
from genemamba_sc.tl.relations._without_cells import refuse_cell_arguments


@dataclass(frozen=True, eq=False, repr=False)
class GeneEmbeddings(Described):
    """Hold one vector for each gene, or for each gene and group of cells.

    Parameters
    ----------
    genes
        Names of the genes: symbols, and ids where a gene has no symbol of its own.
    gene_ids
        Their ids in the vocabulary.
    groups
        Names of the groups of cells; ``("static",)`` for the gene table, ``("all",)`` for all cells.
    vectors
        Vectors, shape (n_groups, n_genes, d_model), float32. NaN where no cell of the group has the gene.
    n_cells
        Number of cells that a vector is the mean of, shape (n_groups, n_genes); 0 for the gene table.
    """

    genes: tuple[str, ...]
    gene_ids: tuple[str, ...]
    groups: tuple[str, ...]
    vectors: Float32[np.ndarray, "g r d"]
    n_cells: Int64[np.ndarray, "g r"]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per group and gene, with the columns ``gene_id``, ``n_cells``, ``0`` to ``d_model - 1``."""
        n_groups, n_genes, width = self.vectors.shape
        index = pd.MultiIndex.from_product([self.groups, self.genes], names=["group", "gene"])
        frame = pd.DataFrame(self.vectors.reshape(-1, width), index=index, columns=[str(i) for i in range(width)])
        frame.insert(0, "gene_id", np.tile(np.array(self.gene_ids, dtype=object), n_groups))
        frame.insert(1, "n_cells", self.n_cells.reshape(-1))
        return frame

    def _about(self) -> dict[str, str]:
        missing = int(np.isnan(self.vectors[..., 0]).sum())
        return {
            "genes": listed(self.genes),
            "groups": listed(self.groups),
            "vectors": f"width {self.vectors.shape[2]}; {missing:,} of {self.vectors[..., 0].size:,} are missing",
        }


def gene_embeddings(
    model: GeneMambaModel,
    adata: AnnData | None = None,
    *,
    genes: str | Sequence[str] | None = None,
    groupby: str | None = None,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> GeneEmbeddings:
    """Return a vector for each gene: static without cells, contextual with cells.

    The static vector is the gene's row in the table of the model. The contextual one is what the encoder puts out at
    the gene, averaged over the cells in which its layers read the gene.

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells; ``None`` takes the gene table and reads no cell. Cells are read in blocks, and memory does not grow with
        their number.
    genes
        Symbols, ids or aliases; ``None`` takes all genes of the vocabulary. The result takes
        ``n_groups * n_genes * d_model`` numbers, so name genes where there are many groups.
    groupby
        Column of ``adata.obs``: one mean per group. ``None`` makes one mean of all cells.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.

    Returns
    -------
    Vectors, names and numbers of cells.

    Raises
    ------
    RuntimeError
        If the model is not trained.
    ValueError
        If a gene is unknown (similar names are offered), there are no cells or no such column, or the cells cannot be
        read.

    Warns
    -----
    UserWarning
        If a named gene is in no cell, or a group has one cell only.

    Notes
    -----
    The layers read the ``context_len`` highest-ranked genes of each cell. In cells where a gene ranks lower it has no
    output, so ``n_cells`` is the number of cells in which it ranks high, not of those that express it.

    Examples
    --------
    >>> found = gm.tl.gene_embeddings(model, query, genes=["CD3E", "MS4A1"], groupby="cell_type")
    >>> len(found.to_frame())  # two genes in three types
    6
    """
    require_model(model)
    rows = np.arange(model.vocabulary.n_genes) if genes is None else find_genes(model, genes)
    if adata is None:
        refuse_cell_arguments(groupby=groupby, layer=layer, gene_id_key=gene_id_key, scale=scale)
        return _static(model, rows)
    cells, source = open_query(model, adata, layer, gene_id_key, scale)
    groups, group_of_cell = cell_groups(cells, groupby)
    row_of_token = np.full(model.vocabulary.size, -1)
    row_of_token[rows + FIRST_GENE_ID] = np.arange(len(rows))
    found = sum_gene_outputs(model.module, source, group_of_cell, row_of_token)
    means = found.sums / np.where(found.n_cells, found.n_cells, np.nan)[:, :, None]
    result = _named(model, rows, groups, means.astype(np.float32), found.n_cells)
    absent = np.flatnonzero(found.n_cells.sum(axis=0) == 0)
    if genes is not None and len(absent):
        warn(
            f"A contextual vector needs cells in which the layers read the gene. {len(absent)} of {len(rows)} genes "
            f"have none ({', '.join(result.genes[row] for row in absent[:5])}): their vectors are NaN. "
            "Take the static vectors (adata=None), or other cells."
        )
    return result


def _static(model: GeneMambaModel, rows: Int64[np.ndarray, "r"]) -> GeneEmbeddings:
    table = gene_table(model)[rows]
    return _named(model, rows, ["static"], table[None], np.zeros((1, len(rows)), dtype=np.int64))


def _named(
    model: GeneMambaModel, rows: np.ndarray, groups: list[str], vectors: np.ndarray, n_cells: np.ndarray
) -> GeneEmbeddings:
    labels, ids = gene_labels(model.vocabulary), model.vocabulary.gene_ids
    return GeneEmbeddings(
        tuple(labels[row] for row in rows), tuple(ids[row] for row in rows), tuple(groups), vectors, n_cells
    )
