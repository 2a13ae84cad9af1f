"""Find the token of each column of a matrix."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int32

from genemamba_sc._constants import FIRST_GENE_ID, UNK_ID
from genemamba_sc.data.cells._feature_types import other_features
from genemamba_sc.data.cells._gene_columns import VAR_NAMES, identities_of
from genemamba_sc.data.genes._gene_aliases import GeneAliases
from genemamba_sc.data.genes._gene_names import guess_species, par_y_base, strip_version
from genemamba_sc.data.genes._two_species import shares_of_species
from genemamba_sc.data.genes._vocabulary import GeneVocabulary

IdKind = Literal["ensembl", "ensembl_versioned", "symbol", "alias", "mixed"]
MatchedBy = Literal["id", "id without version", "symbol", "symbol as R writes it", "previous symbol", "alias", ""]

# Names are called "mixed" when fewer than this share of them is of one kind.
_PURE = 0.9


@dataclass(frozen=True, eq=False)
class GeneMatch:
    """Hold the token of every column, and how it was found.

    Parameters
    ----------
    token_ids
        Token id of every column, shape ``(n_vars,)``; ``UNK_ID`` where the vocabulary lacks the gene.
    id_kind
        What the names are: Ensembl ids with or without version, symbols, mostly aliases, or a mixture.
    species
        The species that the names suggest; a guess.
    source
        ``"var_names"``, or the column of ``var`` that was read.
    matched_by
        Number of columns found by each rule.
    duplicates
        Gene of the vocabulary -> the columns that name it, where there are several. The tokenizer adds their counts.
    guessed
        Symbols that several genes of the vocabulary share; the first gene was taken.
    unmatched
        The names of genes without a token, in the order of ``var``.
    is_gene
        Mask of the columns that are gene expression, shape ``(n_vars,)``; the others (antibodies, spike-ins) have no
        token and are not counted.
    species_shares
        Species -> share of the genes whose names tell it.
    """

    token_ids: Int32[np.ndarray, "n_vars"]
    id_kind: IdKind
    species: str
    source: str
    matched_by: dict[str, int]
    duplicates: dict[str, tuple[str, ...]] = field(repr=False)
    guessed: tuple[str, ...] = field(repr=False)
    unmatched: tuple[str, ...] = field(repr=False)
    is_gene: Bool[np.ndarray, "n_vars"] = field(repr=False)
    species_shares: dict[str, float] = field(repr=False)

    @property
    def n_vars(self) -> int:
        """Number of columns that are gene expression."""
        return int(self.is_gene.sum())

    @property
    def n_matched(self) -> int:
        """Number of these columns with a token."""
        return self.n_vars - len(self.unmatched)


def match_genes(
    var: pd.DataFrame,
    vocabulary: GeneVocabulary,
    *,
    gene_id_key: str | None = None,
    aliases: GeneAliases | None = None,
) -> GeneMatch:
    """Find the token of every column that is gene expression.

    The first rule that holds decides: the id as it stands; the Ensembl id without its version; the symbol, exactly
    (``Cd3e`` is not ``CD3E``: a mouse gene is not the human gene of the same letters), then as R's ``make.names``
    spells it (``HLA.A`` for ``HLA-A``) where no other column has the gene; then the alias table, its approved symbols
    before previous symbols before aliases. An older name is used only where no other column has the gene by a newer
    name, because two columns of one annotation are mostly two genes. Where several genes of the vocabulary share a
    symbol, the table's Ensembl id decides, else the first gene (see ``guessed``).

    Parameters
    ----------
    var
        ``adata.var``, ``n_vars`` rows.
    vocabulary
        The genes that have tokens.
    gene_id_key
        Column of ``var`` with the gene names; None reads the index.
    aliases
        Table of older names; None uses none.

    Returns
    -------
    The match. It never fails for lack of matches (``check_genes`` does).

    Raises
    ------
    ValueError
        If ``var`` has no column ``gene_id_key``, the names are mere row numbers, or no column is gene expression.
    """
    is_gene = ~other_features(var)[0]
    names = [name for name, is_one in zip(identities_of(var, gene_id_key), is_gene) if is_one]
    found, rules, guessed = match_names(names, vocabulary, aliases)
    token_ids = np.full(len(is_gene), UNK_ID, dtype=np.int32)
    token_ids[is_gene] = found
    columns: dict[int, list[str]] = defaultdict(list)
    for name, token in zip(names, found):
        if token != UNK_ID:
            columns[int(token)].append(name)
    return GeneMatch(
        token_ids=token_ids,
        id_kind=_kind_of(names, rules),
        species=guess_species(names),
        source=VAR_NAMES if gene_id_key is None else gene_id_key,
        matched_by=dict(Counter(rule for rule in rules if rule)),
        duplicates={
            vocabulary.gene_ids[token - FIRST_GENE_ID]: tuple(same) for token, same in columns.items() if len(same) > 1
        },
        guessed=guessed,
        unmatched=tuple(name for name, rule in zip(names, rules) if not rule),
        is_gene=is_gene,
        species_shares=shares_of_species(names),
    )


def match_names(
    names: list[str], vocabulary: GeneVocabulary, aliases: GeneAliases | None
) -> tuple[Int32[np.ndarray, "n_vars"], list[MatchedBy], tuple[str, ...]]:
    """Find token and rule of every name, by the rules of :func:`match_genes`.

    Parameters
    ----------
    names
        Names of the columns, as :func:`names_of` reads them.
    vocabulary
        The genes that have tokens.
    aliases
        Table of older names; None uses none.

    Returns
    -------
    Token ids and rules, one for each name, and the names whose symbol several genes share.
    """
    shared = {symbol for symbol, n in Counter(vocabulary.symbols).items() if n > 1}
    found, guessed = [], []
    for name in names:
        token, rule = _find(name, vocabulary)
        if rule == "symbol" and name in shared:
            approved = aliases and aliases.resolve(name)
            if approved and approved.kind == "approved" and approved.ensembl_id in vocabulary.token_of_id:
                token = vocabulary.token_of_id[approved.ensembl_id]
            else:
                guessed.append(name)
        found.append((token, rule))
    found = _add_spellings_of_r(names, found, vocabulary)
    if aliases is not None:
        found = _add_older_names(names, found, vocabulary, aliases)
    token_ids = np.fromiter((token for token, _ in found), dtype=np.int32, count=len(found))
    return token_ids, [rule for _, rule in found], tuple(guessed)


def _find(name: str, vocabulary: GeneVocabulary) -> tuple[int, MatchedBy]:
    """Find the token of a name by the vocabulary alone."""
    token = vocabulary.token_of_id.get(name)
    if token is not None:
        return token, "id"
    identifier = strip_version(name)
    if identifier is not None:
        for candidate in (identifier, par_y_base(identifier) or identifier):
            if candidate in vocabulary.token_of_id:
                return vocabulary.token_of_id[candidate], "id without version"
    token = vocabulary.token_of_symbol.get(name)
    return (UNK_ID, "") if token is None else (token, "symbol")


def _add_spellings_of_r(
    names: list[str], found: list[tuple[int, MatchedBy]], vocabulary: GeneVocabulary
) -> list[tuple[int, MatchedBy]]:
    """Fill gaps where one of two spellings is that of R's ``make.names``: dots for other characters, X before a digit.

    Either side may have been through R. A spelling of R that several symbols of the other side have says nothing.
    """
    gaps = [name for name, (_, rule) in zip(names, found) if not rule]
    taken = {token for token, _ in found}
    by_r = _spelt_by_r(vocabulary.token_of_symbol, (name for name in gaps if "." in name or name[:1] == "X"), taken)
    through_r = Counter(_make_names(name) for name in set(gaps) if _make_names(name) != name)
    for name in gaps:
        spelt = _make_names(name)
        token = vocabulary.token_of_symbol.get(spelt, vocabulary.token_of_id.get(spelt))
        if through_r[spelt] == 1 and token is not None and token not in taken:
            by_r[name] = token
    return [
        (by_r[name], "symbol as R writes it") if not match[1] and name in by_r else match
        for name, match in zip(names, found)
    ]


def _spelt_by_r(token_of_symbol: Mapping[str, int], names: Iterable[str], taken: set[int]) -> dict[str, int]:
    """Find the tokens of names that R wrote, where one symbol only has this spelling and no other column has it."""
    wanted = set(names)
    if not wanted:
        return {}
    spelt: dict[str, set[int]] = defaultdict(set)
    for symbol, token in token_of_symbol.items():
        if _make_names(symbol) in wanted and _make_names(symbol) != symbol:
            spelt[_make_names(symbol)].add(token)
    return {name: next(iter(tokens)) for name, tokens in spelt.items() if len(tokens) == 1 and not tokens & taken}


def _make_names(symbol: str) -> str:
    spelt = re.sub(r"[^A-Za-z0-9._]", ".", symbol)
    return f"X{spelt}" if spelt[:1].isdigit() else spelt


def _add_older_names(
    names: list[str], found: list[tuple[int, MatchedBy]], vocabulary: GeneVocabulary, aliases: GeneAliases
) -> list[tuple[int, MatchedBy]]:
    """Fill the gaps from the table, where no other column holds the gene by the name in use."""
    by_table = [match if match[1] else _find_by_table(name, vocabulary, aliases) for name, match in zip(names, found)]
    taken: set[int] = set()
    for rules in (("id", "id without version", "symbol", "symbol as R writes it"), ("previous symbol",), ("alias",)):
        candidates = {token for token, rule in by_table if rule in rules}
        # Columns of one rank may share a gene; those of a lower rank may not join them.
        lost = taken & candidates
        by_table = [(UNK_ID, "") if rule in rules and token in lost else (token, rule) for token, rule in by_table]
        taken |= candidates
    return by_table


def _find_by_table(name: str, vocabulary: GeneVocabulary, aliases: GeneAliases) -> tuple[int, MatchedBy]:
    """Find the token of a name that only the table knows."""
    record = aliases.resolve(name)
    if record is None:
        return UNK_ID, ""
    token = vocabulary.token_of_id.get(record.ensembl_id, vocabulary.token_of_symbol.get(record.symbol))
    if token is None:
        return UNK_ID, ""
    rules: dict[str, MatchedBy] = {"approved": "symbol", "previous": "previous symbol", "alias": "alias"}
    return token, rules[record.kind]


def _kind_of(names: list[str], rules: list[MatchedBy]) -> IdKind:
    """Say what kind most names are."""
    if not names:
        return "mixed"
    stripped = [strip_version(name) for name in names]
    n_ensembl = sum(base is not None for base in stripped)
    n_versioned = sum(base is not None and base != name for base, name in zip(stripped, names))
    if n_ensembl >= _PURE * len(names):
        return "ensembl_versioned" if 2 * n_versioned > n_ensembl else "ensembl"
    if n_ensembl > (1 - _PURE) * len(names):
        return "mixed"
    n_older = sum(rule in ("previous symbol", "alias") for rule in rules)
    return "alias" if n_older > sum(rule == "symbol" for rule in rules) else "symbol"
