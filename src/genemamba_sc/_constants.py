"""Define the only literals of the package: special tokens, registry keys, AnnData keys."""

from typing import Final

UNK_TOKEN: Final = "[UNK]"
PAD_TOKEN: Final = "[PAD]"
CLS_TOKEN: Final = "[CLS]"
MASK_TOKEN: Final = "[MASK]"

# The published vocabulary starts with [UNK] and [PAD]; genes follow, then [CLS] and [MASK],
# so that published weights load row by row.
UNK_ID: Final = 0
PAD_ID: Final = 1
FIRST_GENE_ID: Final = 2
N_SPECIAL: Final = 4

# Counts per cell are scaled to this sum before the per-gene median divides them.
TARGET_SUM: Final = 10_000.0

OBSM_KEY: Final = "X_genemamba"

# Names under which the registry of scvi-tools keeps the scale that was found, and the genes.
EXPRESSION_KEY: Final = "expression"
VOCABULARY_KEY: Final = "gene_vocabulary"

# Columns of obs that `annotate` writes.
PREDICTION_KEY: Final = "genemamba_celltype"
CONFIDENCE_KEY: Final = "genemamba_confidence"
SET_KEY: Final = "genemamba_set"
UNKNOWN_KEY: Final = "genemamba_unknown"
VOTING_KEY: Final = "genemamba_majority_voting"
CLUSTERS_KEY: Final = "genemamba_over_clustering"
# What `annotate` calls cells of no known type, where it is asked to.
UNKNOWN_TYPE: Final = "Unknown"
# Entry of uns that says which model wrote them.
UNS_KEY: Final = "genemamba"
