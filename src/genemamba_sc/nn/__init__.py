"""Torch modules: the encoder, what stands on it, and the losses. No AnnData, no optimiser."""

from genemamba_sc.nn._config import EncoderConfig
from genemamba_sc.nn._encoder import BiMambaEncoder, EncoderOutput
from genemamba_sc.nn._heads import CellTypeHead, GeneHead
from genemamba_sc.nn._losses import classification_loss, gene_loss, sample_positions
from genemamba_sc.nn._mamba2 import Mamba2Mixer
from genemamba_sc.nn._masking import MaskedTokens, mask_tokens

__all__ = [
    "BiMambaEncoder",
    "CellTypeHead",
    "EncoderConfig",
    "EncoderOutput",
    "GeneHead",
    "Mamba2Mixer",
    "MaskedTokens",
    "classification_loss",
    "gene_loss",
    "mask_tokens",
    "sample_positions",
]
