"""Compare each of some genes with each other."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba_sc.data import Scale
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._genes import find_genes, gene_labels, gene_table
from genemamba_sc.tl.relations._relatedness import Cosines
from genemamba_sc.tl.relations._relations import Cells, RelationMethod, relate_genes
from genemamba_sc.tl.relations._without_cells import MIN_CELLS, require_static

# A table of so many genes squared takes 100 MB; a sparse network has no such limit.
_MOST_GENES = 5000


def gene_correlation(
    model: GeneMambaModel,
    genes: str | Sequence[str],
    adata: AnnData | None = None,
    *,
    method: RelationMethod | None = None,
    min_cells: int = MIN_CELLS,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> pd.DataFrame:
    """Compare genes pairwise: the cosine of their vectors, or another score of :func:`gene_network`.

    Parameters
    ----------
    model
        A trained model.
    genes
        Symbols, ids or aliases; at most 5,000.
    adata
        Cells that the genes are compared in; ``None`` takes the gene table (``method="static"``) and reads no cell.
    method
        The score, see :func:`gene_network`. ``None`` takes ``"static"`` without cells, and with cells what
        :func:`gene_network` takes.
    min_cells
        Number of cells that must express each gene; refused without cells.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`; refused without cells.

    Returns
    -------
    Genes × genes, float32, symmetric. Cosines and correlations lie in [-1, 1] and are 1 for a gene with itself, unless
    it has no vector or does not vary: such a gene scores 0 with all. ``"combined"`` is in standard deviations.

    Raises
    ------
    RuntimeError
        If the model is not trained.
    ValueError
        If a gene is unknown (similar names are offered), named twice or in too few cells, there are too many, or a
        method or an argument is about cells and there are none.

    Examples
    --------
    >>> gm.tl.gene_correlation(model, ["CD3E", "CD3D", "MS4A1"]).shape
    (3, 3)
    """
    wanted = find_genes(model, genes)
    if len(wanted) > _MOST_GENES:
        raise ValueError(
            f"A table of all pairs has at most {_MOST_GENES:,} genes. Got {len(wanted):,}. Name fewer, or take "
            "gm.tl.gene_network(model, adata, genes=...), which keeps the strongest pairs only."
        )
    if adata is None:
        require_static(method, min_cells, layer=layer, gene_id_key=gene_id_key, scale=scale)
        names, scores = gene_labels(model.vocabulary), Cosines.of(gene_table(model)[wanted])
        labels, rows = [names[gene] for gene in wanted], np.arange(len(wanted))
        block = scores.block(rows)
    else:
        relations = relate_genes(model, Cells(adata, layer, gene_id_key, scale, min_cells), method, wanted)
        rows = np.searchsorted(relations.genes, wanted)
        labels = [relations.labels[row] for row in rows]
        block = relations.scores.block(rows)[:, rows]
    return pd.DataFrame(block, index=pd.Index(labels, name="gene"), columns=pd.Index(labels, name="gene"))
