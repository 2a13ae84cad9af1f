"""From cells on disk or in memory to genes, and from genes to tokens: numpy, scipy and numba.

Importing it loads neither torch nor scvi-tools: a process that only makes tokens must not wait for them. Tokens as
tensors are in :mod:`genemamba_sc.data._batches`.
"""

from typing import TYPE_CHECKING

from genemamba_sc._lazy import lazily
from genemamba_sc.data._cell_files import open_backed, open_cells, read_cells
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
    from genemamba_sc.data._pathways import PathwayReport, PathwaySet, PathwaySplit

__all__ = [
    "CellMatrix",
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
    "Tokens",
    "check_genes",
    "detect_expression",
    "match_genes",
    "matrix_of",
    "measure_genes",
    "open_backed",
    "open_cells",
    "open_matrix",
    "query_source",
    "read_cells",
    "read_regulon_pairs",
    "require_match",
    "take_tokens",
    "to_linear",
    "warn_if_few_counts",
    "warn_if_few_genes",
]

# These need torch.
__getattr__ = lazily(__name__, dict.fromkeys(("PathwayReport", "PathwaySet", "PathwaySplit"), "_pathways"))
