"""Turn cells on disk or in memory into genes, and genes into tokens, with numpy, scipy and numba.

Importing this package loads neither torch nor scvi-tools: a process that only makes tokens must not wait for them. The
names that need torch (tokens as tensors, sets of pathways) are loaded when they are first used.
"""

from typing import TYPE_CHECKING

from genemamba_sc._bins import NO_VALUE, from_bins, to_bins
from genemamba_sc._lazy import lazily
from genemamba_sc.data._cell_files import Place, open_backed, open_cells, read_cells
from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._expression import Expression, Scale, detect_expression, to_linear
from genemamba_sc.data._gene_aliases import GeneAliases
from genemamba_sc.data._gene_ids import GeneReport, check_genes, require_match, warn_if_few_counts, warn_if_few_genes
from genemamba_sc.data._gene_match import GeneMatch, match_genes
from genemamba_sc.data._gmt import read_regulon_pairs
from genemamba_sc.data._matrix import CellMatrix, matrix_of, open_matrix
from genemamba_sc.data._medians import measure_genes
from genemamba_sc.data._source import CellSource, query_source
from genemamba_sc.data._tokenizer import RankTokenizer, Tokens, take_tokens
from genemamba_sc.data._vocabulary import GeneVocabulary

if TYPE_CHECKING:
    from genemamba_sc.data._batches import TokenBatch, length_batches, to_batch
    from genemamba_sc.data._cell_hashes import CellHashes
    from genemamba_sc.data._pathways import PathwayReport, PathwaySet, PathwaySplit

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
    "CellHashes": "_cell_hashes",
    "PathwayReport": "_pathways",
    "PathwaySet": "_pathways",
    "PathwaySplit": "_pathways",
    "TokenBatch": "_batches",
    "length_batches": "_batches",
    "to_batch": "_batches",
}

__getattr__ = lazily(__name__, _HOMES)
