"""Bring the files of a published set to one form: types, batches and symbols under the names of this package."""

from collections.abc import Sequence
from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba_sc.benchmark.published._checking import Finding
from genemamba_sc.benchmark.published._facts import PublishedSet
from genemamba_sc.benchmark.published._files import OpenPart
from genemamba_sc.benchmark.published._splits import ROLE
from genemamba_sc.data.cells._feature_types import other_features

_MISSING = ("", "nan", "None", "NA", "<NA>")


@dataclass(frozen=True, eq=False)
class Standard:
    """Hold the cells of a set in one form.

    Parameters
    ----------
    adata
        The cells.
    n_others
        Number of columns that were left out because they are no genes.
    is_layer
        Whether ``X`` is the layer of counts.
    findings
        What differs from the documented form.
    """

    adata: AnnData
    n_others: int
    is_layer: bool
    findings: tuple[Finding, ...]


def standardised(facts: PublishedSet, parts: Sequence[OpenPart]) -> Standard:
    """Join the files of a set, and name what they hold.

    Parameters
    ----------
    facts
        What is documented of the set.
    parts
        Its files; they are not changed.

    Raises
    ------
    ValueError
        If a file has no column of types, or the cells are of fewer than two.
    """
    findings: list[Finding] = []
    cells = [_named(facts, part, findings) for part in parts]
    adata = cells[0] if len(cells) == 1 else _joined(cells, findings)
    if adata.obs["cell_type"].nunique() < 2:
        raise ValueError(
            f"{facts.name} has several types of cells. Got {adata.obs['cell_type'].nunique()} in its column of types. "
            "Give the published file."
        )
    is_other, _ = other_features(adata.var)
    n_others = int(is_other.sum())
    adata = adata[:, ~is_other].copy() if n_others else adata
    is_layer = facts.counts_layer is not None and all(facts.counts_layer in part.adata.layers for part in parts)
    return Standard(adata, n_others, is_layer, tuple(findings))


def _named(facts: PublishedSet, part: OpenPart, findings: list[Finding]) -> AnnData:
    """Copy what is needed of a file, under the names of this package."""
    source, layer = part.adata, facts.counts_layer
    if layer is not None and layer not in source.layers:
        findings.append(Finding(f"layers[{layer!r}]", "there", "read", "missing, so X is read", False))
    matrix = source.layers[layer] if layer in source.layers else source.X
    adata = AnnData(matrix, obs=source.obs.copy(), var=source.var.copy())
    if matrix is source.X and "log1p" in source.uns:
        adata.uns["log1p"] = source.uns["log1p"]
    _take(adata.obs, "cell_type", _column(facts, part, facts.labels, "types"))
    batch = next((name for name in facts.batch if name in source.obs), None)
    if batch is not None:
        _take(adata.obs, "batch", batch)
    if facts.n_batches.value is not None and batch is None:
        findings.append(Finding("column of batches", " or ".join(facts.batch), "read", "missing", False))
    if facts.symbols is not None:
        if facts.symbols in source.var:
            adata.var["symbol"] = source.var[facts.symbols].astype(str)
        else:
            findings.append(Finding("column of symbols", f"var[{facts.symbols!r}]", "read", "missing", False))
    if part.stem is not None:
        adata.obs[ROLE] = part.stem
    return adata


def _column(facts: PublishedSet, part: OpenPart, names: Sequence[str], what: str) -> str:
    found = next((name for name in names if name in part.adata.obs), None)
    if found is None:
        raise ValueError(
            f"{facts.name} has its {what} in obs[{names[0]!r}]"
            f"{'' if len(names) < 2 else f', or obs[{names[1]!r}] in the processed copy'}. Got the columns "
            f"{list(part.adata.obs)[:20]} in {part.path.name}: it cannot be this set. Give the published file."
        )
    return found


def _take(obs: pd.DataFrame, name: str, source: str) -> None:
    """Put a column under a name of this package; a column that had the name is kept under another."""
    values = obs[source].astype(object)
    texts = values.where(values.notna() & ~values.astype(str).isin(_MISSING), None).map(str, na_action="ignore")
    if name in obs and name != source:
        obs[f"{name}_of_file"] = obs[name]
    obs[name] = pd.Categorical(texts)


def _joined(cells: list[AnnData], findings: list[Finding]) -> AnnData:
    """Join the cells of two files on the genes that both have."""
    sets = [set(part.var_names) for part in cells]
    shared = len(set.intersection(*sets))
    if any(len(genes) != shared for genes in sets):
        sizes = " and ".join(f"{len(genes):,}" for genes in sets)
        findings.append(Finding("genes of the two files", "the same", "inferred", f"{sizes}, {shared:,} shared", False))
    if not shared:
        raise ValueError("The files of a set share their genes. Got files that share none. Give those of one set.")
    names = np.concatenate([part.obs_names for part in cells])
    unique = len(set(names)) == len(names)
    joined = ad.concat(cells, join="inner", merge="same", index_unique=None if unique else "-", uns_merge="same")
    for name in ("cell_type", "batch", ROLE):
        if name in joined.obs:
            joined.obs[name] = joined.obs[name].astype("category")
    return joined
