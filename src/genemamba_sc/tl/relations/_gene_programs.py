"""Group the genes of a network into programs, and score these in cells."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Float64, Int64

from genemamba_sc._checks import whole_number
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._described import Described, listed
from genemamba_sc.data import CellSource, Scale
from genemamba_sc.data.tokens._log_expression import log_expression_blocks
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.model.annotation._annotation import store
from genemamba_sc.tl._cells import open_query
from genemamba_sc.tl._genes import find_genes
from genemamba_sc.tl.relations._communities import communities
from genemamba_sc.tl.relations._expressed_genes import measure_expressed
from genemamba_sc.tl.relations._gene_network import GeneNetwork

# Genes are cut into so many bins of like expression, and so many controls are drawn from each bin of a program.
_BINS, _CONTROLS = 25, 50


@dataclass(frozen=True, eq=False, repr=False)
class GenePrograms(Described):
    """Hold groups of related genes, the largest first, and their scores in cells.

    Parameters
    ----------
    names
        Names of the programs, ``"program 1"`` and so on.
    members
        Genes of each program, those with most edges inside it first.
    scores
        Score of each program in each cell, shape (n_obs, n_programs), float32.
    cells
        Names of the cells.
    """

    names: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]
    scores: Float32[np.ndarray, "n_obs k"]
    cells: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per gene: ``program``, ``gene``, ``rank`` (from 1, by edges inside the program)."""
        rows = [
            (name, gene, rank)
            for name, genes in zip(self.names, self.members)
            for rank, gene in enumerate(genes, start=1)
        ]
        return pd.DataFrame(rows, columns=["program", "gene", "rank"])

    def scores_frame(self) -> pd.DataFrame:
        """Return the scores, cells × programs."""
        return pd.DataFrame(self.scores, index=pd.Index(self.cells), columns=pd.Index(self.names))

    def _about(self) -> dict[str, str]:
        programs = (f"{', '.join(genes[:3])} … ({len(genes):,} genes)" for genes in self.members)
        return {"programs": listed(programs), "cells": f"{len(self.cells):,}"}


def gene_programs(
    model: GeneMambaModel,
    network: GeneNetwork,
    adata: AnnData | None = None,
    *,
    resolution: float = 1.0,
    min_genes: int = 5,
    key_added: str | None = "gene_programs",
    seed: int = 0,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> GenePrograms:
    """Cluster a network of genes by Leiden's algorithm, and score each cluster in cells.

    Needs igraph: ``pip install 'genemamba-sc[graphs]'``.

    Parameters
    ----------
    model
        The model that the network was made with.
    network
        What :func:`gene_network` returned; its edges count alike.
    adata
        Cells to score; ``None`` takes the registered ones.
    resolution
        A larger one makes more and smaller programs.
    min_genes
        Clusters of fewer genes are left out.
    key_added
        Key in ``adata.obsm`` that the scores are written to; ``None`` writes nothing. Where no program is found, the
        key is removed.
    seed
        Seed of the clustering and of the control genes.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.

    Returns
    -------
    Programs and scores. There may be none.

    Raises
    ------
    ImportError
        If igraph is not installed.
    TypeError
        If the model or the network is none.
    ValueError
        If the network has no edge, a gene of it is not in the vocabulary, or an argument is out of range.

    Notes
    -----
    The score is the one of Tirosh et al. (Science 352, 2016), with the controls of ``scanpy.tl.score_genes``: the mean
    log-normalised expression of the genes of a program, less that of control genes of like expression. Genes are cut
    into 25 bins of like expression, and 50 genes are drawn from each bin that holds a gene of the program, without its
    own genes. Where scanpy cuts bins otherwise (24 full ones and a rest, over all genes of the AnnData; here the genes
    that a cell expresses, in bins of equal size), other controls are drawn. Cells are read in blocks.
    """
    min_genes, seed = whole_number("min_genes", min_genes, 1), whole_number("seed", seed, 0)
    if not isinstance(network, GeneNetwork):
        raise TypeError(
            f"Programs are clusters of a GeneNetwork. Got {type(network).__name__}. Pass what gm.tl.gene_network "
            "returned."
        )
    found = communities(network, resolution, min_genes, seed)
    cells, source = open_query(model, adata, layer, gene_id_key, scale)
    names = tuple(f"program {number}" for number in range(1, len(found) + 1))
    ids = [[network.gene_ids[gene] for gene in genes] for genes in found]
    scores = _score(source, [find_genes(model, genes) for genes in ids], seed)
    if key_added is not None and len(found):
        store(cells, key_added, scores)
    elif key_added in cells.obsm:
        del cells.obsm[key_added]  # it would be taken for the scores of these programs
    members = tuple(tuple(network.genes[gene] for gene in genes) for genes in found)
    return GenePrograms(names, members, scores, tuple(map(str, cells.obs_names)))


def _score(source: CellSource, programs: list[Int64[np.ndarray, "_"]], seed: int) -> Float32[np.ndarray, "n_obs k"]:
    weights = _weights(source, programs, np.random.default_rng(seed))
    scores = np.zeros((source.n_obs, len(programs)), dtype=np.float32)
    for part, values in log_expression_blocks(source, np.arange(source.n_obs)):
        scores[part] = values @ weights
    return scores


def _weights(
    source: CellSource, programs: list[Int64[np.ndarray, "_"]], rng: np.random.Generator
) -> Float64[np.ndarray, "v k"]:
    """Return what a unit of each token's expression adds to each score: the mean of the program less its controls'."""
    weights = np.zeros((source.tokenizer.vocabulary.size, len(programs)))
    measured = measure_expressed(source, np.zeros((source.n_obs, 0)))
    expressed = np.flatnonzero(measured.n_cells)
    bins = np.full(len(measured.mean), -1)
    for number, genes in enumerate(np.array_split(expressed[np.argsort(measured.mean[expressed])], _BINS)):
        bins[genes] = number
    for column, genes in enumerate(programs):
        weights[genes + FIRST_GENE_ID, column] = 1 / len(genes)
        controls = _controls(bins, genes, rng)
        if len(controls):
            weights[controls + FIRST_GENE_ID, column] -= 1 / len(controls)
    return weights


def _controls(
    bins: Int64[np.ndarray, "v"], genes: Int64[np.ndarray, "k"], rng: np.random.Generator
) -> Int64[np.ndarray, "m"]:
    """Draw control genes from the bins of a program; none where it holds all genes of its bins."""
    found = [np.empty(0, dtype=np.int64)]
    for number in np.unique(bins[genes][bins[genes] >= 0]):
        candidates = np.setdiff1d(np.flatnonzero(bins == number), genes)
        found.append(rng.choice(candidates, min(_CONTROLS, len(candidates)), replace=False))
    return np.concatenate(found)
