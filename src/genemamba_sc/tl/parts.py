"""Steps inside the functions of ``gm.tl``, for scripts that measure them, such as those in ``benchmarks/genes``.

Analyses need none of these; they may change from version to version.
"""

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data.tokens._token_parts import real_positions
from genemamba_sc.tl._cells import embedding_of, pass_through
from genemamba_sc.tl._genes import find_genes
from genemamba_sc.tl.perturbation._controls import Expression
from genemamba_sc.tl.perturbation._joint_perturbation import changed
from genemamba_sc.tl.ranks._rank_metrics import relative_ranks
from genemamba_sc.tl.relations._relations import Cells, relate_genes
from genemamba_sc.training._markers import expression_matrix

__all__ = [
    "FIRST_GENE_ID",
    "Cells",
    "Expression",
    "changed",
    "embedding_of",
    "expression_matrix",
    "find_genes",
    "pass_through",
    "real_positions",
    "relate_genes",
    "relative_ranks",
]
