"""From counts to tokens. Knows numpy, scipy and torch's tensors; no modules, no optimiser."""

from genemamba_sc.data._batches import (
    LengthBucketSampler,
    TokenBatch,
    TokenDataset,
    length_batches,
    take_tokens,
    to_batch,
)
from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._expression import Expression, detect_expression, to_linear
from genemamba_sc.data._gene_aliases import GeneAliases
from genemamba_sc.data._gene_ids import GeneReport, check_genes, require_match, warn_if_few_counts, warn_if_few_genes
from genemamba_sc.data._gene_match import GeneMatch, match_genes
from genemamba_sc.data._gmt import read_regulon_pairs
from genemamba_sc.data._h5ad import open_h5ad
from genemamba_sc.data._medians import reader_of, where_is
from genemamba_sc.data._pathways import PathwayReport, PathwaySet, PathwaySplit
from genemamba_sc.data._source import CellSource
from genemamba_sc.data._tokenizer import RankTokenizer, Tokens
from genemamba_sc.data._vocabulary import GeneVocabulary

__all__ = [
    "CellReader",
    "CellSource",
    "Expression",
    "GeneAliases",
    "GeneMatch",
    "GeneVocabulary",
    "GeneReport",
    "LengthBucketSampler",
    "PathwayReport",
    "PathwaySet",
    "PathwaySplit",
    "RankTokenizer",
    "TokenBatch",
    "TokenDataset",
    "Tokens",
    "check_genes",
    "detect_expression",
    "length_batches",
    "match_genes",
    "open_h5ad",
    "read_regulon_pairs",
    "reader_of",
    "require_match",
    "take_tokens",
    "to_batch",
    "to_linear",
    "warn_if_few_counts",
    "warn_if_few_genes",
    "where_is",
]
