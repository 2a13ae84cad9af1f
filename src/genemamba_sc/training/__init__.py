"""Provide what trainings share: optimiser, callbacks, start of the gene table, convex fits of cell types. No scvi."""

from genemamba_sc.training._dataset import LengthBucketSampler, TokenDataset
from genemamba_sc.training._gene_table import denoised_gene_table, spectral_gene_table

__all__ = ["LengthBucketSampler", "TokenDataset", "denoised_gene_table", "spectral_gene_table"]
