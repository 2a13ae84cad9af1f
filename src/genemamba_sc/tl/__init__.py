"""Provide tools: what a model tells about genes and cells; functions of ``(model, adata)``, one file a task.

Importing it loads nothing heavy: the functions are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.tl._attribution import attribute
    from genemamba_sc.tl._attribution_result import Attribution
    from genemamba_sc.tl._gene_correlation import gene_correlation
    from genemamba_sc.tl._gene_embeddings import GeneEmbeddings, gene_embeddings
    from genemamba_sc.tl._gene_network import GeneNetwork, gene_network
    from genemamba_sc.tl._gene_programs import GenePrograms, gene_programs
    from genemamba_sc.tl._joint_perturbation import perturb_together
    from genemamba_sc.tl._joint_perturbation_result import JointPerturbation
    from genemamba_sc.tl._marker_genes import marker_genes
    from genemamba_sc.tl._nearest_genes import NearestGenes, nearest_genes
    from genemamba_sc.tl._perturbation import perturb
    from genemamba_sc.tl._perturbation_result import Perturbation
    from genemamba_sc.tl._rank_effects import rank_effects
    from genemamba_sc.tl._rank_effects_result import RankEffects
    from genemamba_sc.tl._reconstruction import reconstruct_ranks
    from genemamba_sc.tl._reconstruction_result import RankReconstruction
    from genemamba_sc.tl._smooth_types import smooth_types

__all__ = [
    "Attribution",
    "GeneEmbeddings",
    "GeneNetwork",
    "GenePrograms",
    "JointPerturbation",
    "NearestGenes",
    "Perturbation",
    "RankEffects",
    "RankReconstruction",
    "attribute",
    "gene_correlation",
    "gene_embeddings",
    "gene_network",
    "gene_programs",
    "marker_genes",
    "nearest_genes",
    "perturb",
    "perturb_together",
    "rank_effects",
    "reconstruct_ranks",
    "smooth_types",
]

_HOMES = {
    "Attribution": "_attribution_result",
    "GeneEmbeddings": "_gene_embeddings",
    "GeneNetwork": "_gene_network",
    "GenePrograms": "_gene_programs",
    "JointPerturbation": "_joint_perturbation_result",
    "NearestGenes": "_nearest_genes",
    "Perturbation": "_perturbation_result",
    "RankEffects": "_rank_effects_result",
    "RankReconstruction": "_reconstruction_result",
    "attribute": "_attribution",
    "gene_correlation": "_gene_correlation",
    "gene_embeddings": "_gene_embeddings",
    "gene_network": "_gene_network",
    "gene_programs": "_gene_programs",
    "marker_genes": "_marker_genes",
    "nearest_genes": "_nearest_genes",
    "perturb": "_perturbation",
    "perturb_together": "_joint_perturbation",
    "rank_effects": "_rank_effects",
    "reconstruct_ranks": "_reconstruction",
    "smooth_types": "_smooth_types",
}

__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
