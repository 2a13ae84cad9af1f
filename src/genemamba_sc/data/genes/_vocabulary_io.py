"""Read and write vocabularies as tab-separated tables and tokenizer JSON, never as pickle."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from genemamba_sc._constants import CLS_TOKEN, FIRST_GENE_ID, MASK_TOKEN, PAD_ID, PAD_TOKEN, UNK_ID, UNK_TOKEN
from genemamba_sc._files import replacing_file
from genemamba_sc._json import quoted, read_object
from genemamba_sc.data.genes._text_files import reading

COLUMNS = ("token_id", "ensembl_id", "symbol", "nonzero_median")


def read_tokenizer_json(path: str | os.PathLike[str]) -> list[str]:
    """Read the genes of a word-level tokenizer, in the order of their ids.

    Parameters
    ----------
    path
        JSON file in the layout of the ``tokenizers`` library.

    Raises
    ------
    ValueError
        If it is damaged, there is no vocabulary, ``[UNK]`` and ``[PAD]`` are not 0 and 1, or the ids have gaps.
    """
    name, content = os.fspath(path), read_object(Path(path))
    model = content.values.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocab, dict):
        raise ValueError(
            f"A tokenizer file maps words to ids under model.vocab; {name!r} has no such map. "
            "Pass a gene_tokenizer.json."
        )
    words = content.object("model").object("vocab")
    vocab = {word: words.whole(word, 0) for word in vocab}
    further = content.objects("added_tokens") if content.values.get("added_tokens") else []
    vocab |= {token.text("content"): token.whole("id", 0) for token in further}
    for token, token_id in ((UNK_TOKEN, UNK_ID), (PAD_TOKEN, PAD_ID)):
        if vocab.get(token) != token_id:
            raise ValueError(
                f"{token} must have id {token_id}; in {name!r} it has {vocab.get(token)}. "
                "Rows of published weights would be shifted; pass the tokenizer that belongs to the checkpoint."
            )
    tokens = sorted(vocab, key=vocab.__getitem__)
    for expected, token in enumerate(tokens):
        if vocab[token] != expected:
            raise ValueError(
                f"Token ids are 0, 1, 2, ... without gap or repeat; in {name!r} {token!r} has {vocab[token]} "
                f"in place of {expected}. "
                "Number the genes one after the other."
            )
    # Fine-tuned checkpoints append [CLS] (and [MASK]) behind the genes, where this package puts them too.
    tail = [token for token in (CLS_TOKEN, MASK_TOKEN) if token in vocab]
    if tail != tokens[len(tokens) - len(tail) :]:
        raise ValueError(
            f"{CLS_TOKEN} and {MASK_TOKEN} come after all genes, in this order; in {name!r} they have the ids "
            f"{[vocab[token] for token in tail]} of {len(tokens)}. Move them to the end."
        )
    return tokens[FIRST_GENE_ID : len(tokens) - len(tail)]


def read_medians(path: str | os.PathLike[str], gene_ids: Sequence[str]) -> tuple[list[str], Float64[np.ndarray, "v"]]:
    """Read symbol and non-zero median of each gene, from a table with at least ``ensembl_id`` and ``nonzero_median``.

    Parameters
    ----------
    path
        Tab-separated table.
    gene_ids
        Ids of the genes, in the order wanted.

    Raises
    ------
    ValueError
        If a column is missing, or a gene.
    """
    _, table = _read(path, required=("ensembl_id", "nonzero_median"))
    table = table.drop_duplicates("ensembl_id").set_index("ensembl_id")
    missing = [gene for gene in gene_ids if gene not in table.index]
    if missing:
        raise ValueError(
            f"Every gene of the vocabulary needs a median; {os.fspath(path)!r} lacks {len(missing):,} of "
            f"{len(gene_ids):,}, such as {missing[:3]}. Pass the table that belongs to this vocabulary."
        )
    table = table.loc[list(gene_ids)]
    symbols = table["symbol"].tolist() if "symbol" in table.columns else [""] * len(gene_ids)
    return symbols, table["nonzero_median"].to_numpy(np.float64)


def read_table(path: str | os.PathLike[str]) -> tuple[dict[str, str], pd.DataFrame]:
    """Read header entries and rows of a vocabulary table, sorted by token id.

    Parameters
    ----------
    path
        Tab-separated table; the suffix tells whether it is gzipped.

    Raises
    ------
    ValueError
        If a column is missing, or the token ids are not 2, 3, 4, ...
    """
    header, table = _read(path, required=COLUMNS)
    table = table.sort_values("token_id", kind="stable")
    expected = np.arange(FIRST_GENE_ID, FIRST_GENE_ID + len(table))
    wrong = np.flatnonzero(table["token_id"].to_numpy() != expected)
    if len(wrong):
        raise ValueError(
            f"Token ids of genes are {FIRST_GENE_ID}, {FIRST_GENE_ID + 1}, ... without gap or repeat; "
            f"{os.fspath(path)!r} has {table['token_id'].iloc[wrong[0]]} in place of {expected[wrong[0]]}. "
            "Number the genes one after the other."
        )
    return header, table


def _read(path: str | os.PathLike[str], required: Sequence[str]) -> tuple[dict[str, str], pd.DataFrame]:
    """Read a table whose first line may be a comment of ``key=value`` entries."""
    opener = gzip.open if os.fspath(path).endswith(".gz") else open
    with reading(path, "table of genes"):
        stream = opener(path, "rt", encoding="utf-8")
    with stream as lines:
        with reading(path, "table of genes"):
            first = lines.readline()
            comment = first.startswith("#")
            if not comment:
                lines.seek(0)
            columns = (lines.readline() if comment else first).rstrip("\r\n").split("\t")
        missing = [column for column in required if column not in columns]
        if missing:
            raise ValueError(
                f"The table needs the columns {list(required)}; {os.fspath(path)!r} lacks {missing}, it has "
                f"{quoted(columns)}. Rename its columns, tab-separated."
            )
        if not comment:
            lines.readline()
        with reading(path, "table of genes"):
            # quoting=3: a quote is a letter like any other; "NA" and "nan" are names like any other.
            table = pd.read_csv(
                lines, sep="\t", names=columns, quoting=3, keep_default_na=False,
                dtype={"ensembl_id": str, "symbol": str, "token_id": np.int64},
                converters={"nonzero_median": float},  # exact, where pandas' own parser errs in the last digits
            )  # fmt: skip
    entries = (entry.partition("=") for entry in first[1:].split()) if comment else ()
    return {key: value.replace("_", " ") for key, _, value in entries}, table


def write_table(
    path: str | os.PathLike[str],
    gene_ids: Sequence[str],
    symbols: Sequence[str],
    medians: Float64[np.ndarray, "v"],
    species: str,
    fingerprint: str,
) -> None:
    """Write a vocabulary table beside its place, then move it there: no reader ever sees half a file.

    Parameters
    ----------
    path
        Path to write; ``.gz`` compresses.
    gene_ids, symbols, medians
        The genes, in the order of their tokens.
    species, fingerprint
        Species and fingerprint for the first line.
    """
    lines = [f"# species={species.replace(' ', '_')} fingerprint={fingerprint}", "\t".join(COLUMNS)]
    for token_id, (gene, symbol, median) in enumerate(zip(gene_ids, symbols, medians.tolist()), start=FIRST_GENE_ID):
        lines.append(f"{token_id}\t{gene}\t{symbol}\t{median!r}")
    content = ("\n".join(lines) + "\n").encode()
    target = Path(path)
    if target.suffix == ".gz":
        # No time stamp, so that equal vocabularies are equal files.
        content = gzip.compress(content, mtime=0)
    with replacing_file(target) as temporary:
        temporary.write_bytes(content)


def check_fingerprint(stated: str | None, actual: str, where: str) -> None:
    """Refuse a vocabulary that is not the one it says it is.

    Parameters
    ----------
    stated
        Fingerprint that was stored with it; None is not checked.
    actual
        Fingerprint of its genes and medians.
    where
        Name of the file, for the message.

    Raises
    ------
    ValueError
        If they differ.
    """
    if stated is not None and stated != actual:
        raise ValueError(
            f"Genes and medians must be those of the stored fingerprint; {where} says {stated[:12]}, its content has "
            f"{actual[:12]}. It was changed or cut: restore it, or drop the fingerprint if the change is meant."
        )
