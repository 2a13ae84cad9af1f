"""Find genes by the names that lists give them: gene sets, pairs of genes, and what users write."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int32

from genemamba_sc._constants import UNK_ID
from genemamba_sc.data.cells._gene_columns import names_of
from genemamba_sc.data.genes._gene_aliases import GeneAliases
from genemamba_sc.data.genes._gene_match import match_names
from genemamba_sc.data.genes._vocabulary import GeneVocabulary


def find_tokens(
    names: Sequence[str], vocabulary: GeneVocabulary, aliases: GeneAliases | None
) -> Int32[np.ndarray, "n"]:
    """Find the token of each name; return ``UNK_ID`` where the vocabulary lacks it.

    Names are found as columns of a matrix are. But two columns are mostly two genes, while a list may call one gene
    by several names: here an older name, or one as R writes it, counts even where another name says the same gene.

    Parameters
    ----------
    names
        Symbols or Ensembl ids.
    vocabulary
        The genes that have tokens.
    aliases
        Table of older symbols; None uses none.
    """
    token_of = dict.fromkeys(names, UNK_ID)
    left = list(token_of)
    while left:
        # Those that a newer name kept from being found are found once that name is no longer among them.
        tokens, _, _ = match_names(names_of(pd.DataFrame(index=left)), vocabulary, aliases)
        token_of |= dict(zip(left, tokens.tolist()))
        still = [name for name in left if token_of[name] == UNK_ID]
        if len(still) == len(left):
            break
        left = still
    return np.array([token_of[name] for name in names], dtype=np.int32)


def shared_names(names: Sequence[str], vocabulary: GeneVocabulary, aliases: GeneAliases | None) -> tuple[str, ...]:
    """Return the names that are the symbol of several genes, where the table of older symbols does not say which.

    Parameters
    ----------
    names, vocabulary, aliases
        As in :func:`find_tokens`, which takes the first of these genes.
    """
    symbols = Counter(vocabulary.symbols)
    asked = [name for name in dict.fromkeys(names) if symbols[name] > 1]
    return match_names(asked, vocabulary, aliases)[2] if asked else ()
