"""Advise what to do when the genes of a file do not match, from the looks of their names and the rest of ``var``."""

import re

import pandas as pd

from genemamba_sc.data.cells._gene_columns import VAR_NAMES
from genemamba_sc.data.genes._gene_aliases import GeneAliases
from genemamba_sc.data.genes._gene_match import GeneMatch, match_genes
from genemamba_sc.data.genes._gene_names import UNKNOWN_SPECIES, same_species, strip_version
from genemamba_sc.data.genes._vocabulary import GeneVocabulary

# Another column is worth naming when it matches more columns by this share of all.
_WORTH = 0.02
_TRANSCRIPT = re.compile(r"ENS[A-Z]{0,4}[TP]\d{11}(\.\d+)?")
_INNER_ID = re.compile(r"(?<![A-Z])ENS[A-Z]{0,4}G\d{11}")
_GENOME_PREFIX = re.compile(r"(GRCh\d\d|hg\d\d|GRCm\d\d|mm\d\d?)_+", re.IGNORECASE)


def advise(
    var: pd.DataFrame, match: GeneMatch, vocabulary: GeneVocabulary, aliases: GeneAliases | None = None
) -> tuple[str, ...]:
    """Say what would match more genes.

    Parameters
    ----------
    var
        ``adata.var``.
    match
        How its genes match now.
    vocabulary
        The genes that have tokens.
    aliases
        The table that was used, if any.

    Returns
    -------
    Sentences, the most useful first; the list is empty where nothing is wrong.
    """
    advice = [_better_column(var, match, vocabulary, aliases), _other_species(match, vocabulary)]
    unmatched = len(match.unmatched)
    if unmatched > 0.1 * match.n_vars:
        unusual = _unusual_names(match)
        advice.append(unusual or _other_kind(match, vocabulary))
        are_symbols = match.id_kind in ("symbol", "mixed") and same_species(match.species, vocabulary.species)
        if are_symbols and not unusual and aliases is None:
            advice.append(
                "Some symbols may be older ones: pass aliases=GeneAliases.from_tsv(path), or set the gene_aliases of a "
                "trained model, with a table of aliases and previous symbols (HGNC offers one for human genes)."
            )
    if match.guessed and same_species(match.species, vocabulary.species):
        advice.append(
            f"Several genes of the vocabulary share a symbol, such as {match.guessed[0]!r} "
            f"({len(match.guessed):,} names). The first was taken; "
            "Ensembl ids (gene_id_key) or a table of approved symbols (aliases) settle it."
        )
    return tuple(sentence for sentence in advice if sentence)


def _better_column(var: pd.DataFrame, match: GeneMatch, vocabulary: GeneVocabulary, aliases: GeneAliases | None) -> str:
    """Name the column that matches best, if it matches more."""
    once = var.columns[~var.columns.duplicated(keep=False)]
    keys: list[str | None] = [key for key in once if isinstance(key, str) and _is_text(var[key])]
    others = [key for key in [None, *keys] if (VAR_NAMES if key is None else key) != match.source]
    counts = {key: match_genes(var, vocabulary, gene_id_key=key, aliases=aliases).n_matched for key in others}
    best = max(counts, key=counts.__getitem__, default=None)
    if counts.get(best, 0) <= match.n_matched + _WORTH * match.n_vars:
        return ""
    return (
        f"Pass gene_id_key={best!r}{' (adata.var_names)' if best is None else ''}: there {counts[best]:,} of "
        f"{match.n_vars:,} names match, in {match.source} {match.n_matched:,}. For the query of a trained model, put "
        f"them where it looks: {_as_code(match.source)} = {_as_code(VAR_NAMES if best is None else best)}."
    )


def _as_code(source: str) -> str:
    """Write a location of names as Python does."""
    return "adata.var_names" if source == VAR_NAMES else f"adata.var[{source!r}]"


def _is_text(column: pd.Series) -> bool:
    """Tell a column of names from one of numbers or flags."""
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    return pd.api.types.is_string_dtype(values.dtype) or pd.api.types.is_object_dtype(values.dtype)


def _other_species(match: GeneMatch, vocabulary: GeneVocabulary) -> str:
    """Say that the genes are of another species."""
    if same_species(match.species, vocabulary.species):
        return ""
    return (
        f"The names look like {match.species} genes, the vocabulary holds {vocabulary.species} genes. Genes of two "
        "species are never matched by their letters: map yours to one-to-one orthologues (Ensembl BioMart has them), "
        f"put the {vocabulary.species} ids into a column of adata.var and name it with gene_id_key, or train on your "
        "own vocabulary."
    )


def _unusual_names(match: GeneMatch) -> str:
    """Recognise names that do not name genes."""
    names = match.unmatched

    def most(pattern: re.Pattern[str]) -> bool:
        return sum(pattern.match(name) is not None for name in names) > 0.5 * len(names)

    if sum(name.isdigit() for name in names) > 0.5 * len(names):
        return (
            "The names are numbers (of rows, or Entrez ids): name a column of Ensembl ids or symbols with gene_id_key."
        )
    if most(_TRANSCRIPT):
        return (
            "The names are Ensembl transcripts or proteins: add the counts of each gene's transcripts and use gene ids."
        )
    if most(_GENOME_PREFIX):
        return (
            f"The names begin with a genome, such as {names[0]!r}: remove the prefix, and the cells of other genomes."
        )
    if sum(strip_version(name) is None and _INNER_ID.search(name) is not None for name in names) > 0.5 * len(names):
        return (
            f"The names hold an Ensembl id inside a longer text, such as {names[0]!r}: put the id alone into a column."
        )
    return ""


def _other_kind(match: GeneMatch, vocabulary: GeneVocabulary) -> str:
    """Say that one side has ids and the other symbols."""
    if match.id_kind in ("symbol", "alias") and not vocabulary.token_of_symbol:
        return (
            "The vocabulary holds ids without symbols: name a column of Ensembl ids with gene_id_key, or pass "
            "aliases= with a table of symbols and Ensembl ids."
        )
    # Files of symbols name the genes that have none by their id.
    n_ids = sum(strip_version(gene) is not None for gene in vocabulary.gene_ids)
    if match.id_kind.startswith("ensembl") and n_ids < 0.5 * vocabulary.n_genes:
        return (
            f"The vocabulary holds symbols and {f'{n_ids:,}' if n_ids else 'no'} Ensembl ids: name a column of symbols "
            "with gene_id_key, or pass aliases= with a table of symbols and Ensembl ids."
        )
    if match.species == UNKNOWN_SPECIES and match.n_matched < 0.5 * match.n_vars:
        return f"Upper and lower case count in symbols; the vocabulary spells them as in {vocabulary.species}."
    return ""
