"""Provide tools: what a model tells about genes and cells; functions of ``(model, adata)``, one file a task."""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily

if TYPE_CHECKING:
    from genemamba_sc.tl._gene_correlation import gene_correlation
    from genemamba_sc.tl._gene_embeddings import GeneEmbeddings, gene_embeddings
    from genemamba_sc.tl._gene_network import GeneNetwork, gene_network
    from genemamba_sc.tl._gene_programs import GenePrograms, gene_programs
    from genemamba_sc.tl._nearest_genes import NearestGenes, nearest_genes

__all__ = [
    "GeneEmbeddings",
    "GeneNetwork",
    "GenePrograms",
    "NearestGenes",
    "gene_correlation",
    "gene_embeddings",
    "gene_network",
    "gene_programs",
    "nearest_genes",
]

_HOMES = {
    "GeneEmbeddings": "_gene_embeddings",
    "GeneNetwork": "_gene_network",
    "GenePrograms": "_gene_programs",
    "NearestGenes": "_nearest_genes",
    "gene_correlation": "_gene_correlation",
    "gene_embeddings": "_gene_embeddings",
    "gene_network": "_gene_network",
    "gene_programs": "_gene_programs",
    "nearest_genes": "_nearest_genes",
}

__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
