"""Interpret names of genes: Ensembl ids with and without version, symbols, and the species they tell."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from genemamba_sc._constants import CLS_TOKEN, MASK_TOKEN, PAD_TOKEN, UNK_TOKEN

UNKNOWN_SPECIES: Final = "unknown"

# The pattern is anchored and has the digits: "ENSA" is a gene symbol, ENST... are transcripts, ENSP... proteins.
_ENSEMBL = re.compile(r"(ENS([A-Z]{0,4})G\d{11})(\.\d+)?(_PAR_Y)?")
# Suffix of the copy of a pseudoautosomal gene on Y, in annotations before Ensembl 111 / GENCODE 25.
_ENSEMBL_PAR_Y = re.compile(r"(ENSGR\d{10})(\.\d+)?")
_RODENT_SYMBOL = re.compile(r"[A-Z][^A-Z]*[a-z][^A-Z]*")
_HUMAN_SYMBOL = re.compile(r"(?=.*[A-Z])[A-Z0-9.\-_/@]+(orf\d+)?[A-Z0-9.\-_]*")

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


def species_of_id(name: str) -> str | None:
    """Tell the species of an Ensembl gene id; ``None`` where ``name`` is none.

    Parameters
    ----------
    name
        Name of a gene.
    """
    match = _ENSEMBL.fullmatch(name) if name.startswith("ENS") else None
    return None if match is None else _SPECIES_OF_PREFIX.get(match.group(2), f"species of ENS{match.group(2)}G")


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
        species = species_of_id(name)
        if species is not None:
            votes[species] += 1
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
