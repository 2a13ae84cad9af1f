"""Read the genes of a published checkpoint: which token is which gene, and what divides its values."""

import os
from collections.abc import Iterable
from pathlib import Path

from genemamba_sc._json import quoted
from genemamba_sc._warn import warn
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.weights._folder import check_table_size, read_vocabulary

_TABLES = ("vocabulary.tsv.gz", "vocabulary.tsv")
_TOKENIZERS = ("tokenizer.json", "gene_tokenizer.json")
_MEDIANS = ("medians.tsv.gz", "medians.tsv")
# More than any table of genes has.
_MOST_GENES = 200_000

TablePath = str | os.PathLike[str]


def read_published_genes(folders: Iterable[Path], medians: TablePath | None, n_genes: int) -> GeneVocabulary:
    """Read the vocabulary that lies beside published weights.

    Parameters
    ----------
    folders
        Folders to look in, in this order.
    medians
        Table with the columns ``ensembl_id`` and ``nonzero_median``; ``None`` takes one that lies in these folders.
    n_genes
        Largest number of genes that the weights have rows for; a vocabulary that expands to far more is refused unread.

    Raises
    ------
    FileNotFoundError
        If there is no vocabulary, or no such table.
    ValueError
        If the vocabulary is damaged, or the table lacks genes.

    Warns
    -----
    UserWarning
        If no medians are known.
    """
    places = list(folders)
    table = _first(places, _TABLES)
    if table is not None and medians is None:
        return read_vocabulary(table, n_genes)
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
    else:
        if not Path(medians).is_file():
            raise FileNotFoundError(
                f"medians must name a table of genes. Got {os.fspath(medians)!r}, which is not a file. "
                "Give the path of one with the columns ensembl_id and nonzero_median."
            )
        check_table_size(Path(medians), _MOST_GENES)  # it may be of more genes than the weights
    try:
        return GeneVocabulary.from_tokenizer_json(tokenizer, medians=medians)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:  # ValueErrors of ours name the file
        raise ValueError(f"{tokenizer} is not a readable tokenizer ({quoted(error)}). Copy it again.") from error


def _first(folders: Iterable[Path], names: Iterable[str]) -> Path | None:
    paths = (folder / name for folder in folders for name in names)
    return next((path for path in paths if path.is_file()), None)
