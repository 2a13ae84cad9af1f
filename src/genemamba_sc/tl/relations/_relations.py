"""Relate the genes that cells express, by a method that has a name."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from anndata import AnnData
from jaxtyping import Float64, Int64

from genemamba_sc._checks import whole_number
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource, Scale
from genemamba_sc.data.genes._medians import spread
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._cells import open_query
from genemamba_sc.tl._genes import gene_labels, gene_table
from genemamba_sc.tl.ranks._hidden_readout import LEAST_CELLS
from genemamba_sc.tl.ranks._rank_steps import add_steps, fit_ranks
from genemamba_sc.tl.relations._directed_cosines import DirectedCosines
from genemamba_sc.tl.relations._expressed_genes import ExpressedGenes, directions_of, measure_expressed, values_of
from genemamba_sc.tl.relations._gene_embeddings import gene_embeddings
from genemamba_sc.tl.relations._relatedness import Combined, Correlations, Cosines, Relatedness, ranks_above_zero

RelationMethod = Literal["combined", "explained", "contextual", "static", "pearson", "spearman"]
NetworkMethod = Literal["effect"] | RelationMethod

# Correlations hold their values in memory: at most so many cells, evenly spaced, are read for them.
_MOST_CELLS = 10_000
_LEAST_CELLS = 3
# Genes are deleted in at most so many cells, evenly spaced.
_MOST_CHANGED = 1000


@dataclass(frozen=True, eq=False)
class Relations:
    """Hold the genes that cells express, and how related they are.

    Parameters
    ----------
    genes
        Numbers of the genes in the vocabulary, shape (n,), ascending.
    labels, gene_ids
        Their names and ids.
    scores
        Scores of the genes with each other.
    method
        Name of the score.
    mean
        Mean of ``log1p`` of the counts per 10,000, shape (n,).
    detected
        Share of the cells that express the gene, shape (n,).
    n_cells
        Number of cells.
    """

    genes: Int64[np.ndarray, "n"]
    labels: tuple[str, ...]
    gene_ids: tuple[str, ...]
    scores: Relatedness
    method: str
    mean: Float64[np.ndarray, "n"]
    detected: Float64[np.ndarray, "n"]
    n_cells: int


@dataclass(frozen=True)
class Cells:
    """Say which cells are read, and where they hold what; ``min_cells`` must express a gene.

    Parameters
    ----------
    adata
        The cells; ``None`` takes those that the model was registered with.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.
    min_cells
        Number of cells that must express a gene, so that it is compared with others.
    """

    adata: AnnData | None
    layer: str | None = None
    gene_id_key: str | None = None
    scale: Scale | None = None
    min_cells: int = 10

    @property
    def where(self) -> dict[str, str | None]:
        """Where these cells hold expression and gene names."""
        return {"layer": self.layer, "gene_id_key": self.gene_id_key, "scale": self.scale}


def relate_genes(
    model: GeneMambaModel,
    cells: Cells,
    method: NetworkMethod | None,
    wanted: Int64[np.ndarray, "k"] | None = None,
    *,
    directed: bool = False,
    seed: int = 0,
) -> Relations:
    """Compute the scores of all genes that enough cells express.

    Parameters
    ----------
    model
        A trained model.
    cells
        The cells.
    method
        The score; ``None`` takes ``"explained"``, the only one whose shuffled genes are found unrelated.
    wanted
        Numbers of genes in the vocabulary that must be among them; ``None`` asks for none.
    directed
        Whether the score may depend on which gene of a pair is named first.
    seed
        Seed of ``"effect"``.

    Raises
    ------
    ValueError
        If the method has another name, there are too few cells or genes, or too few cells express a named gene.
    """
    method = "explained" if method is None else _known(method, directed)
    min_cells = whole_number("min_cells", cells.min_cells, 1)
    adata, source = open_query(model, cells.adata, cells.layer, cells.gene_id_key, cells.scale)
    if adata.n_obs < _LEAST_CELLS:
        raise ValueError(f"Genes are related over at least {_LEAST_CELLS} cells. Got {adata.n_obs}. Pass more cells.")
    found = measure_expressed(source, _coordinates(model, adata, cells, method))
    labels = gene_labels(model.vocabulary)
    if wanted is not None:
        _require_expressed(found, wanted, labels, min_cells)
    genes = np.flatnonzero(found.n_cells >= min_cells)
    if len(genes) < 2:
        raise ValueError(
            f"Two genes at least must be in min_cells={min_cells} of the {adata.n_obs} cells. {len(genes)} are. "
            "Pass more cells, or a smaller min_cells."
        )
    if method == "effect":
        genes, scores = _effects(model, source, genes, seed)
        _require_read(genes, wanted, labels)
    else:
        scores = _scores(model, source, cells, genes, found, method)
    return Relations(
        genes,
        tuple(labels[gene] for gene in genes),
        tuple(model.vocabulary.gene_ids[gene] for gene in genes),
        scores,
        method,
        found.mean[genes],
        found.n_cells[genes] / adata.n_obs,
        adata.n_obs,
    )


def _known(method: str, directed: bool) -> NetworkMethod:
    if method == "effect":
        if directed:
            return "effect"
        raise ValueError(
            "method='effect' has a direction, which a symmetric score has not. Got it for one. Call gm.tl.rank_effects "
            "for the effects of some genes, or gm.tl.gene_network(model, adata, method='effect')."
        )
    known = ("effect", *get_args(RelationMethod)) if directed else get_args(RelationMethod)
    if method not in known:
        raise ValueError(f"method must be one of {known}. Got {method!r}. Choose one of them.")
    return method  # type: ignore[return-value]


def _coordinates(
    model: GeneMambaModel, adata: AnnData, cells: Cells, method: NetworkMethod
) -> Float64[np.ndarray, "n_obs k"]:
    """Return the directions of the cells' embedding, where the method reads them."""
    if method not in ("combined", "explained"):
        return np.zeros((adata.n_obs, 0))
    latent = model.get_latent_representation(adata, key_added=None, integrated=False, **cells.where)  # type: ignore[arg-type]
    directions = directions_of(latent)
    if directions.shape[1] == 0:
        raise ValueError(
            f"method={method!r} needs cells whose embeddings differ. Those of all {adata.n_obs} cells are equal. "
            "Pass other cells, or method='static'."
        )
    if directions.shape[1] >= adata.n_obs - 1:
        warn(
            f"method={method!r} needs more cells than their embedding has directions. {adata.n_obs} cells have "
            f"{directions.shape[1]}, which explain everything: that is Pearson's correlation, noise included. "
            "Pass more cells."
        )
    return directions


def _require_expressed(found: ExpressedGenes, wanted: np.ndarray, labels: list[str], min_cells: int) -> None:
    rare = [gene for gene in wanted if found.n_cells[gene] < min_cells]
    if rare:
        told = ", ".join(f"{labels[gene]} in {found.n_cells[gene]}" for gene in rare[:5])
        raise ValueError(
            f"At least min_cells={min_cells} cells must express a gene that is related to others. {len(rare)} of "
            f"{len(wanted)} named genes are in fewer: {told}. Leave them out, or pass more cells, or a smaller "
            "min_cells."
        )


def _scores(
    model: GeneMambaModel,
    source: CellSource,
    cells: Cells,
    genes: Int64[np.ndarray, "n"],
    found: ExpressedGenes,
    method: RelationMethod,
) -> Relatedness:
    if method in ("pearson", "spearman"):
        values = values_of(source, spread(source.n_obs, _MOST_CELLS), genes)
        return Correlations(ranks_above_zero(values) if method == "spearman" else values)
    if method == "contextual":
        return Cosines.of(gene_embeddings(model, cells.adata, **cells.where).vectors[0, genes])  # type: ignore[arg-type]
    parts = [Cosines.of(table[genes]) for table in _tables(model, found, method)]
    return parts[0] if len(parts) == 1 else Combined(parts)


def _effects(
    model: GeneMambaModel, source: CellSource, genes: Int64[np.ndarray, "n"], seed: int
) -> tuple[Int64[np.ndarray, "m"], Relatedness]:
    """Compare what deleting a gene does to the embedding with what the fall of another gene's rank is read from.

    Genes that are in too few of the cells that serve for either are left out: their scores of 0 would make the null
    too narrow for the others.
    """
    tokens = genes + FIRST_GENE_ID
    readout = fit_ranks(model, source, tokens, seed)
    steps = add_steps(model, source, spread(source.n_obs, _MOST_CHANGED), tokens, readout, "delete", 0)
    known = ~np.isnan(readout.foretold[tokens]) & (steps.counts[:, 0] > 0)
    scores = DirectedCosines.of(-steps.means()[known, 0], readout.slopes[tokens[known]])
    return genes[known], scores


def _require_read(genes: Int64[np.ndarray, "n"], wanted: Int64[np.ndarray, "k"] | None, labels: list[str]) -> None:
    if len(genes) < 2:
        raise ValueError(
            f"method='effect' needs two genes at least that {LEAST_CELLS} of the cells that ranks are read from have. "
            f"{len(genes)} are there. Pass more cells."
        )
    unread = [] if wanted is None else [labels[gene] for gene in np.setdiff1d(wanted, genes)]
    if unread:
        raise ValueError(
            f"method='effect' needs genes that {LEAST_CELLS} of the cells that ranks are read from have, and one of "
            f"those in which genes are deleted. {', '.join(unread[:5])} are not. Leave them out, or pass more cells."
        )


def _tables(model: GeneMambaModel, found: ExpressedGenes, method: RelationMethod) -> list[np.ndarray]:
    """Return the vectors whose cosines a method reads, each of all genes of the vocabulary."""
    explained = [found.loadings] if method in ("explained", "combined") else []
    return explained + ([gene_table(model)] if method in ("static", "combined") else [])
