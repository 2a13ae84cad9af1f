"""Provide tools: what a model tells about genes and cells; functions of ``(model, adata)``, one file a task.

Importing it loads nothing heavy: the functions are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.tl._smooth_types import smooth_types
    from genemamba_sc.tl.attribution._attribution import attribute
    from genemamba_sc.tl.attribution._attribution_result import Attribution
    from genemamba_sc.tl.attribution._marker_genes import marker_genes
    from genemamba_sc.tl.perturbation._joint_perturbation import perturb_together
    from genemamba_sc.tl.perturbation._joint_perturbation_result import JointPerturbation
    from genemamba_sc.tl.perturbation._perturbation import perturb
    from genemamba_sc.tl.perturbation._perturbation_result import Perturbation
    from genemamba_sc.tl.ranks._rank_effects import rank_effects
    from genemamba_sc.tl.ranks._rank_effects_result import RankEffects
    from genemamba_sc.tl.ranks._reconstruction import reconstruct_ranks
    from genemamba_sc.tl.ranks._reconstruction_result import RankReconstruction
    from genemamba_sc.tl.relations._gene_correlation import gene_correlation
    from genemamba_sc.tl.relations._gene_embeddings import GeneEmbeddings, gene_embeddings
    from genemamba_sc.tl.relations._gene_network import GeneNetwork, gene_network
    from genemamba_sc.tl.relations._gene_programs import GenePrograms, gene_programs
    from genemamba_sc.tl.relations._nearest_genes import NearestGenes, nearest_genes

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
    "Attribution": "attribution._attribution_result",
    "GeneEmbeddings": "relations._gene_embeddings",
    "GeneNetwork": "relations._gene_network",
    "GenePrograms": "relations._gene_programs",
    "JointPerturbation": "perturbation._joint_perturbation_result",
    "NearestGenes": "relations._nearest_genes",
    "Perturbation": "perturbation._perturbation_result",
    "RankEffects": "ranks._rank_effects_result",
    "RankReconstruction": "ranks._reconstruction_result",
    "attribute": "attribution._attribution",
    "gene_correlation": "relations._gene_correlation",
    "gene_embeddings": "relations._gene_embeddings",
    "gene_network": "relations._gene_network",
    "gene_programs": "relations._gene_programs",
    "marker_genes": "attribution._marker_genes",
    "nearest_genes": "relations._nearest_genes",
    "perturb": "perturbation._perturbation",
    "perturb_together": "perturbation._joint_perturbation",
    "rank_effects": "ranks._rank_effects",
    "reconstruct_ranks": "ranks._reconstruction",
    "smooth_types": "_smooth_types",
}

__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
