"""Compare cells with what is documented of a set: every number is told, whether it agrees or not."""

from dataclasses import dataclass

import pandas as pd

from genemamba_sc.benchmark.published._facts import Evidence, PublishedSet, Size
from genemamba_sc.benchmark.published._files import OpenPart
from genemamba_sc.data import Expression

_KINDS = {"counts": ("counts",), "log1p": ("log1p",), "not counts": ("log1p", "normalised")}


@dataclass(frozen=True)
class Finding:
    """Compare one documented fact with the file.

    Parameters
    ----------
    what
        What is compared.
    documented
        The documented value; ``""`` where none was found.
    evidence
        How sure it is.
    found
        The value of the file.
    agrees
        Whether they are equal; ``None`` where nothing is documented.
    """

    what: str
    documented: str
    evidence: Evidence
    found: str
    agrees: bool | None

    @classmethod
    def of_size(cls, what: str, documented: Size, found: int | None) -> "Finding":
        """Compare a number; ``None`` where the file does not have it."""
        agrees = None if documented.value is None else documented.value == found
        text = "" if documented.value is None else f"{documented.value:,}"
        return cls(what, text, documented.evidence, "none" if found is None else f"{found:,}", agrees)

    def __str__(self) -> str:
        if self.agrees is None:
            return f"{self.what}: {self.found}; nothing is documented"
        verdict = "as documented" if self.agrees else "DIFFERS"
        doubt = "" if self.evidence == "read" else f" ({self.evidence}, not verified)"
        return f"{self.what}: {self.found}; documented {self.documented}{doubt}: {verdict}"


def findings_of_files(parts: list[OpenPart]) -> list[Finding]:
    """Compare names and sizes of the files, and the cells of each."""
    found = []
    for part in parts:
        if part.facts is None:
            found.append(Finding("file", "", "not found", f"{part.path.name}, taken for the authors' copy", None))
            continue
        same = part.path.name == part.facts.file
        found.append(Finding("file", part.facts.file, "read", part.path.name, same))
        if part.facts.n_cells.value is not None:
            found.append(Finding.of_size(f"cells of {part.facts.file}", part.facts.n_cells, part.adata.n_obs))
        if part.facts.n_bytes.value is not None and part.path.is_file():
            size = part.path.stat().st_size
            found.append(Finding.of_size(f"bytes of {part.facts.file}", part.facts.n_bytes, size))
    return found


def findings_of_cells(
    facts: PublishedSet, obs: pd.DataFrame, n_genes: int, n_others: int, has_batch: bool
) -> list[Finding]:
    """Compare sizes, types and batches; ``obs`` has them under the names of this package."""
    batches = int(obs["batch"].nunique()) if has_batch else None
    found = [
        Finding.of_size("cells", facts.n_cells, len(obs)),
        Finding.of_size("genes", facts.n_genes, n_genes),
        Finding.of_size("types", facts.n_types, int(obs["cell_type"].nunique())),
        Finding.of_size("batches", facts.n_batches, batches),
    ]
    if n_untyped := int(obs["cell_type"].isna().sum()):
        found.append(Finding.of_size("cells without a type", Size(), n_untyped))
    if n_others or facts.other_features.value is not None:
        found.append(Finding.of_size("columns that are no genes", facts.other_features, n_others))
    return found


def finding_of_scale(facts: PublishedSet, expression: Expression, is_layer: bool) -> Finding:
    """Compare what the matrix that is read holds."""
    holds = "counts" if is_layer else facts.holds
    base = "" if expression.log_base is None else f" of base {expression.log_base:.4g}"
    what = f"layers[{facts.counts_layer!r}]" if is_layer else "X"
    agrees = None if holds is None else expression.kind in _KINDS[holds]
    return Finding(f"{what} holds", holds or "", facts.holds_evidence, f"{expression.kind}{base}", agrees)
