"""Find the genes that are most like one gene."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32

from genemamba_sc._checks import whole_number
from genemamba_sc._described import Described, listed
from genemamba_sc.data import Scale
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._genes import find_genes, gene_labels, gene_table
from genemamba_sc.tl.relations._relatedness import Cosines
from genemamba_sc.tl.relations._relations import Cells, RelationMethod, relate_genes
from genemamba_sc.tl.relations._without_cells import MIN_CELLS, require_static


@dataclass(frozen=True, eq=False, repr=False)
class NearestGenes(Described):
    """Hold the genes that score highest with one gene, the highest first.

    Parameters
    ----------
    gene
        Name of the gene that was asked about.
    genes, gene_ids
        Names and ids of the others.
    score
        Their scores, shape (n,).
    method
        Name of the score.
    """

    gene: str
    genes: tuple[str, ...]
    gene_ids: tuple[str, ...]
    score: Float32[np.ndarray, "n"]
    method: str

    def to_frame(self) -> pd.DataFrame:
        """Return one row per gene: ``gene``, ``gene_id``, ``score``."""
        return pd.DataFrame({"gene": self.genes, "gene_id": self.gene_ids, "score": self.score})

    def _about(self) -> dict[str, str]:
        scores = (f"{name} {score:.3f}" for name, score in zip(self.genes, self.score))
        return {"gene": self.gene, "method": self.method, "nearest": listed(scores)}


def nearest_genes(
    model: GeneMambaModel,
    gene: str,
    adata: AnnData | None = None,
    *,
    n: int = 10,
    method: RelationMethod | None = None,
    min_cells: int = MIN_CELLS,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> NearestGenes:
    """Return the genes that score highest with a gene.

    Parameters
    ----------
    model
        A trained model.
    gene
        Symbol, id or alias of the gene.
    adata
        Cells that the genes are compared in; ``None`` takes the gene table and reads no cell.
    n
        Number of genes to return; fewer where there are not so many.
    method, min_cells, layer, gene_id_key, scale
        As in :func:`gene_correlation`; with cells, the genes that at least ``min_cells`` of them express are
        searched.

    Returns
    -------
    Names and scores. Genes of equal score come in the order of the vocabulary.

    Raises
    ------
    RuntimeError
        If the model is not trained.
    ValueError
        If the gene is unknown (similar names are offered), has no vector or is in too few cells, or another argument
        is out of range.

    Examples
    --------
    >>> mini = gm.GeneMambaModel.from_pretrained("mini")
    >>> gm.tl.nearest_genes(mini, "CD3E", n=3).to_frame()["gene"].tolist()
    ['CD3D', 'CD3G', 'SIRPG']
    """
    n = whole_number("n", n, 1)
    if not isinstance(gene, str):
        raise TypeError(f"One gene is named by text. Got {gene!r}. Pass a symbol or an Ensembl id, such as 'CD3E'.")
    wanted = find_genes(model, gene)
    if adata is None:
        require_static(method, min_cells, layer=layer, gene_id_key=gene_id_key, scale=scale)
        cosines, row = Cosines.of(gene_table(model)), int(wanted[0])
        _require_vector(cosines, row, gene)
        scores, labels, ids = cosines.block(wanted)[0], gene_labels(model.vocabulary), model.vocabulary.gene_ids
        return _highest(scores, row, n, tuple(labels), ids, "static")
    relations = relate_genes(model, Cells(adata, layer, gene_id_key, scale, min_cells), method, wanted)
    row = int(np.searchsorted(relations.genes, wanted[0]))
    if isinstance(relations.scores, Cosines):
        _require_vector(relations.scores, row, gene)
    scores = relations.scores.block(np.array([row]))[0]
    return _highest(scores, row, n, relations.labels, relations.gene_ids, relations.method)


def _require_vector(cosines: Cosines, row: int, gene: str) -> None:
    if not cosines.unit[row].any():
        raise ValueError(
            f"A gene is compared by its vector. {gene!r} has none: the cells that made it tell it apart from nothing. "
            "Choose another gene, other cells or another method."
        )


def _highest(
    scores: Float32[np.ndarray, "n"], row: int, n: int, labels: tuple[str, ...], ids: tuple[str, ...], method: str
) -> NearestGenes:
    order = np.argsort(-scores, kind="stable")
    best = order[order != row][:n]
    names = tuple(labels[gene] for gene in best)
    return NearestGenes(labels[row], names, tuple(ids[gene] for gene in best), scores[best], method)
