"""The genes of a published checkpoint: which token is which gene, and by what its values are divided."""

import os
from collections.abc import Iterable
from pathlib import Path

from genemamba_sc._warn import warn
from genemamba_sc.data import GeneVocabulary

_TABLES = ("vocabulary.tsv.gz", "vocabulary.tsv")
_TOKENIZERS = ("tokenizer.json", "gene_tokenizer.json")
_MEDIANS = ("medians.tsv.gz", "medians.tsv")

TablePath = str | os.PathLike[str]


def read_published_genes(folders: Iterable[Path], medians: TablePath | None) -> GeneVocabulary:
    """Read the vocabulary that lies beside published weights.

    Parameters
    ----------
    folders
        Where to look, the first place first.
    medians
        Table with the columns ``ensembl_id`` and ``nonzero_median``; ``None`` takes one that lies there.

    Raises
    ------
    FileNotFoundError
        If there is no vocabulary.
    ValueError
        If it is damaged, or the table lacks genes.

    Warns
    -----
    UserWarning
        If no medians are known.
    """
    places = list(folders)
    table = _first(places, _TABLES)
    if table is not None and medians is None:
        return GeneVocabulary.from_tsv(table)
    tokenizer = _first(places, _TOKENIZERS)
    if tokenizer is None:
        raise FileNotFoundError(
            f"Weights need the genes their rows stand for; {places[0]} has none of "
            f"{', '.join((*_TABLES, *_TOKENIZERS))}. "
            "Put the tokenizer that was published with them beside them."
        )
    medians = medians or _first(places, _MEDIANS)
    if medians is None:
        warn(
            f"No medians are known for the genes of {places[0].name}, so 1.0 is taken for each: genes are ranked by "
            "their expression alone. The ranks then differ from those of training, which by the paper divides by "
            "each gene's non-zero median, and the embeddings are not those of the authors. Pass medians= with a table "
            "of the columns ensembl_id and nonzero_median, or put it there as medians.tsv.",
        )
    return GeneVocabulary.from_tokenizer_json(tokenizer, medians=medians)


def _first(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    paths = (folder / name for folder in folders for name in names)
    return next((path for path in paths if path.is_file()), None)
