"""Bring cells of any file into the form that every method reads: linear values, types, batches, nothing else."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from genemamba_sc.benchmark._columns import BATCH, LABEL, column
from genemamba_sc.benchmark.runs._choices import SplitChoice
from genemamba_sc.benchmark.runs._same_cells import refuse_shared_cells
from genemamba_sc.data import Scale, open_matrix, to_linear
from genemamba_sc.data.cells._gene_columns import only_column
from genemamba_sc.data.cells._matrix import reader_of
from genemamba_sc.data.cells._scale_check import refuse_unrankable
from genemamba_sc.model.registration._obs_columns import check_batches, check_labels, check_obs_column


@dataclass(frozen=True)
class Source:
    """Say where an AnnData holds what is read.

    Parameters
    ----------
    labels_key, batch_key
        Columns of ``obs``.
    unlabeled_category
        The value of labels_key that means "no label".
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.setup_anndata`.
    """

    labels_key: str
    batch_key: str | None = None
    unlabeled_category: object = None
    layer: str | None = None
    gene_id_key: str | None = None
    scale: Scale | None = None


@dataclass(frozen=True, eq=False)
class Cells:
    """Hold the cells of a benchmark.

    Parameters
    ----------
    adata
        Linear values in ``X``, ``obs["cell_type"]`` and ``obs["batch"]``.
    queries
        Which cells are the query, by the name of the split.
    n_unlabelled
        Number of cells without a label, which are left out.
    values
        What the file holds: counts, normalised, or log1p (of any base).
    digest
        SHA-256 of values, genes, types and batches.
    """

    adata: AnnData
    queries: Mapping[str, np.ndarray]
    n_unlabelled: int
    values: str
    digest: str

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return len(np.unique(column(self.adata, BATCH)))


def has_batches(adata: AnnData, source: Source) -> bool:
    """Check the columns of ``obs``, and tell whether there are two batches or more.

    Raises
    ------
    TypeError
        If it is no AnnData.
    ValueError
        If a column cannot serve, or there is no such layer.
    """
    reader_of(adata, source.layer)  # no AnnData, or no such layer
    unlabeled = check_obs_column(adata, source.labels_key, "labels_key", source.unlabeled_category)
    check_labels(adata, source.labels_key, unlabeled)
    if source.batch_key is None:
        return False
    check_obs_column(adata, source.batch_key, "batch_key")
    check_batches(adata, source.batch_key)
    return adata.obs[source.batch_key].nunique() > 1


def read_cells(adata: AnnData, query: AnnData | None, source: Source, splits: tuple[SplitChoice, ...]) -> Cells:
    """Read the cells, and the query's with the genes that both have.

    Parameters
    ----------
    adata, query
        Cells, and a second AnnData to be tested by the split "query".
    source
        Where both hold what is read.
    splits
        The splits, of which those of kind "query" are looked up.

    Raises
    ------
    ValueError
        If columns, genes or values cannot serve, or a query is empty, everything, or among the cells to train on.
    """
    found, kind = _read(adata, source)
    queries = {choice.text: _asked(adata, choice) for choice in splits if choice.kind == "query" and choice.column}
    if query is not None:
        other, _ = _read(query, source)
        found = _joined(found, other)
        is_query = np.arange(found.n_obs) >= adata.n_obs
        queries = {name: np.concatenate([mask, np.zeros(query.n_obs, bool)]) for name, mask in queries.items()}
        queries["query"] = is_query
    labelled = ~found.obs[LABEL].isna().to_numpy()
    kept = found[labelled].copy()
    queries = {name: mask[labelled] for name, mask in queries.items()}
    if query is not None:
        names = np.concatenate([adata.obs_names.to_numpy(), query.obs_names.to_numpy()])
        refuse_shared_cells(kept, queries["query"], names[labelled])
    return Cells(kept, queries, int((~labelled).sum()), kind, _digest(kept))


def _read(adata: AnnData, source: Source) -> tuple[AnnData, str]:
    """Return the cells with types (missing where there is no label) and batches, and what their values are."""
    matrix = open_matrix(adata, source.layer, source.scale)
    values = sparse.csr_matrix(to_linear(matrix.reader.read(range(adata.n_obs)), matrix.expression), dtype=np.float32)
    refuse_unrankable(values)
    unlabeled = check_obs_column(adata, source.labels_key, "labels_key", source.unlabeled_category)
    labels = column(adata, source.labels_key).astype(object)
    if unlabeled is not None:
        labels[(adata.obs[source.labels_key].astype(object) == unlabeled).to_numpy()] = None
    if source.batch_key is None:
        batches = np.full(adata.n_obs, "all")
    else:
        check_obs_column(adata, source.batch_key, "batch_key")
        batches = column(adata, source.batch_key)
    obs = pd.DataFrame({LABEL: pd.Series(labels, dtype=object), BATCH: batches})
    obs.index = [f"cell{i}" for i in range(adata.n_obs)]
    return AnnData(values, obs=obs, var=pd.DataFrame(index=_genes(adata, source.gene_id_key))), matrix.expression.kind


def _genes(adata: AnnData, key: str | None) -> pd.Index:
    if key is None:
        return pd.Index(adata.var_names.astype(str), name=None)
    if key not in adata.var:
        raise ValueError(
            f"gene_id_key={key!r} is not a column of adata.var, which has {list(adata.var.columns)}. Name one of these."
        )
    return pd.Index(only_column(adata.var, key).astype(str), name=None)


def _joined(reference: AnnData, query: AnnData) -> AnnData:
    """Return the cells of both over the genes that both name once."""
    names = [cells.var_names[~cells.var_names.duplicated(keep=False)] for cells in (reference, query)]
    common = names[0][names[0].isin(names[1])]
    if not len(common):
        raise ValueError(
            f"Reference and query must share genes. Got none: {list(reference.var_names[:3])} against "
            f"{list(query.var_names[:3])}. Name the columns with the same kind of ids by gene_id_key."
        )
    parts = [cells[:, common] for cells in (reference, query)]
    obs = pd.concat([cells.obs for cells in parts], ignore_index=True)
    obs.index = [f"cell{i}" for i in range(len(obs))]
    return AnnData(sparse.vstack([cells.X for cells in parts], format="csr"), obs=obs, var=parts[0].var.copy())


def _asked(adata: AnnData, choice: SplitChoice) -> np.ndarray:
    """Return which cells of the same AnnData are the query."""
    if choice.column not in adata.obs:
        raise ValueError(
            f"The split {choice.text!r} reads adata.obs[{choice.column!r}], which has {list(adata.obs.columns)}. "
            "Name one of these."
        )
    values = column(adata, choice.column)
    mask = values == choice.value
    if not mask.any():  # 1.0 is 1
        mask = values == choice.value.removesuffix(".0")
    if mask.all() or not mask.any():
        raise ValueError(
            f"The split {choice.text!r} must leave cells to train on and to test. {int(mask.sum())} of {len(mask)} "
            f"cells are the query; the values are {sorted(map(str, set(values)))[:10]}. Name one of these."
        )
    return mask


def _digest(adata: AnnData) -> str:
    """Compute a digest of everything that a method reads."""
    digest = hashlib.sha256()
    for array in (adata.X.indptr.astype("<i8"), adata.X.indices.astype("<i8"), adata.X.data.astype("<f4")):
        digest.update(np.ascontiguousarray(array).tobytes())
    for names in (adata.var_names.to_numpy(), column(adata, LABEL), column(adata, BATCH)):
        digest.update(b"\x01" + "\x00".join(map(str, names)).encode())
    return digest.hexdigest()
