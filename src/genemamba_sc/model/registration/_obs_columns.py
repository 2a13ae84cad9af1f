"""Check columns of ``obs`` that a model is set up with: which can serve, and which values mean "no label"."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba_sc._warn import warn

# Texts that a missing value becomes once somebody has turned it into text.
MISSING = frozenset({"", "nan", "NaN", "NA", "N/A", "None", "<NA>"})
# Kinds of values that a saved model could not hold.
_ODD = frozenset({"bytes", "Interval", "Timestamp", "Timedelta", "tuple", "list", "dict"})
# More types than this share of the cells are measurements, or names of cells.
_MOST_TYPES = 0.5
# So are more batches than this share of the cells.
_MOST_BATCHES = 0.2


def check_obs_column(adata: AnnData, key: str, argument: str, unlabeled_category: object = None) -> Any:
    """Refuse a column that cannot serve as batch or labels.

    Parameters
    ----------
    adata
        Cells.
    key, argument
        The column, and the argument that named it.
    unlabeled_category
        The value that means "no label", as the user wrote it.

    Returns
    -------
    That value as it is in the column (``"-1"`` is -1 or -1.0 in a column of numbers), or as it was given where no cell
    has it.

    Raises
    ------
    ValueError
        If there is no such column or more than one, values are missing, or they have no order.
    """
    columns = list(adata.obs.columns)
    if key not in columns:
        raise ValueError(f"{argument}={key!r} is not a column of adata.obs, which has {columns}. Name one of these.")
    if columns.count(key) > 1:
        raise ValueError(
            f"{argument}={key!r} must name one column of adata.obs; it has {columns.count(key)} of that name. "
            "Rename or drop the others."
        )
    column = adata.obs[key]
    values = list(column.unique())
    same = (value for value in values if unlabeled_category is not None and _means(value, unlabeled_category))
    unlabeled = next(same, unlabeled_category)
    _refuse_missing(column, key, argument, unlabeled)
    kinds = sorted({type(value).__name__ for value in values})
    odd = [kind for kind in kinds if kind in _ODD]
    if odd or ("str" in kinds and len(kinds) > 1):
        raise ValueError(
            f"adata.obs[{key!r}] must hold text or numbers. Got values of the types {', '.join(kinds)}. "
            f"Make them text: adata.obs[{key!r}] = adata.obs[{key!r}].astype(str)."
        )
    return unlabeled


def _means(value: Any, given: object) -> bool:
    """Tell whether a value of a column is what a user wrote: pandas makes -1.0 of -1 where others were missing once."""
    if str(value) == str(given):
        return True
    if not pd.api.types.is_number(value) or isinstance(value, bool | np.bool_):
        return False
    try:
        return float(value) == float(str(given))
    except ValueError:
        return False


def _refuse_missing(column: pd.Series, key: str, argument: str, unlabeled: object) -> None:
    texts = column.astype(object)
    missing = column.isna() | texts.isin(MISSING)
    if unlabeled is not None:
        missing &= (texts != unlabeled) | column.isna()
    n_missing = int(missing.sum())
    if n_missing:
        how = sorted({"NaN" if pd.isna(value) else repr(value) for value in texts[missing]})
        raise ValueError(
            f"adata.obs[{key!r}] has {n_missing} missing values ({', '.join(how)}); every cell needs one. "
            "Fill them with a category of their own"
            + (", e.g. 'Unknown', and pass unlabeled_category='Unknown'." if argument == "labels_key" else ".")
        )


def check_batches(adata: AnnData, key: str) -> None:
    """Refuse a column that holds no batches, and warn where it has one batch only.

    Parameters
    ----------
    adata
        AnnData with the cells.
    key
        Name of the column.

    Raises
    ------
    ValueError
        If the column is a measurement, or has nearly as many batches as cells.
    """
    column = adata.obs[key]
    n_batches = column.nunique()
    is_measured = pd.api.types.is_float_dtype(column) and bool((column % 1 != 0).any())
    if is_measured or n_batches > max(2, _MOST_BATCHES * adata.n_obs):
        raise ValueError(
            f"Batches are shared by cells; adata.obs[{key!r}] has {n_batches} different values in {adata.n_obs} cells, "
            f"such as {list(column.unique()[:3])}. Name the column with the samples, donors or studies, or bin a "
            "measurement first."
        )
    if n_batches == 1:
        warn(f"adata.obs[{key!r}] has one batch only ({column.iloc[0]!r}): there is nothing to integrate.")


def warn_if_confounded(adata: AnnData, batch_key: str, labels_key: str, unlabeled: object) -> None:
    """Warn where no type is in two batches: then nothing can tell batches and types apart.

    Parameters
    ----------
    adata
        AnnData with the cells.
    batch_key, labels_key
        Names of the columns.
    unlabeled
        The value that means «no label».
    """
    labels = adata.obs[labels_key].astype(object)
    labelled = adata.obs[labels != unlabeled]
    n_batches = labelled.groupby(labels[labels != unlabeled], observed=True)[batch_key].nunique()
    if adata.obs[batch_key].nunique() > 1 and not (n_batches > 1).any():
        warn(
            f"No type of adata.obs[{labels_key!r}] is in two batches of adata.obs[{batch_key!r}], so nothing can tell "
            "batches from types. Integrate batches that share types, or train with integrate=False."
        )


def check_labels(adata: AnnData, key: str, unlabeled: Any) -> Any:
    """Refuse labels that are no cell types.

    Returns
    -------
    The value that means "no label"; ``None`` in a column of numbers where no cell has it.

    Raises
    ------
    ValueError
        If there is no cell, or there are fewer than two types, or about as many as cells.
    """
    if not adata.n_obs:
        raise ValueError("At least one cell is needed; the AnnData has 0 cells. A filter has removed them all.")
    names = list(adata.obs[key].unique())
    types = [name for name in names if unlabeled is None or name != unlabeled]
    if len(types) < 2:
        raise ValueError(
            f"adata.obs[{key!r}] has {len(types)} cell type(s) ({types}); classification needs at least 2. "
            "Leave labels_key=None to train without labels, or name another column."
        )
    n_labelled = int((adata.obs[key].astype(object) != unlabeled).sum())
    # One labelled cell of each type among many unlabelled ones means few labels, not a measurement.
    are_few_labels = (
        unlabeled is not None and n_labelled < adata.n_obs and not pd.api.types.is_float_dtype(adata.obs[key])
    )
    if len(types) > max(10, _MOST_TYPES * n_labelled) and not are_few_labels:
        raise ValueError(
            f"Cell types are shared by cells; adata.obs[{key!r}] has {len(types)} different values in {n_labelled} "
            f"cells, such as {types[:3]}. Name the column with the cell types, or bin a measurement first."
        )
    if unlabeled is None or len(types) < len(names):
        return unlabeled
    warn(
        f"unlabeled_category={unlabeled!r} is not a value of adata.obs[{key!r}], so every cell counts as "
        f"labelled, by one of {sorted(map(str, names))[:10]}. Check how it is written.",
    )
    # scvi-tools would sort it among the values, which text and numbers do not allow.
    return unlabeled if all(isinstance(name, str) for name in names) else None
