"""Interpret names of genes: Ensembl ids with and without version, symbols, and the species they tell."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import pandas as pd

from genemamba_sc._constants import CLS_TOKEN, MASK_TOKEN, PAD_TOKEN, UNK_TOKEN

VAR_NAMES: Final = "var_names"
UNKNOWN_SPECIES: Final = "unknown"

# The pattern is anchored and has the digits: "ENSA" is a gene symbol, ENST... are transcripts, ENSP... proteins.
_ENSEMBL = re.compile(r"(ENS([A-Z]{0,4})G\d{11})(\.\d+)?(_PAR_Y)?")
# Suffix of the copy of a pseudoautosomal gene on Y, in annotations before Ensembl 111 / GENCODE 25.
_ENSEMBL_PAR_Y = re.compile(r"(ENSGR\d{10})(\.\d+)?")
_RODENT_SYMBOL = re.compile(r"[A-Z][^A-Z]*[a-z][^A-Z]*")
_HUMAN_SYMBOL = re.compile(r"(?=.*[A-Z])[A-Z0-9.\-_/@]+(orf\d+)?[A-Z0-9.\-_]*")
# This many names can be 0, 1, 2, ... by accident.
_LEAST_NUMBERED = 3
# Texts that a missing value becomes once somebody has turned it into text.
_MISSING: Final = frozenset({"", "nan", "NaN", "None", "NA", "<NA>"})

_SPECIES_OF_PREFIX: Final = {
    "": "human",
    "MUS": "mouse",
    "RNO": "rat",
    "DAR": "zebrafish",
    "SSC": "pig",
    "BTA": "cow",
    "OAR": "sheep",
    "CAF": "dog",
    "GAL": "chicken",
    "MMU": "macaque",
    "MFA": "crab-eating macaque",
    "PTR": "chimpanzee",
    "CJA": "marmoset",
    "OCU": "rabbit",
    "XET": "frog",
}


def strip_version(name: str) -> str | None:
    """Strip the version of an Ensembl gene id; return None where ``name`` is no Ensembl gene id.

    ``ENSG00000141510.17`` -> ``ENSG00000141510``; ``ENSG00000182378.15_PAR_Y`` -> ``ENSG00000182378`` (the same gene).

    Parameters
    ----------
    name
        Any gene name.
    """
    match = _ENSEMBL.fullmatch(name) or _ENSEMBL_PAR_Y.fullmatch(name)
    return None if match is None else match.group(1)


def par_y_base(name: str) -> str | None:
    """Find the gene on X of an old pseudoautosomal id: ``ENSGR0000182378`` -> ``ENSG00000182378``."""
    match = _ENSEMBL_PAR_Y.fullmatch(name)
    return None if match is None else f"ENSG0{match.group(1)[5:]}"


def guess_species(names: Sequence[str]) -> str:
    """Guess the species that most of the names speak for.

    Ensembl ids decide by their prefix; without them, the case of the symbols does: ``CD3E`` is human style, ``Cd3e`` is
    mouse or rat. The guess is for reports; nothing is matched by it.

    Parameters
    ----------
    names
        Gene names.

    Returns
    -------
    ``"human"``, ``"mouse"``, ``"mouse or rat"``, ..., or ``"unknown"``.
    """
    votes: Counter[str] = Counter()
    symbols: Counter[str] = Counter()
    for name in names:
        match = _ENSEMBL.fullmatch(name)
        if match is not None:
            votes[_SPECIES_OF_PREFIX.get(match.group(2), f"species of ENS{match.group(2)}G")] += 1
        elif _HUMAN_SYMBOL.fullmatch(name):
            symbols["human"] += 1
        elif _RODENT_SYMBOL.fullmatch(name):
            symbols["mouse or rat"] += 1
        else:
            symbols[UNKNOWN_SPECIES] += 1
    # Files with symbols name their nameless genes by Ensembl id: a few ids settle the species.
    tally = votes if votes.total() >= max(1, 0.05 * symbols.total()) else symbols
    if not tally:
        return UNKNOWN_SPECIES
    species, n = tally.most_common(1)[0]
    return species if n > 0.5 * tally.total() else UNKNOWN_SPECIES


def same_species(a: str, b: str) -> bool:
    """Tell whether two guesses can mean the same species; ``"unknown"`` can mean any."""
    return UNKNOWN_SPECIES in (a, b) or bool(set(a.split(" or ")) & set(b.split(" or ")))


def names_of(var: pd.DataFrame, key: str | None = None, *, argument: str = "gene_id_key") -> list[str]:
    """Read the names of the genes as text, one per row of ``var``; ``""`` where a name is missing.

    Parameters
    ----------
    var
        The table of genes, ``n_vars`` rows.
    key
        Column to read; None reads the index.
    argument
        Name of the caller's argument for ``key``, for the message.

    Raises
    ------
    ValueError
        If ``var`` has no such column, or several.
    """
    if key is None:
        return [_as_name(name) for name in var.index]
    if key not in var.columns:
        have = ", ".join(repr(str(column)) for column in var.columns) or "none"
        raise ValueError(
            f"{argument} must name a column of adata.var; got {key!r}, the columns are: {have}. "
            f"Pass one of these, or {argument}=None to read adata.var_names."
        )
    return [_as_name(name) for name in only_column(var, key)]


def only_column(var: pd.DataFrame, key: str) -> pd.Series:
    """Return the column ``key`` of ``var``, which must be one.

    Raises
    ------
    ValueError
        If there are several of that name, as ``pd.concat(axis=1)`` leaves them: pandas then gives a table.
    """
    column = var[key]
    if isinstance(column, pd.Series):
        return column
    raise ValueError(
        f"{key!r} must name one column of adata.var; it has {column.shape[1]} of that name. Keep the first of each: "
        "adata.var = adata.var.loc[:, ~adata.var.columns.duplicated()]."
    )


def identities_of(var: pd.DataFrame, key: str | None = None) -> list[str]:
    """Read names that identify genes; refuse mere row numbers, which every file has.

    Parameters
    ----------
    var
        The table of genes, ``n_vars`` rows.
    key
        Column to read; None reads the index.

    Raises
    ------
    ValueError
        If ``var`` has no such column, or the names are 0, 1, 2, ... or 1, 2, 3, ...: two files that number their genes
        would be matched by position, whatever their genes are.
    """
    names = names_of(var, key)
    if len(names) < _LEAST_NUMBERED or not _are_row_numbers(names):
        return names
    source = VAR_NAMES if key is None else f"var[{key!r}]"
    once = var.loc[:, ~var.columns.duplicated()]
    others = [repr(column) for column in once.columns if column != key and _may_name(once[column])]
    way_out = (
        f"Pass gene_id_key= with the column that names them; of adata.var these hold text: {', '.join(others[:5])}."
        if others
        else "Put Ensembl ids or symbols into adata.var_names; adata.var has no column of text that could serve."
    )
    raise ValueError(
        f"Genes are known by their names; those in {source} are only the numbers of the rows ({names[0]} to "
        f"{names[-1]}), so the same gene of another file could not be found. {way_out}"
    )


def _are_row_numbers(names: Sequence[str]) -> bool:
    first = names[0]
    return first in ("0", "1") and all(name == str(i) for i, name in enumerate(names, start=int(first)))


def _may_name(column: pd.Series) -> bool:
    """Tell whether a column may name genes: text, nearly all different, and not row numbers again."""
    values = column.astype(str)
    return values.nunique() > 0.9 * len(values) and not values.str.fullmatch(r"[\d.eE+-]*|nan|None").any()


def check_gene_ids(gene_ids: Sequence[str]) -> None:
    """Refuse gene ids that cannot name tokens.

    Parameters
    ----------
    gene_ids
        Ids of the genes of a vocabulary.

    Raises
    ------
    ValueError
        If an id is empty, repeated, a special token, has a tab or line end, or an Ensembl version.
    """
    special = (UNK_TOKEN, PAD_TOKEN, CLS_TOKEN, MASK_TOKEN)
    seen: set[str] = set()
    for gene in gene_ids:
        if not gene or gene in special or any(letter in gene for letter in "\t\r\n"):
            raise ValueError(
                f"A gene id is a name without tab or line end, and no special token {special}; got {gene!r}. "
                "Leave genes without a name out; special tokens are added by the vocabulary itself."
            )
        if (bare := strip_version(gene)) not in (None, gene):
            raise ValueError(f"An Ensembl id in a vocabulary carries no version; got {gene!r}. Write {bare!r}.")
        if gene in seen:
            raise ValueError(f"Gene ids are unique; {gene!r} occurs more than once. Merge the genes of one id.")
        seen.add(gene)


def _as_name(value: object) -> str:
    """Turn one cell of a table into a gene name."""
    if isinstance(value, bytes):
        value = value.decode()
    # NaN is the only value that differs from itself; None and pandas' NA turn into a word of _MISSING.
    if isinstance(value, float) and value != value:
        return ""
    text = str(value).strip()
    return "" if text in _MISSING else text
