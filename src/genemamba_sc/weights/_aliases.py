"""Keep older names of genes beside a model: the embedding of a query depends on them."""

import json
from pathlib import Path
from typing import Any, get_args

from genemamba_sc._json import Fields, quoted, read_object
from genemamba_sc.data import GeneAliases
from genemamba_sc.data.genes._gene_aliases import GeneRecord, NameKind


def write_aliases(path: Path, aliases: GeneAliases) -> None:
    """Write the names and the genes that they mean; equal tables are equal files.

    Parameters
    ----------
    path
        The file.
    aliases
        The names to write.
    """
    content = {
        "names": {name: list(record) for name, record in sorted(aliases.records.items())},
        "by_ensembl": {name: list(record) for name, record in sorted(aliases.by_ensembl.items())},
        "ambiguous": list(aliases.ambiguous),
    }
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def read_aliases(path: Path) -> GeneAliases:
    """Read what :func:`write_aliases` wrote.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    content = read_object(path)
    records, by_ensembl = (_records(content.object(name), path) for name in ("names", "by_ensembl"))
    ambiguous = content.made("ambiguous", lambda names: tuple(map(str, list(names))))
    return GeneAliases(records, by_ensembl, ambiguous)


def _records(table: Fields, path: Path) -> dict[str, GeneRecord]:
    return {name: _record(value, path) for name, value in table.values.items()}


def _record(value: Any, path: Path) -> GeneRecord:
    fits = isinstance(value, list) and len(value) == 3 and all(isinstance(part, str) for part in value)
    if not fits or value[2] not in get_args(NameKind):
        raise ValueError(
            f"{path} must give symbol, Ensembl id and kind ({', '.join(get_args(NameKind))}) of each gene. "
            f"Got {quoted(value)}. Copy the whole folder again."
        )
    return GeneRecord(*value)
