"""Draw a map of cells, coloured by types."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import scanpy as sc
from anndata import AnnData
from matplotlib.figure import Figure

from genemamba_sc.pl._colours import share_colours
from genemamba_sc.pl._require_anndata import require_anndata


def umap(adata: AnnData, keys: str | Sequence[str], *, titles: str | Sequence[str] | None = None) -> Figure:
    """Draw a UMAP once for each column of types, all in the same colours, with one legend.

    Parameters
    ----------
    adata
        Cells with ``obsm["X_umap"]``, as ``scanpy.tl.umap`` writes it. The columns become categorical, and their
        colours are stored, as in :func:`share_colours`.
    keys
        One or more columns of ``obs``, such as known and predicted types; cells without a value are grey.
    titles
        One title for each column; ``None`` takes the names of the columns.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If the cells are no AnnData.
    ValueError
        If a column or the UMAP is missing, or the titles are not as many as the columns.
    """
    require_anndata(adata)
    keys = [keys] if isinstance(keys, str) else list(keys)
    titles = keys if titles is None else [titles] if isinstance(titles, str) else list(titles)
    if len(titles) != len(keys):
        raise ValueError(f"One title for each of the {len(keys)} columns is needed. Got {titles}.")
    if "X_umap" not in adata.obsm:
        raise ValueError(
            f"A UMAP is drawn from adata.obsm['X_umap']; obsm has {list(adata.obsm)}. Compute it with "
            "scanpy.pp.neighbors(adata, use_rep='X_genemamba') and scanpy.tl.umap(adata)."
        )
    share_colours(adata, keys)
    figure, axes = plt.subplots(
        1, len(keys), figsize=(5 * len(keys) + 2, 5), layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    for key, title, ax in zip(keys, titles, axes[0]):
        legend = "right margin" if key == keys[-1] else "none"
        sc.pl.umap(adata, color=key, title=title, legend_loc=legend, na_in_legend=False, ax=ax, show=False)
    return figure
