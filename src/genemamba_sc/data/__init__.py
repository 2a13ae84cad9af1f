"""Turn cells on disk or in memory into genes, and genes into tokens, with numpy, scipy and numba.

Importing this package loads neither torch nor scvi-tools: a process that only makes tokens must not wait for them. The
names that need torch (tokens as tensors, sets of pathways) are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from genemamba_sc._bins import NO_VALUE, from_bins, to_bins
from genemamba_sc._lazy import lazily
from genemamba_sc.data.cells._cell_files import Place, open_backed, open_cells, read_cells
from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._expression import Expression, Scale, detect_expression, to_linear
from genemamba_sc.data.cells._matrix import CellMatrix, matrix_of, open_matrix
from genemamba_sc.data.genes._gene_aliases import GeneAliases
from genemamba_sc.data.genes._gene_ids import (
    GeneReport,
    check_genes,
    require_match,
    warn_if_few_counts,
    warn_if_few_genes,
)
from genemamba_sc.data.genes._gene_match import GeneMatch, match_genes
from genemamba_sc.data.genes._gmt import read_regulon_pairs
from genemamba_sc.data.genes._medians import measure_genes
from genemamba_sc.data.genes._vocabulary import GeneVocabulary
from genemamba_sc.data.tokens._source import CellSource, query_source
from genemamba_sc.data.tokens._tokenizer import RankTokenizer, Tokens, take_tokens

if TYPE_CHECKING:
    from genemamba_sc.data.genes._pathways import PathwayReport, PathwaySet, PathwaySplit
    from genemamba_sc.data.tokens._batches import TokenBatch, length_batches, to_batch
    from genemamba_sc.data.tokens._cell_hashes import CellHashes

__all__ = [
    "NO_VALUE",
    "CellMatrix",
    "CellHashes",
    "CellReader",
    "CellSource",
    "Expression",
    "GeneAliases",
    "GeneMatch",
    "GeneVocabulary",
    "GeneReport",
    "PathwayReport",
    "PathwaySet",
    "PathwaySplit",
    "RankTokenizer",
    "Scale",
    "TokenBatch",
    "Tokens",
    "check_genes",
    "detect_expression",
    "from_bins",
    "length_batches",
    "match_genes",
    "matrix_of",
    "measure_genes",
    "Place",
    "open_backed",
    "open_cells",
    "open_matrix",
    "query_source",
    "read_cells",
    "read_regulon_pairs",
    "require_match",
    "take_tokens",
    "to_batch",
    "to_bins",
    "to_linear",
    "warn_if_few_counts",
    "warn_if_few_genes",
]

_HOMES = {
    "CellHashes": "tokens._cell_hashes",
    "PathwayReport": "genes._pathways",
    "PathwaySet": "genes._pathways",
    "PathwaySplit": "genes._pathways",
    "TokenBatch": "tokens._batches",
    "length_batches": "tokens._batches",
    "to_batch": "tokens._batches",
}

__getattr__ = lazily(__name__, _HOMES)
