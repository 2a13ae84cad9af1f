"""Apply a model's integration to embeddings: batches by their names in ``obs``."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float32, Integer

from genemamba_sc._checks import yes_or_no
from genemamba_sc._warn import warn
from genemamba_sc.integration import FEWEST_CELLS
from genemamba_sc.model.registration._batch_names import (
    NEW,
    alike_as_numbers,
    batch_names,
    known_codes,
    names_in_query,
)


def integrate_cells(
    model: Any,
    adata: AnnData,
    rows: Integer[np.ndarray, "n"],
    latent: Float32[np.ndarray, "n d"],
    batch_key: str | None,
) -> Float32[np.ndarray, "n k"]:
    """Integrate embeddings of cells of known and of new batches.

    Parameters
    ----------
    model
        Model with an integration.
    adata, rows
        Cells that were embedded.
    latent
        Their embedding.
    batch_key
        Column of ``obs`` with their batches; ``None`` takes the one that the model was set up with, if it is there.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    integration = model.integration_
    fitted = zip(batch_names(model.registry_), integration.is_fitted)
    known = {name: code for code, (name, is_fitted) in enumerate(fitted) if is_fitted}
    of_row, names = pd.factorize(np.array(names_in_query(model, adata, rows, batch_key), dtype=object))
    found = np.array([*known_codes(names, known), NEW], dtype=np.int64)
    # A new batch may be spelt in two ways, as a known one may.
    same = np.array([*alike_as_numbers(names), NEW], dtype=np.int64)
    of_row = np.where(found[of_row] == NEW, same[of_row], of_row)
    codes = found[of_row]
    result, tells = integration(latent, codes), np.asarray(latent.any(axis=1))
    few, far = [], []
    for number, name in enumerate(names):
        members = np.flatnonzero((of_row == number) & tells)
        if found[number] != NEW or not len(members):
            continue
        if len(np.unique(rows[members])) < FEWEST_CELLS:
            few.append(name)
            continue
        moves = integration.fit_batch(latent[members])
        result[members] = integration.map_batch(latent[members], moves)
        if not moves:
            far.append(name)
    # A cell without a known gene stays at zero, where everyone can see that it tells nothing.
    result[~tells] = 0.0
    _say_what_was_not_corrected(few, far)
    return result


def _say_what_was_not_corrected(few: list[str], far: list[str]) -> None:
    if far:
        warn(
            f"New batches without a cell near the reference: {', '.join(sorted(far))[:200]}. They may hold other "
            "types, or differ too much; their cells are mapped onto the shared axes, without a correction of the batch."
        )
    if few:
        warn(
            f"New batches with fewer than {FEWEST_CELLS} cells do not tell what they have in common: "
            f"{', '.join(sorted(few))[:200]}. "
            "Their cells are mapped onto the shared axes, without a correction of the batch. Pass more cells at once."
        )


def asks_integration(model: Any, adata: AnnData, batch_key: str | None, integrated: bool | None) -> bool:
    """Tell, before any cell is read, whether an embedding is to be integrated; parameters as in queries.

    Raises
    ------
    TypeError
        If ``integrated`` is neither ``None`` nor a bool.
    ValueError
        If it is asked for and the model was not trained to integrate, or the column cannot serve.
    """
    if batch_key is not None and (not isinstance(batch_key, str) or list(adata.obs.columns).count(batch_key) != 1):
        raise ValueError(
            f"batch_key={batch_key!r} must name one column of adata.obs, which has {list(adata.obs.columns)}. Name one "
            "of these, or leave it out."
        )
    if model.integration_ is None and (integrated or batch_key is not None):
        raise ValueError(
            "This model was not trained to integrate batches. Pass batch_key= to setup_anndata and train with "
            "integrate=True, or leave out batch_key and integrated."
        )
    if integrated is not None:
        yes_or_no("integrated", integrated)
    if integrated is not None and not integrated and batch_key is not None:
        raise ValueError("batch_key has no effect with integrated=False. Leave out one of them.")
    return model.integration_ is not None and (integrated is None or bool(integrated))
