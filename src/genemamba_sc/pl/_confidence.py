"""Draw how sure an annotation is, type by type."""

import matplotlib.pyplot as plt
import numpy as np
from anndata import AnnData
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genemamba_sc._constants import CONFIDENCE_KEY, PREDICTION_KEY, UNKNOWN_KEY, UNS_KEY
from genemamba_sc.pl._colours import colours_of
from genemamba_sc.pl._require_anndata import require_anndata
from genemamba_sc.pl._types_of_cells import TypesOfCells, types_of_cells

_ROW = 0.27
# From this share of nearer calibration cells on `annotate` rejects cells where it is left to choose.
_UNKNOWN_FROM = 0.95
_LINES = (0.05, 0.25, 0.5, 0.75, 0.95)
_TITLES = {CONFIDENCE_KEY: "probability of the type", UNKNOWN_KEY: "share of calibration cells that look more known"}


def confidence(adata: AnnData, *, groupby: str = PREDICTION_KEY) -> Figure:
    """Draw how sure an annotation is of the cells of each type, as boxes, and how unknown they look.

    A box holds the middle half of the cells, the line in it is the median, whiskers reach from the 5th to the 95th
    percentile. In the right panel a dashed line stands at the share from which on cells are called unknown, or would be
    by default: 5 % of cells like the calibration cells lie beyond it.

    Parameters
    ----------
    adata
        Cells that :meth:`genemamba_sc.GeneMambaModel.annotate` annotated; nothing is written to them.
    groupby
        Column of ``obs`` with the types, such as known ones. Their colours are those in ``adata.uns``, else those that
        scanpy would give. Cells without a type are left out.

    Returns
    -------
    matplotlib.figure.Figure
        One panel, or two where the model had calibration cells.

    Raises
    ------
    TypeError
        If the cells are no AnnData.
    ValueError
        If the cells were not annotated, there is no such column, or no cell has a type.
    """
    require_anndata(adata)
    if CONFIDENCE_KEY not in adata.obs:
        raise ValueError(
            f"adata.obs must have {CONFIDENCE_KEY!r}, which annotate() writes. Got {list(adata.obs.columns)}. Call "
            "model.annotate(adata) first."
        )
    cells, colours = types_of_cells(adata, groupby), colours_of(adata, groupby)
    keys = [key for key in (CONFIDENCE_KEY, UNKNOWN_KEY) if key in adata.obs]
    size = (2.5 + 4 * len(keys), 1.2 + _ROW * len(cells.names))
    figure, axes = plt.subplots(1, len(keys), figsize=size, layout="constrained", squeeze=False, sharey=True)
    for key, ax in zip(keys, axes[0]):
        _draw(ax, adata.obs[key].to_numpy(dtype=np.float64)[cells.rows], cells, colours)
        ax.set_xlabel(_TITLES[key])
        if key == UNKNOWN_KEY:
            limit = adata.uns.get(UNS_KEY, {}).get("unknown_from", _UNKNOWN_FROM)
            ax.axvline(limit, color="0.3", linestyle="--", linewidth=1)
    axes[0, 0].set_ylabel("type (cells)")
    return figure


def _draw(ax: Axes, values: Float64[np.ndarray, "n"], cells: TypesOfCells, colours: dict[str, str]) -> None:
    places = np.arange(len(cells.names))
    parts = [values[cells.codes == code] for code in places]
    low, first, middle, third, high = np.array([np.nanquantile(part, _LINES) for part in parts]).T
    ax.hlines(places, low, high, color="0.4", linewidth=1, zorder=1)
    colour = [colours[name] for name in cells.names]
    ax.barh(places, third - first, left=first, height=0.7, color=colour, edgecolor="0.4", linewidth=0.8, zorder=2)
    ax.vlines(middle, places - 0.35, places + 0.35, color="black", linewidth=1.5, zorder=3)
    ax.set_yticks(places, [f"{name} ({n:,})" for name, n in zip(cells.names, cells.counts)], fontsize=9)
    ax.set(xlim=(-0.02, 1.02), ylim=(len(places) - 0.4, -0.6))
