"""Read aliases and previous symbols, from a table in HGNC's layout that the user names."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pandas as pd

from genemamba_sc.data.genes._gene_names import strip_version
from genemamba_sc.data.genes._text_files import reading

NameKind = Literal["approved", "previous", "alias"]


class GeneRecord(NamedTuple):
    """Hold one gene of the table, and how it was found.

    ``symbol`` is the approved symbol, ``ensembl_id`` the id (``""`` where the table has none), ``kind`` how it was
    found.
    """

    symbol: str
    ensembl_id: str
    kind: NameKind


@dataclass(frozen=True, eq=False)
class GeneAliases:
    """Tell which gene a name means, when the name is not the one in use today.

    An approved symbol wins over a previous one, and a previous one over an alias. A previous symbol or alias that
    belongs to several genes is never used. No table is shipped: HGNC offers one for human genes.

    Parameters
    ----------
    records
        Name -> gene, for every name that means one gene.
    by_ensembl
        Ensembl id -> gene.
    ambiguous
        The names that were left out, sorted.
    """

    records: Mapping[str, GeneRecord] = field(repr=False)
    by_ensembl: Mapping[str, GeneRecord] = field(repr=False)
    ambiguous: tuple[str, ...] = field(repr=False, default=())

    @classmethod
    def from_tsv(
        cls,
        path: str | os.PathLike[str],
        *,
        symbol: str = "symbol",
        ensembl_id: str = "ensembl_gene_id",
        alias: str = "alias_symbol",
        previous: str = "prev_symbol",
        separator: str = "|",
    ) -> "GeneAliases":
        """Read a tab-separated table with one row per gene (HGNC's complete set, or a part of it).

        Parameters
        ----------
        path
            Path of the table; the suffix tells its compression.
        symbol, ensembl_id, alias, previous
            Names of its columns.
        separator
            Text that separates several aliases in one cell.

        Raises
        ------
        ValueError
            If it is damaged, or a column is missing.
        """
        with reading(path, "table of aliases"):
            table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        missing = [column for column in (symbol, ensembl_id, alias, previous) if column not in table.columns]
        if missing:
            raise ValueError(
                "An alias table needs columns for symbol, Ensembl id, aliases and previous symbols; "
                f"{os.fspath(path)!r} lacks {missing}, it has {list(table.columns)}. Name its columns: "
                "GeneAliases.from_tsv(path, symbol=..., ensembl_id=..., alias=..., previous=...)."
            )
        genes = [
            (approved, strip_version(identifier) or "")
            for approved, identifier in zip(table[symbol].str.strip(), table[ensembl_id].str.strip())
        ]
        return cls._from_names(genes, _split(table[previous], separator), _split(table[alias], separator))

    @classmethod
    def _from_names(
        cls, genes: list[tuple[str, str]], previous: list[list[str]], alias: list[list[str]]
    ) -> "GeneAliases":
        """Rank the names: approved, then previous, then alias; leave out ambiguous ones."""
        records = {name: GeneRecord(name, identifier, "approved") for name, identifier in genes if name}
        by_ensembl = {record.ensembl_id: record for record in records.values() if record.ensembl_id}
        ambiguous: set[str] = set()
        kinds: tuple[tuple[NameKind, list[list[str]]], ...] = (("previous", previous), ("alias", alias))
        for kind, names in kinds:
            owners: dict[str, set[int]] = defaultdict(set)
            for gene, of_gene in enumerate(names):
                for name in of_gene:
                    owners[name].add(gene)
            for name, of_name in owners.items():
                # If two genes once had a name, a third that calls itself so does not settle which one is meant.
                if name in records or name in ambiguous:
                    continue
                if len(of_name) > 1:
                    ambiguous.add(name)
                else:
                    records[name] = GeneRecord(*genes[of_name.pop()], kind)
        return cls(records, by_ensembl, tuple(sorted(ambiguous)))

    def resolve(self, name: str) -> GeneRecord | None:
        """Find the gene that ``name`` means, or None.

        Parameters
        ----------
        name
            A symbol (exact case) or an Ensembl gene id.
        """
        identifier = strip_version(name)
        return self.records.get(name) if identifier is None else self.by_ensembl.get(identifier)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"GeneAliases({len(self.records):,} names, {len(self.ambiguous):,} ambiguous names left out)"


def _split(column: Iterable[str], separator: str) -> list[list[str]]:
    """List the names in each cell of a column."""
    return [[name.strip() for name in cell.split(separator) if name.strip()] for cell in column]
