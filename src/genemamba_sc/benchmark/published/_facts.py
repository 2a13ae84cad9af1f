"""Describe what is documented of a published set of cells, and how sure that is."""

from dataclasses import dataclass
from typing import Literal

Evidence = Literal["read", "told", "inferred", "not found"]
"""``"read"`` in the authors' files or code, ``"told"`` by a third party, ``"inferred"`` from other facts, or
``"not found"`` anywhere. Only the first counts as verified."""
Holds = Literal["counts", "log1p", "not counts"]
"""What ``X`` holds: counts; logarithms of normalised counts; or something else than counts."""
Task = Literal["annotation", "integration", "reconstruction"]


@dataclass(frozen=True)
class Size:
    """Give a documented number.

    Parameters
    ----------
    value
        The number; ``None`` where none was found.
    evidence
        How sure it is.
    """

    value: int | None = None
    evidence: Evidence = "not found"

    def __str__(self) -> str:
        if self.value is None:
            return "not documented"
        return f"{self.value:,}" + ("" if self.evidence == "read" else f" ({self.evidence}, not verified)")


@dataclass(frozen=True)
class Part:
    """Describe one of the files that make up a set.

    Parameters
    ----------
    file
        Name of the file.
    role
        What its cells are for: ``"reference"`` or ``"query"`` where the files are the split, else ``"all"``.
    n_cells
        Number of its cells.
    n_bytes
        Size of the file.
    """

    file: str
    role: Literal["reference", "query", "all"] = "all"
    n_cells: Size = Size()
    n_bytes: Size = Size()

    @property
    def stem(self) -> str:
        """Name of the file without its ending."""
        return self.file.removesuffix(".h5ad")


@dataclass(frozen=True)
class PublishedSet:
    """Describe a set of the published tables: its files, its sizes, and what its columns are called.

    Parameters
    ----------
    name
        Name of the set, as the tables have it.
    parts
        Its files. A set of one reference and one query comes with its split.
    where
        Where the files are published.
    n_cells, n_genes, n_types, n_batches
        Its sizes.
    labels
        Columns of ``obs`` in which the types may be, the first that is there counts.
    batch
        Columns of ``obs`` in which the batches may be.
    symbols
        Column of ``var`` with the symbols; ``None`` where ``var_names`` are what names the genes.
    holds
        What ``X`` holds; ``None`` where that is not documented.
    holds_evidence
        How sure that is.
    counts_layer
        Layer with the counts; ``None`` where there is none.
    other_features
        Number of columns that are no genes.
    tasks
        Published tasks with numbers for this set.
    order_is_open
        Whether it is not settled which of two files is trained on.
    notes
        What else a user has to know, one sentence each.
    """

    name: str
    parts: tuple[Part, ...]
    where: str
    n_cells: Size
    n_genes: Size
    n_types: Size
    n_batches: Size
    labels: tuple[str, ...]
    batch: tuple[str, ...]
    symbols: str | None
    holds: Holds | None
    holds_evidence: Evidence
    tasks: tuple[Task, ...]
    counts_layer: str | None = None
    other_features: Size = Size()
    order_is_open: bool = False
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = {"cells": self.n_cells, "genes": self.n_genes, "types": self.n_types, "batches": self.n_batches}
        held = self.holds or "what is not documented"
        doubt = "" if self.holds is None or self.holds_evidence == "read" else f" ({self.holds_evidence}, not verified)"
        return "\n".join([
            f"{self.name}: {' and '.join(part.file for part in self.parts)}",
            f"  published at: {self.where}",
            *(f"  {what}: {size}" for what, size in sizes.items()),
            f"  types in obs: {' or '.join(self.labels)}; batches in obs: {' or '.join(self.batch)}",
            f"  X holds {held}{doubt}",
            *(f"  {note}" for note in self.notes),
        ])  # fmt: skip

    @property
    def is_divided(self) -> bool:
        """Whether its files are a reference and a query."""
        return len(self.parts) > 1
