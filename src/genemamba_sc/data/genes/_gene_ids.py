"""Check gene names: which genes of a file a vocabulary knows, how much of the counts, and what to do."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float64

from genemamba_sc._constants import UNK_ID
from genemamba_sc._warn import warn
from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._expression import Expression, Scale, to_linear
from genemamba_sc.data.cells._matrix import open_matrix
from genemamba_sc.data.cells._scale_check import naming_rows, refuse_unrankable
from genemamba_sc.data.genes._gene_advice import advise
from genemamba_sc.data.genes._gene_aliases import GeneAliases, GeneRecord
from genemamba_sc.data.genes._gene_match import GeneMatch, match_genes
from genemamba_sc.data.genes._gene_names import same_species
from genemamba_sc.data.genes._medians import spread
from genemamba_sc.data.genes._two_species import warn_of_two_species
from genemamba_sc.data.genes._vocabulary import GeneVocabulary

__all__ = ["GeneAliases", "GeneMatch", "GeneRecord", "GeneReport", "check_genes", "match_genes", "require_match"]

# The share of counts hardly changes beyond this number of cells.
_CELLS = 10_000
_BLOCK = 4096
_QUICK = 512
# Below this share of genes, matches with another species are accidents: mouse and human both have a "C3" and an "H19".
_CHANCE = 0.05


@dataclass(frozen=True)
class GeneReport:
    """Report how well the genes of a file match a vocabulary; ``print`` shows it.

    Parameters
    ----------
    n_vars, n_matched
        Number of columns that are gene expression, and of those with a token.
    share_of_counts
        Share of all counts (on the linear scale) that lie in columns with a token, 0 to 1.
    id_kind, species, source
        What kind the names are, and where they were read, as in ``GeneMatch``.
    matched_by
        Number of columns found by each rule.
    vocabulary
        Size and species of the vocabulary, in words.
    duplicates
        Gene -> columns, where several columns name one gene; their counts are added.
    examples
        Names without a token, those with the most counts first.
    advice
        What would match more genes.
    expression
        The scale of the values, and on what evidence; None where it was not examined.
    left_out
        Kinds of columns that are not gene expression, and how many columns of each there are.
    """

    n_vars: int
    n_matched: int
    share_of_counts: float
    id_kind: str
    species: str
    source: str
    matched_by: dict[str, int]
    vocabulary: str
    duplicates: dict[str, tuple[str, ...]] = field(repr=False)
    examples: tuple[str, ...]
    advice: tuple[str, ...]
    expression: Expression | None = None
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def share_of_genes(self) -> float:
        """Share of the columns that have a token, 0 to 1."""
        return self.n_matched / max(1, self.n_vars)

    def __str__(self) -> str:
        rules = ", ".join(f"{n:,} by {rule}" for rule, n in self.matched_by.items()) or "none"
        lines = [
            f"Genes with a token   {self.n_matched:,} of {self.n_vars:,} ({self.share_of_genes:.1%}), "
            f"with {self.share_of_counts:.1%} of the counts",
            f"Names                {self.source}: {self.id_kind}, {self.species}; found {rules}",
            f"Vocabulary           {self.vocabulary}",
        ]
        if self.expression is not None:
            lines.append(f"Values               {self.expression.kind}: {self.expression.reason}")
        if self.left_out:
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.left_out.items())
            lines.append(f"No gene expression   {kinds}: left out")
        if self.duplicates:
            gene, columns = next(iter(self.duplicates.items()))
            lines.append(
                f"Several columns      on {len(self.duplicates):,} genes (counts are added), such as {gene}: "
                f"{', '.join(columns)}"
            )
        if self.examples:
            lines.append(f"Without a token      {self.n_vars - self.n_matched:,}, such as {', '.join(self.examples)}")
        return "\n".join(lines + [f"Advice               {sentence}" for sentence in self.advice])


def check_genes(
    adata: AnnData,
    vocabulary: GeneVocabulary,
    *,
    layer: str | None = None,
    gene_id_key: str | None = None,
    aliases: GeneAliases | None = None,
    warn_below: float | int = 0.5,
    scale: Scale | None = None,
) -> GeneReport:
    """Report how well the genes of a file match a vocabulary, and refuse a file that does not match.

    Parameters
    ----------
    adata
        The cells; nothing is written to them.
    vocabulary
        The genes that have tokens.
    layer
        Layer with the counts; None reads ``X``.
    gene_id_key
        Column of ``adata.var`` with the gene names; None reads ``adata.var_names``.
    aliases
        Table of older names; None uses none.
    warn_below
        Share of the counts with a token below which a warning is given.
    scale
        What the values are: ``"counts"``; ``"normalised"`` (CP10k, CPM, TPM, corrected counts); ``"log1p"``,
        ``"log2"`` or ``"log10"`` of one plus such values. None detects it.

    Returns
    -------
    The report. Shares of counts are those of at most 10,000 evenly spaced cells.

    Raises
    ------
    TypeError
        If ``vocabulary`` is none.
    ValueError
        If no gene matches, or the names are those of another species and match by chance only;
        if a column or layer is missing, or the matrix cannot be read as expression.

    Warns
    -----
    UserWarning
        If the share of counts is below ``warn_below``.
    """
    if not isinstance(vocabulary, GeneVocabulary):
        raise TypeError(
            f"vocabulary must be a GeneVocabulary. Got {type(vocabulary).__name__}. Pass model.vocabulary, or "
            'gm.read_pretrained("mini").vocabulary.'
        )
    if not 0.0 <= warn_below <= 1.0:
        raise ValueError(f"warn_below is a share of the counts, from 0 to 1; got {warn_below}. Pass 0 for no warning.")
    matrix = open_matrix(adata, layer, scale)
    match = match_genes(adata.var, vocabulary, gene_id_key=gene_id_key, aliases=aliases)
    require_match(adata.var, match, vocabulary, aliases)
    sums = _column_sums(matrix.reader, matrix.expression, _CELLS)
    missing = np.flatnonzero((match.token_ids == UNK_ID) & match.is_gene)
    largest = np.argsort(-sums[missing], kind="stable")[:5]
    report = GeneReport(
        n_vars=match.n_vars,
        n_matched=match.n_matched,
        share_of_counts=float(1.0 - sums[missing].sum() / sums.sum()) if sums.sum() > 0 else 0.0,
        id_kind=match.id_kind,
        species=match.species,
        source=match.source,
        matched_by=match.matched_by,
        vocabulary=_describe(vocabulary),
        duplicates=match.duplicates,
        examples=tuple(match.unmatched[i] for i in largest),
        advice=advise(adata.var, match, vocabulary, aliases),
        expression=matrix.expression,
        left_out=matrix.left_out,
    )
    if report.share_of_counts < warn_below:
        warn(
            f"Only {report.share_of_counts:.1%} of the counts are in genes of the vocabulary (less than warn_below="
            f"{warn_below:.0%}): embeddings will miss much of each cell.\n{report}",
        )
    return report


def require_match(
    var: pd.DataFrame, match: GeneMatch, vocabulary: GeneVocabulary, aliases: GeneAliases | None = None
) -> None:
    """Refuse genes that do not match at all; this is the part of ``check_genes`` that needs no counts.

    Parameters
    ----------
    var
        ``adata.var``.
    match
        How its genes match.
    vocabulary
        The genes that have tokens.
    aliases
        The table that was used, if any.

    Raises
    ------
    ValueError
        If no gene matches, or the names are those of another species and match by chance only.

    Warns
    -----
    UserWarning
        If genes of two species stand beside each other.
    """
    warn_of_two_species(match.species_shares)
    other = not same_species(match.species, vocabulary.species)
    if match.n_matched > (_CHANCE * match.n_vars if other else 0):
        return
    way_out = (
        " ".join(advise(var, match, vocabulary, aliases))
        or "Compare adata.var_names with vocabulary.gene_ids and vocabulary.symbols."
    )
    raise ValueError(
        f"The genes must be in the vocabulary ({_describe(vocabulary)}, such as {', '.join(_examples(vocabulary))}); "
        f"{match.n_matched:,} of {match.n_vars:,} names in {match.source} are. They look like "
        f"{', '.join(repr(name) for name in match.unmatched[:3]) or 'nothing'} ({match.id_kind}, {match.species}). "
        f"{way_out}"
    )


def warn_if_few_genes(match: GeneMatch, vocabulary: GeneVocabulary, warn_below: float = 0.25) -> None:
    """Warn where a query has few of the model's genes, as a query does that was cut down to variable genes.

    Parameters
    ----------
    match
        How the genes of the query match.
    vocabulary
        The genes of the model.
    warn_below
        Share of the genes below which a warning is given.
    """
    n_found = len(np.unique(match.token_ids[match.token_ids != UNK_ID]))
    if n_found < warn_below * vocabulary.n_genes:
        warn(
            f"The query has {n_found:,} of the {vocabulary.n_genes:,} genes of the model (less than {warn_below:.0%}). "
            "If it was cut down to variable genes, pass all genes instead (adata.raw.to_adata(), or the file before "
            "the cut): values are relative to the total of a cell, and markers may be missing. Where it measured no "
            "more, a reference that is cut to the genes of both is often better: model.refit_on_genes(query) trains "
            "such a model.",
        )


def warn_if_few_counts(reader: CellReader, expression: Expression, match: GeneMatch, warn_below: float = 0.5) -> None:
    """Warn where most counts of a query are in genes without a token; only 512 evenly spaced cells are read.

    Parameters
    ----------
    reader, expression
        The cells and their scale.
    match
        How their genes match.
    warn_below
        Share of the counts below which a warning is given.
    """
    sums = _column_sums(reader, expression, _QUICK)
    share = sums[match.token_ids != UNK_ID].sum() / max(sums.sum(), 1e-12)
    if share < warn_below:
        warn(
            f"Only {share:.1%} of the counts are in genes the model knows (less than {warn_below:.0%}): embeddings "
            f"will miss much of each cell. {match.n_matched:,} of {match.n_vars:,} names in {match.source} match "
            f"({match.id_kind}, {match.species}). See gm.check_genes(adata, model.vocabulary) for what would match "
            "more.",
        )


def _describe(vocabulary: GeneVocabulary) -> str:
    """Put size and species into words."""
    return f"{vocabulary.n_genes:,} genes, {vocabulary.species}"


def _examples(vocabulary: GeneVocabulary) -> list[str]:
    """Show two genes with their symbols."""
    pairs = zip(vocabulary.gene_ids[:2], vocabulary.symbols[:2])
    return [f"{gene} = {symbol}" if symbol not in ("", gene) else gene for gene, symbol in pairs]


def _column_sums(reader: CellReader, expression: Expression, limit: int) -> Float64[np.ndarray, "n_vars"]:
    """Add up each column, on the linear scale, over evenly spaced cells."""
    rows = spread(reader.n_obs, limit)
    sums = np.zeros(reader.n_vars)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        with naming_rows(block):
            cells = to_linear(reader.read(block), expression)
            refuse_unrankable(cells)
        sums += np.asarray(cells.sum(axis=0, dtype=np.float64)).ravel()
    return sums
