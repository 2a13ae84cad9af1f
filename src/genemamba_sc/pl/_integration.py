"""Draw cells before and after integration, coloured by batch and by type."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import scanpy as sc
from anndata import AnnData
from matplotlib.figure import Figure

from genemamba_sc._checks import whole_number
from genemamba_sc.pl._colours import share_colours
from genemamba_sc.pl._require_anndata import require_anndata


def integration(
    adata: AnnData,
    batch_key: str,
    labels_key: str | None = None,
    *,
    before: str = "X_pca",
    after: str = "X_genemamba",
    n_neighbors: int = 15,
    seed: int = 0,
) -> Figure:
    """Draw UMAPs of two embeddings of the same cells: one row for each, the batches left, the types right.

    Parameters
    ----------
    adata
        Cells with both embeddings in ``obsm``; nothing is written to them.
    batch_key
        Column of ``obs`` with the batches; cells without a value are grey.
    labels_key
        Column of ``obs`` with the types, drawn likewise; ``None`` draws the batches only.
    before, after
        Keys in ``obsm``.
    n_neighbors
        Neighbours of a cell in the graph that a UMAP lays out, at least 2, the same for both.
    seed
        Seed of the layouts.

    Returns
    -------
    matplotlib.figure.Figure
        All panels have the same size. A column has the same order and colours in both rows, those that
        :func:`share_colours` would give it: stored colours are kept. Within a row panels share the coordinates.

    Raises
    ------
    TypeError
        If the cells are no AnnData, or a number is none.
    ValueError
        If a column or an embedding is missing, an embedding is not finite, or a number is too small.
    """
    require_anndata(adata)
    n_neighbors, seed = whole_number("n_neighbors", n_neighbors, 2), whole_number("seed", seed, 0)
    keys = [batch_key] if labels_key is None else [batch_key, labels_key]
    _require("adata.obs", list(adata.obs.columns), keys)
    _require("adata.obsm", list(adata.obsm), [before, after])
    cells = AnnData(obs=adata.obs[keys].copy(), obsm={name: _embedding(adata, name) for name in (before, after)})
    for key in keys:
        _take_colours(cells, adata, key)
    # Cells of batches and types lie upon each other: a fixed random order shows all, not the last ones only.
    cells = cells[np.random.default_rng(seed).permutation(cells.n_obs)].copy()
    size = (5 * len(keys) + 2.5, 9)
    figure, axes = plt.subplots(2, len(keys), figsize=size, layout="constrained", squeeze=False)
    for name, row in zip((before, after), axes):
        sc.pp.neighbors(cells, use_rep=name, n_neighbors=n_neighbors, random_state=seed)
        sc.tl.umap(cells, random_state=seed)
        for key, ax in zip(keys, row):
            sc.pl.umap(cells, color=key, title=f"{key} · {name}", na_in_legend=False, ax=ax, show=False)
    return figure


def _require(where: str, present: list[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise ValueError(f"{where} must have {', '.join(map(repr, missing))}. Got {present}. Name what is there.")


def _embedding(adata: AnnData, name: str) -> np.ndarray:
    values = np.asarray(adata.obsm[name])
    if n_wrong := int((~np.isfinite(values)).any(axis=1).sum()):
        raise ValueError(
            f"adata.obsm[{name!r}] must be finite. Got NaN or infinite values in {n_wrong} of {len(values)} cells. "
            "Leave these cells out, or embed them again."
        )
    return values


def _take_colours(cells: AnnData, adata: AnnData, key: str) -> None:
    """Make a column categorical in its own order, in the colours that the cells have already, if any."""
    if f"{key}_colors" in adata.uns:
        cells.uns[f"{key}_colors"] = list(adata.uns[f"{key}_colors"])
    share_colours(cells, [key])
