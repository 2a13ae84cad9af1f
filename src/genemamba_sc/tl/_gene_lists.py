"""Find the tokens of genes that a user names."""

import difflib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import GeneVocabulary

# Names that a message lists, and the nearest names it offers for each.
_LISTED, _OFFERED = 3, 3


def tokens_of_genes(vocabulary: GeneVocabulary, genes: Sequence[str]) -> Int[np.ndarray, "m"]:
    """Find the token ids of genes; a gene that is named twice counts once.

    Parameters
    ----------
    vocabulary
        The genes of the model.
    genes
        Ids or symbols.

    Raises
    ------
    TypeError
        If they are not a list of names.
    ValueError
        If there are none, or the vocabulary lacks one; the message offers the nearest names.
    """
    names = [genes] if isinstance(genes, str) else list(genes)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"genes must be names. Got {wrong[0]!r}. Pass ids or symbols, such as ['CD3E'].")
    if not names:
        raise ValueError("At least one gene is needed. Got none. Pass ids or symbols, such as ['CD3E'].")
    tokens, unknown = {}, []
    for name in names:
        try:
            tokens[vocabulary.token_of(name)] = name
        except KeyError:
            unknown.append(name)
    if unknown:
        listed = "; ".join(_nearest(name, vocabulary) for name in unknown[:_LISTED])
        raise ValueError(
            f"Genes must be in the vocabulary of {vocabulary.n_genes:,} genes. It lacks {len(unknown)} of "
            f"{len(names)}: {listed}{'; ...' if len(unknown) > _LISTED else ''}. Correct them, or leave them out."
        )
    return np.fromiter(tokens, dtype=np.int64)


def names_of_tokens(vocabulary: GeneVocabulary, tokens: Int[np.ndarray, "m"]) -> tuple[list[str], list[str]]:
    """Return ids and symbols of genes; where a gene has no symbol, its id stands for it.

    Parameters
    ----------
    vocabulary
        The genes of the model.
    tokens
        Token ids of genes.
    """
    numbers = (tokens - FIRST_GENE_ID).tolist()
    ids = [vocabulary.gene_ids[i] for i in numbers]
    return ids, [vocabulary.symbols[i] or gene for i, gene in zip(numbers, ids)]


def _nearest(name: str, vocabulary: GeneVocabulary) -> str:
    known = [*vocabulary.token_of_symbol, *vocabulary.token_of_id]
    # Letters of the other case are the commonest mistake, and far apart for a comparison of strings.
    upper = {other.upper(): other for other in reversed(known)}
    found = [upper[match] for match in difflib.get_close_matches(name.upper(), upper, _OFFERED)]
    return f"{name!r} (nearest: {', '.join(map(repr, found))})" if found else f"{name!r} (nothing is near)"
