"""Provide the torch modules: the encoder, the heads on top of it, and the losses. No AnnData, no optimiser."""

from genemamba_sc.nn._config import EncoderConfig
from genemamba_sc.nn._contrast import disjoint_views, pathway_contrast, view_contrast
from genemamba_sc.nn._embedder import CellPools, Embedder, ReadSums
from genemamba_sc.nn._encoder import BiMambaEncoder, EncoderOutput, Reading
from genemamba_sc.nn._heads import CellTypeHead, GeneHead, gene_log_frequency
from genemamba_sc.nn._linear_cross_entropy import linear_cross_entropy
from genemamba_sc.nn._losses import classification_loss, gene_loss, sample_positions
from genemamba_sc.nn._mamba2 import Mamba2Mixer
from genemamba_sc.nn._masking import MaskedTokens, mask_tokens
from genemamba_sc.nn._objective_config import ObjectiveConfig
from genemamba_sc.nn._objectives import ObjectiveOutput, PretrainingObjectives
from genemamba_sc.nn._reference_objectives import next_token_loss

__all__ = [
    "BiMambaEncoder",
    "CellPools",
    "CellTypeHead",
    "Embedder",
    "EncoderConfig",
    "EncoderOutput",
    "GeneHead",
    "Mamba2Mixer",
    "MaskedTokens",
    "ObjectiveConfig",
    "ObjectiveOutput",
    "PretrainingObjectives",
    "ReadSums",
    "Reading",
    "classification_loss",
    "disjoint_views",
    "gene_log_frequency",
    "gene_loss",
    "linear_cross_entropy",
    "mask_tokens",
    "next_token_loss",
    "pathway_contrast",
    "sample_positions",
    "view_contrast",
]
