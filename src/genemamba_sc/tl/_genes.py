"""Find genes by the names that users write, and name them as users read them."""

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float32, Int, Int64

from genemamba_sc._constants import FIRST_GENE_ID, UNK_ID
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.data.genes._gene_lists import find_tokens, shared_names
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._cells import require_model
from genemamba_sc.tl._names import unambiguous

# Number of unknown genes that get suggestions: comparing a name with 25,000 others takes a tenth of a second.
_MOST_SUGGESTED = 3


def find_genes(model: GeneMambaModel, names: str | Sequence[str]) -> Int64[np.ndarray, "n"]:
    """Find the position of each gene in the vocabulary.

    Parameters
    ----------
    model
        Model whose vocabulary and table of aliases are searched.
    names
        Ensembl ids (with or without version), symbols, or names that ``model.gene_aliases`` knows.

    Returns
    -------
    Numbers of the genes, shape (n,), counted from 0 in the order of ``vocabulary.gene_ids``.

    Raises
    ------
    TypeError
        If the model is none, or a name is no text.
    ValueError
        If no gene is named, a gene is named twice, the vocabulary lacks one, or several of its genes share a symbol.
        The message offers similar names, or the ids of these genes.
    """
    require_model(model)
    if not isinstance(names, Iterable):
        raise TypeError(
            f"Genes are named by a list of texts. Got {type(names).__name__}. Pass symbols or Ensembl ids, such as "
            "'CD3E'."
        )
    wanted = [str(name) if isinstance(name, str) else name for name in ([names] if isinstance(names, str) else names)]
    if odd := [name for name in wanted if not isinstance(name, str)]:
        raise TypeError(f"Genes are named by text. Got {odd[0]!r}. Pass symbols or Ensembl ids, such as 'CD3E'.")
    if not wanted:
        raise ValueError("At least one gene is needed. Got an empty list. Pass symbols or Ensembl ids, such as 'CD3E'.")
    found = find_tokens(wanted, model.vocabulary, model.gene_aliases).astype(np.int64)
    if (found == UNK_ID).any():
        _refuse_unknown([name for name, token in zip(wanted, found) if token == UNK_ID], model.vocabulary)
    if shared := shared_names(wanted, model.vocabulary, model.gene_aliases):
        _refuse_shared(shared[0], model.vocabulary)
    _refuse_repeated(wanted, found)
    return found - FIRST_GENE_ID


def known_genes(model: GeneMambaModel, names: Sequence[str]) -> list[str]:
    """Return the names that the vocabulary has, the first one of each gene; not those that several genes share.

    Parameters
    ----------
    model
        Model whose vocabulary and table of aliases are searched.
    names
        Names of genes, as in :func:`find_genes`, each once.
    """
    first: dict[int, str] = {}
    shared = set(shared_names(names, model.vocabulary, model.gene_aliases))
    for name, token in zip(names, find_tokens(names, model.vocabulary, model.gene_aliases).tolist()):
        if token != UNK_ID and name not in shared:
            first.setdefault(token, name)
    return list(first.values())


def gene_labels(vocabulary: GeneVocabulary) -> list[str]:
    """Name each gene by its symbol, or by its id where it has none or shares it with another gene."""
    return unambiguous(vocabulary.gene_ids, vocabulary.symbols)


def ids_and_symbols(vocabulary: GeneVocabulary, tokens: Int[np.ndarray, "m"]) -> tuple[list[str], list[str]]:
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


def gene_table(model: GeneMambaModel) -> Float32[np.ndarray, "n d"]:
    """Return the row of each gene in the table of a trained model, in the order of the vocabulary.

    Parameters
    ----------
    model
        The model.

    Raises
    ------
    RuntimeError
        If the model is not trained: its table is noise.
    """
    require_model(model)
    if not model.is_trained:
        raise RuntimeError("The model is not trained. Call train(), or load() a trained one, before comparing genes.")
    return model.get_gene_embeddings().to_numpy()


def _refuse_unknown(unknown: list[str], vocabulary: GeneVocabulary) -> None:
    hints = [_similar(name, vocabulary) for name in unknown[:_MOST_SUGGESTED]]
    told = "; ".join(f"{name!r} ({hint})" for name, hint in zip(unknown, hints))
    more = f" and {len(unknown) - _MOST_SUGGESTED:,} more" if len(unknown) > _MOST_SUGGESTED else ""
    raise ValueError(
        f"Genes must be in the model's vocabulary of {vocabulary.n_genes:,} {vocabulary.species} genes. "
        f"Not in it: {told}{more}. Use names of model.vocabulary, or set "
        "model.gene_aliases to a table of older symbols (gm.GeneAliases.from_tsv)."
    )


def _refuse_shared(name: str, vocabulary: GeneVocabulary) -> None:
    ids = [gene for gene, symbol in zip(vocabulary.gene_ids, vocabulary.symbols) if symbol == name]
    raise ValueError(
        f"A name must mean one gene. Got {name!r}, the symbol of {len(ids)} genes of the vocabulary: {ids}. Name one "
        "of these ids."
    )


def _similar(name: str, vocabulary: GeneVocabulary) -> str:
    known = {text.upper(): text for text in (*vocabulary.gene_ids, *vocabulary.symbols) if text}
    close = difflib.get_close_matches(name.upper(), known, n=3, cutoff=0.6)
    return "similar: " + ", ".join(known[text] for text in close) if close else "nothing similar"


def _refuse_repeated(names: list[str], tokens: Int64[np.ndarray, "n"]) -> None:
    first: dict[int, str] = {}
    for name, token in zip(names, tokens.tolist()):
        if token in first:
            raise ValueError(
                f"Each gene can be named once. Got {first[token]!r} and {name!r}, which are one gene. Leave one out."
            )
        first[token] = name
