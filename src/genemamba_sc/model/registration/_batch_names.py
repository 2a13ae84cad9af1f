"""Tell by names in ``obs`` which batches of a query a reference knows, whatever types these names have."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager

from genemamba_sc._warn import warn
from genemamba_sc._whole_floats import as_text
from genemamba_sc.model.registration._obs_columns import MISSING
from genemamba_sc.model.registration._setup import codes_in_column, kept_codes

# Code of a batch that the reference does not know.
NEW = -1
# A whole number that was a float before it became text.
_FLOAT = re.compile(r"([+-]?\d+)\.0*")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def batch_names(registry: Mapping[str, Any]) -> list[str]:
    """List the names of the registered batches, in the order of their codes; empty where none are registered."""
    fields = registry["field_registries"]
    if REGISTRY_KEYS.BATCH_KEY not in fields:
        return []
    mapping = fields[REGISTRY_KEYS.BATCH_KEY]["state_registry"]["categorical_mapping"]
    return [as_text(name) for name in np.asarray(mapping).tolist()]


def names_in_query(model: Any, adata: AnnData, rows: np.ndarray, batch_key: str | None) -> list[str | None]:
    """Read the batch of each cell of a query as text; ``None`` where a cell has none, with a warning.

    Parameters
    ----------
    model
        Model that was set up with batches.
    adata, rows
        Cells, and which of them.
    batch_key
        Column of ``obs``; ``None`` takes the one that the model was set up with, if it is there, and for the model's
        own cells what was registered.
    """
    if batch_key is None and adata is model.adata:
        registered = _registered_names(model.adata_manager)
        if registered is not None:
            return [registered[row] for row in rows]
    if batch_key is None:
        batch_key = model.registry_["setup_args"].get("batch_key")
        if list(adata.obs.columns).count(batch_key) != 1:
            warn(
                f"The cells have no column {batch_key!r} with their batches, so they are mapped onto the shared axes, "
                "without a correction of batches. Name the column with batch_key=."
            )
            return [None] * len(rows)
    column = adata.obs[batch_key].iloc[rows]
    missing = column.isna() | column.astype(object).isin(MISSING)
    if missing.any():
        warn(
            f"{missing.sum()} cells have no batch: adata.obs[{batch_key!r}] is missing. They are mapped onto the "
            "shared axes, without a correction of batches. Give them the batch that they are from."
        )
    return [None if is_missing else as_text(name) for name, is_missing in zip(column.astype(object), missing)]


def _registered_names(manager: AnnDataManager) -> list[str] | None:
    """List the batches that the cells of a model were registered with; ``None`` where that is no longer known.

    They are what the model learned, whatever has been written into the column since.
    """
    key = REGISTRY_KEYS.BATCH_KEY
    kept = kept_codes(manager, key) if key in manager.data_registry else None
    if kept is None:
        return None
    found = codes_in_column(manager, key)
    if found is not None and (found != kept).any():
        column = manager.get_state_registry(key)["original_key"]
        warn(
            f"adata.obs[{column!r}] has changed for {(found != kept).sum()} of {len(kept)} cells since the model was "
            "set up. Their batches are those that were registered. Name the column with batch_key= to have it read."
        )
    names = [as_text(name) for name in np.asarray(manager.get_state_registry(key)["categorical_mapping"]).tolist()]
    return [names[code] for code in kept]


def known_codes(names: Iterable[str], known: Mapping[str, int]) -> list[int]:
    """Find the code of each name; :data:`NEW` for one that the reference does not know.

    A name is first looked for as it is written, then as the number that it is: ``"1.0"`` is 1, as a table makes it that
    was read back from text.

    Parameters
    ----------
    names
        Names in the query, as text.
    known
        Code of each name of the reference.

    Raises
    ------
    ValueError
        If a name is not written as any of the reference and is the same number as two of them.

    Warns
    -----
    UserWarning
        If a new name differs from a known one in case, spaces or leading zeros only.
    """
    numbers: dict[str, list[str]] = {}
    for name in known:
        numbers.setdefault(_number(name), []).append(name)
    loose = {_loose(name): name for name in known}
    codes, alike = [], []
    for name in names:
        same = [name] if name in known else numbers.get(_number(name), [])
        if len(same) > 1:
            raise ValueError(
                f"A batch must be one of the reference, or new. {name!r} is the same number as its batches {same}. "
                "Write it as one of these."
            )
        codes.append(known[same[0]] if same else NEW)
        if not same and _loose(name) in loose:
            alike.append(f"{name!r} (there {loose[_loose(name)]!r})")
    if alike:
        warn(
            f"Batches are named almost as those of the reference: {', '.join(alike)[:200]}. They are mapped as new "
            "batches. If they are the same, write them alike."
        )
    return codes


def alike_as_numbers(names: Iterable[str]) -> list[int]:
    """Tell for each name the place of the first that is the same number, or the same text.

    Parameters
    ----------
    names
        Names of new batches, as text.
    """
    first: dict[str, int] = {}
    return [first.setdefault(_number(name), place) for place, name in enumerate(names)]


def _number(name: str) -> str:
    found = _FLOAT.fullmatch(name)
    return name if found is None else found[1]


def _loose(name: str) -> str:
    return _LEADING_ZEROS.sub("", _number(name.strip()).casefold())
