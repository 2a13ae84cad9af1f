"""Connect the genes that are more related than genes of like expression usually are."""

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Float64, Int64

from genemamba_sc._checks import whole_number
from genemamba_sc._described import Described
from genemamba_sc._warn import warn
from genemamba_sc.data import Scale
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._genes import find_genes
from genemamba_sc.tl.relations._edges import significant_edges
from genemamba_sc.tl.relations._matched_null import matched_null
from genemamba_sc.tl.relations._relations import Cells, NetworkMethod, Relations, relate_genes

# In shuffled cells, correlations of genes in fewer cells than this are found related (benchmarks/genes/null.py).
_LEAST_CORRELATED = 200
# Scores that read the gene table: they find edges in shuffled cells, too.
_OF_OTHER_CELLS = ("combined", "static", "contextual")
# The score whose edges have a direction.
_DIRECTED = "effect"
# Edges that are named where a network is described.
_MOST_TOLD = 5


@dataclass(frozen=True, eq=False, repr=False)
class GeneNetwork(Described):
    """Hold a sparse network of genes. An edge says that two genes are related, not why.

    Only edges of ``"effect"`` have a direction: deleting the source lowers the predicted rank of the target.

    Parameters
    ----------
    genes
        Names of all genes that were related, of which some may have no edge.
    gene_ids
        Their ids in the vocabulary.
    source, target
        Numbers of the genes of each edge, shape (m,), counted in ``genes``.
    score, p, q
        Score, p-value and false discovery rate of each edge, shape (m,).
    method
        Name of the score.
    n_tested
        Number of pairs that were tested.
    n_significant
        Number of pairs within ``max_fdr``; those that are no edges are among the ``n_neighbors`` strongest of neither
        gene. ``None`` where nobody counted them.
    """

    genes: tuple[str, ...]
    gene_ids: tuple[str, ...]
    source: Int64[np.ndarray, "m"]
    target: Int64[np.ndarray, "m"]
    score: Float32[np.ndarray, "m"]
    p: Float64[np.ndarray, "m"]
    q: Float64[np.ndarray, "m"]
    method: str
    n_tested: int
    n_significant: int | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return one row per edge, the smallest p first: ``source``, ``target``, ``score``, ``p``, ``q``."""
        names = np.array(self.genes, dtype=object)
        ends = {"source": names[self.source], "target": names[self.target]}
        return pd.DataFrame({**ends, "score": self.score, "p": self.p, "q": self.q})

    def plot(self, **arguments: Any) -> Any:
        """Draw the strongest edges.

        Parameters
        ----------
        **arguments
            As in :func:`genemamba_sc.pl.network`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from genemamba_sc.pl import network

        return network(self, **arguments)

    def __str__(self) -> str:
        return (
            f"{len(self.source):,} edges between {len(np.union1d(self.source, self.target)):,} of {len(self.genes):,} "
            f"genes by {self.method!r}, of {self.n_tested:,} pairs tested{self._left_out()}"
        )

    def _left_out(self) -> str:
        n = 0 if self.n_significant is None else self.n_significant - len(self.source)
        return f"; n_neighbors leaves out {n:,} more within the rate" if n > 0 else ""

    def _about(self) -> dict[str, str]:
        strongest, link = self.to_frame().head(_MOST_TOLD), "→" if self.method == _DIRECTED else "-"
        ends = zip(strongest["source"], strongest["target"])
        return {
            "method": self.method,
            "edges": f"{len(self.source):,} of {self.n_tested:,} pairs tested{self._left_out()}",
            "genes": f"{len(np.union1d(self.source, self.target)):,} of {len(self.genes):,} have an edge",
            "strongest": ", ".join(f"{first} {link} {second}" for first, second in ends) or "none",
        }


def gene_network(
    model: GeneMambaModel,
    adata: AnnData | None = None,
    *,
    sources: str | Sequence[str] | None = None,
    genes: str | Sequence[str] | None = None,
    method: NetworkMethod | None = None,
    max_fdr: float = 0.05,
    n_neighbors: int = 20,
    min_cells: int = 10,
    seed: int = 0,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> GeneNetwork:
    """Find pairs of genes that are more related in these cells than genes of like expression and dropout.

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells; ``None`` takes the registered ones. Pass the cells of one type to ask what is related within it.
    sources
        Genes at one end of each edge, such as transcription factors; those that are deleted for ``"effect"``. ``None``
        takes all.
    genes
        Genes at the other end, or at both ends where ``sources`` is ``None``; ``None`` takes all genes that at least
        ``min_cells`` cells express.
    method
        The score, as in Notes; ``None`` takes ``"explained"``. The p-values of ``"combined"``, ``"static"`` and
        ``"contextual"`` say nothing about these cells.
    max_fdr
        Largest false discovery rate of an edge, in (0, 1).
    n_neighbors
        An edge is kept only where, of the pairs that are tested, it is among so many strongest ones of one of its
        genes; of ``"effect"``, among those that leave its source. Where fewer ``sources`` than this are named, nothing
        is left out but for ``"effect"``: each other gene has no more pairs.
    min_cells
        Number of cells that must express a gene.
    seed
        Seed of the pairs that the null is estimated from, and of the genes that ``"effect"`` hides.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.

    Returns
    -------
    The edges, the smallest p-value first; edges of equal p by the order of the vocabulary.

    Raises
    ------
    RuntimeError
        If the model is not trained.
    ValueError
        If a gene is unknown (similar names are offered) or in too few cells, there are too few genes or cells, or an
        argument is out of range.

    Warns
    -----
    UserWarning
        If the score knows genes from other cells (``"combined"``, ``"static"``, ``"contextual"``), or correlations are
        asked for and a gene is in fewer than 200 cells, or there are no more cells than the embedding has directions,
        where ``"explained"`` is ``"pearson"``.

    Notes
    -----
    ``"explained"`` correlates what the embedding of a cell explains of two genes: their log-normalised expression is
    projected onto the directions of the embedding, and the score is the cosine of the projections. ``"static"`` is the
    cosine in the gene table, ``"contextual"`` that of the encoder's mean output in these cells
    (:func:`gene_embeddings`). ``"combined"`` is the mean of explained and static, each standardised for both genes.
    ``"pearson"`` and ``"spearman"`` correlate the log-normalised expression itself, of at most 10,000 evenly spaced
    cells. ``"effect"`` is the effect of one gene on another in the model: the cosine of the mean step that the
    embedding makes when the source is deleted, in at most 1,000 evenly spaced cells, and of the direction in which the
    rank of the target falls (the regressions of :func:`rank_effects`, which tells sizes, too). It costs a pass of the
    layers for each of the first ``context_len`` genes of each cell, and is computed for all genes, for the null needs
    them. Genes that fewer than ten of the up to 2,000 cells of the regressions have, or none of those in which genes
    are deleted, are left out of it. Of known regulons and pathways it recognises less than ``"pearson"`` does on most
    sets (``benchmarks/genes/run.py``).

    The p-value is an upper tail that is fitted to the middle half of the scores of other pairs, matched for mean
    expression and dropout (Efron, JASA 99, 2004): for cosines and correlations that of Student's t, as for random
    vectors, and for ``"combined"`` a normal one. q is the rate of Benjamini and Hochberg over all pairs tested. They
    say how unusual a score is among genes. They do not say that one gene regulates the other. For ``"combined"``,
    ``"static"`` and ``"contextual"`` they say nothing about these cells: the gene table comes from the cells that made
    the model, so genes stay related where the cells given do not relate them. For ``"pearson"`` and
    ``"spearman"`` they are too small where genes are in few cells, which share a cell by chance more often than such a
    tail has it: raise ``min_cells`` there (``benchmarks/genes/null.py``).

    Genes are compared in blocks, so memory grows with the genes and not with their square, up to the p-values below
    ``max_fdr`` (four bytes each).

    Examples
    --------
    >>> network = gm.tl.gene_network(model, adata, method="pearson")
    >>> network.to_frame().columns.tolist()
    ['source', 'target', 'score', 'p', 'q']
    """
    _check_rate(max_fdr)
    n_neighbors, seed = whole_number("n_neighbors", n_neighbors, 1), whole_number("seed", seed, 0)
    at_one_end = None if sources is None else find_genes(model, sources)
    at_other = None if genes is None else find_genes(model, genes)
    named = [part for part in (at_one_end, at_other) if part is not None]
    wanted = np.unique(np.concatenate(named)) if named else None
    cells = Cells(adata, layer, gene_id_key, scale, min_cells)
    relations = relate_genes(model, cells, method, wanted, directed=True, seed=seed)
    columns = _numbers(relations, at_other)
    rows = columns if at_one_end is None else _numbers(relations, at_one_end)
    if len(np.union1d(rows, columns)) < 2:
        raise ValueError(f"An edge has two different genes. Got {relations.labels[rows[0]]!r} alone. Name more genes.")
    _warn_of_other_cells(relations.method)
    _warn_of_rare(relations, round(relations.detected.min() * relations.n_cells))
    null = matched_null(relations, seed)
    edges = significant_edges(relations.scores, null, rows, columns, max_fdr, n_neighbors)
    return GeneNetwork(
        relations.labels, relations.gene_ids, edges.first, edges.second, edges.score, edges.p, edges.q,
        relations.method, edges.n_tested, edges.n_significant,
    )  # fmt: skip


def _check_rate(max_fdr: float) -> None:
    if isinstance(max_fdr, bool) or not isinstance(max_fdr, numbers.Real) or not 0 < max_fdr < 1:
        raise ValueError(f"max_fdr must be a number in (0, 1). Got {max_fdr!r}. Pass a rate such as 0.05.")


def _warn_of_other_cells(method: str) -> None:
    if method in _OF_OTHER_CELLS:
        warn(
            f"p-values of method={method!r} say nothing about these cells: the gene table comes from the cells that "
            "made the model, and relates genes that these cells do not. Pass method='explained' to ask these cells."
        )


def _warn_of_rare(relations: Relations, least: int) -> None:
    if relations.method in ("pearson", "spearman") and least < _LEAST_CORRELATED:
        warn(
            f"method={relations.method!r} gives p-values that are far too small for genes in fewer than "
            f"{_LEAST_CORRELATED} cells. The rarest gene here is in {least}. Pass min_cells={_LEAST_CORRELATED}, or "
            "method='explained'."
        )


def _numbers(relations: Relations, genes: Int64[np.ndarray, "k"] | None) -> Int64[np.ndarray, "k"]:
    """Return the numbers of genes among those that were related, ascending."""
    if genes is None:
        return np.arange(len(relations.genes))
    return np.searchsorted(relations.genes, np.sort(genes))
