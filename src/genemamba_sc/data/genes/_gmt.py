"""Read gene set files (GMT) and tables of regulators and their targets."""

import csv
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from genemamba_sc._constants import UNK_ID
from genemamba_sc.data.genes._gene_aliases import GeneAliases
from genemamba_sc.data.genes._gene_lists import find_tokens
from genemamba_sc.data.genes._text_files import reading
from genemamba_sc.data.genes._vocabulary import GeneVocabulary

_GZIP = b"\x1f\x8b"


def read_gmt(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read the sets of a GMT file; each line has a name, a description or address (may be empty), and the genes.

    Parameters
    ----------
    path
        The file, plain or gzipped. Empty lines are skipped, lines of one name become one set, and a weight behind a
        gene (``TP53,1.0``) is dropped.

    Returns
    -------
    Name -> genes without repeats, both in the order of the file; a set may be empty.

    Raises
    ------
    ValueError
        If it is damaged, a line has no tab, a set has no name, or the file has no line.
    """
    sets: dict[str, dict[str, None]] = {}
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        name, *rest = (part.strip() for part in line.rstrip("\r\n").split("\t"))
        if not rest or not name:
            raise ValueError(
                "A line of a GMT file has a name, a description and genes, separated by tabs; line "
                f"{number} of {os.fspath(path)!r} reads {line.strip()[:60]!r}. Pass a .gmt file as offered by "
                "Reactome, MSigDB or Enrichr."
            )
        genes = (gene.split(",")[0].strip() for gene in rest[1:])
        sets.setdefault(name, {}).update(dict.fromkeys(gene for gene in genes if gene))
    if not sets:
        raise ValueError(f"A GMT file has at least one set; {os.fspath(path)!r} has none. Is the download complete?")
    return {name: list(genes) for name, genes in sets.items()}


def read_regulon_pairs(
    path: str | os.PathLike[str], vocabulary: GeneVocabulary, *, aliases: GeneAliases | None = None
) -> Int32[np.ndarray, "n 2"]:
    """Read pairs of a transcription factor and a target gene, to evaluate gene embeddings by.

    Parameters
    ----------
    path
        Table whose first two columns are factor and target, by symbol or Ensembl id, separated by tabs or commas, plain
        or gzipped, with or without a header: TRRUST's and CollecTRI's files, for example.
    vocabulary
        The genes that have tokens.
    aliases
        Table of older symbols; None uses none.

    Returns
    -------
    Token ids of factor and target, shape (n, 2), each pair once, sorted. Pairs with a gene outside the vocabulary
    (complexes such as NFKB among them) and of a gene with itself are left out.

    Raises
    ------
    ValueError
        If it is damaged, a row has fewer than two columns, or no pair is left.
    """
    rows = list(_read_pairs(path))
    names = list(dict.fromkeys(name for row in rows for name in row))
    token_of = dict(zip(names, find_tokens(names, vocabulary, aliases).tolist()))
    tokens = np.array([[token_of[a], token_of[b]] for a, b in rows], dtype=np.int32).reshape(-1, 2)
    kept = tokens[(tokens != UNK_ID).all(axis=1) & (tokens[:, 0] != tokens[:, 1])]
    if len(kept) == 0:
        raise ValueError(
            f"Pairs need two genes of the vocabulary; none of the {len(rows):,} rows of {os.fspath(path)!r} has them, "
            f"the first is {rows[0] if rows else 'missing'}. The vocabulary's genes are {vocabulary.species}, "
            f"such as {vocabulary.symbols[0] or vocabulary.gene_ids[0]!r}: pass a table of that species."
        )
    return np.unique(kept, axis=0)


def _read_pairs(path: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    text = _read_text(path)
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    with reading(path, "table of pairs"):
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    for number, row in enumerate(rows, start=1):
        if not row:
            continue
        if len(row) < 2:
            raise ValueError(
                f"A row has a factor and a target, separated by a tab or a comma; row {number} of "
                f"{os.fspath(path)!r} has {row}. Pass a table with these two columns first."
            )
        yield row[0].strip(), row[1].strip()


def _read_text(path: str | os.PathLike[str]) -> str:
    """Read a text file, gzipped or not, whatever its name says; drop a byte order mark."""
    with reading(path, "text file"):
        content = Path(path).read_bytes()
        return (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8-sig")
