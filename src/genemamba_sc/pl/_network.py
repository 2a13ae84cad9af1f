"""Draw a network of genes."""

from typing import Protocol, runtime_checkable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from genemamba_sc._checks import whole_number

# More names than this cover each other.
_MOST_NAMED = 60


@runtime_checkable
class HasEdges(Protocol):
    """Describe a result with a table of edges, such as :class:`genemamba_sc.tl.GeneNetwork`."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per edge, with the columns ``source``, ``target``, ``score``."""


def network(
    edges: HasEdges | pd.DataFrame,
    *,
    gene: str | None = None,
    n_edges: int = 150,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the strongest edges of a network, laid out by springs (Kamada and Kawai, 1989).

    Needs igraph: ``pip install 'genemamba-sc[graphs]'``.

    Parameters
    ----------
    edges
        A result of :func:`genemamba_sc.tl.gene_network`, or a table with the columns ``source``, ``target`` and
        ``score``, the strongest edges first.
    gene
        Name of a gene, or its id where ``edges`` is a network: only it, its neighbours and the edges between these are
        drawn. ``None`` draws the whole network.
    n_edges
        Number of edges to draw, from the first on.
    seed
        Seed of the layout.
    ax
        Axes to draw in; ``None`` makes a figure.

    Returns
    -------
    matplotlib.axes.Axes
        Thicker lines are higher scores, larger points have more edges, and up to 60 genes with most edges are named.
        Distances in the picture mean nothing.

    Raises
    ------
    ImportError
        If igraph is not installed.
    TypeError
        If the edges are neither a network nor a table, or the gene is no text.
    ValueError
        If there is no edge, a column is missing, a score is no finite number, or the gene has no edge.
    """
    if isinstance(edges, type) or not isinstance(edges, HasEdges | pd.DataFrame):
        raise TypeError(
            f"Edges are a network or a table. Got {type(edges).__name__}. Pass a result of gm.tl.gene_network."
        )
    gene = _name_of(edges, gene)
    table = _chosen(edges if isinstance(edges, pd.DataFrame) else edges.to_frame(), gene)
    table = table.head(whole_number("n_edges", n_edges, 1))
    names, ends = np.unique(table[["source", "target"]].to_numpy(dtype=str), return_inverse=True)
    ends = ends.reshape(-1, 2)
    places = _layout(len(names), ends, whole_number("seed", seed, 0))
    degree = np.bincount(ends.ravel(), minlength=len(names))
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 8), layout="constrained")
    widths = 0.5 + 2.0 * _between_0_and_1(table["score"].to_numpy(dtype=float))
    ax.add_collection(LineCollection(list(places[ends]), linewidths=widths, colors="0.75", zorder=1))
    ax.scatter(places[:, 0], places[:, 1], s=20 + 12 * degree, color="C0", edgecolors="white", zorder=2)
    for row in np.argsort(-degree, kind="stable")[:_MOST_NAMED]:
        ax.annotate(names[row], places[row], (0, 5), textcoords="offset points", ha="center", fontsize=8, zorder=3)
    ax.set_axis_off()
    ax.set_title(f"{len(names)} genes, {len(table)} edges" + ("" if gene is None else f" around {gene}"))
    return ax


def _name_of(edges: HasEdges | pd.DataFrame, gene: str | None) -> str | None:
    """Return the name of a gene that is given by an id of the network."""
    if gene is None:
        return None
    if not isinstance(gene, str):
        raise TypeError(f"gene must be the name of one gene, a text. Got {gene!r}. Pass one, such as 'CD3E'.")
    return dict(zip(getattr(edges, "gene_ids", ()), getattr(edges, "genes", ()))).get(gene, gene)


def _chosen(table: pd.DataFrame, gene: str | None) -> pd.DataFrame:
    missing = [name for name in ("source", "target", "score") if name not in table.columns]
    if missing:
        raise ValueError(
            f"Edges have the columns source, target and score. {missing} are missing among {list(table.columns)}. "
            "Pass a result of gm.tl.gene_network, or its to_frame()."
        )
    if table.empty:
        raise ValueError("A network is drawn from its edges. Got none. Make it with a larger max_fdr or more cells.")
    finite = np.isfinite(pd.to_numeric(table["score"], errors="coerce").to_numpy(dtype=float))
    if not finite.all():
        raise ValueError(
            f"Scores must be finite numbers. Got {table['score'][~finite].iloc[0]!r} in {int((~finite).sum())} of "
            f"{len(table)} edges. Leave these edges out."
        )
    if gene is None:
        return table
    touches = (table["source"] == gene) | (table["target"] == gene)
    if not touches.any():
        raise ValueError(
            f"gene must have an edge. {gene!r} has none. Name one of those that have, such as "
            f"{table['source'].iloc[0]!r}, or call gm.tl.nearest_genes."
        )
    near = set(table.loc[touches, ["source", "target"]].to_numpy().ravel())
    inside = table["source"].isin(near) & table["target"].isin(near)
    return pd.concat([table[touches], table[inside & ~touches]])


def _layout(n: int, ends: np.ndarray, seed: int) -> np.ndarray:
    try:
        import igraph
    except ModuleNotFoundError as error:
        raise ImportError(
            "Networks are laid out by igraph. Got no igraph here. Install it with: pip install 'genemamba-sc[graphs]'"
        ) from error
    # The layout draws nothing at random once it knows where to start.
    start = np.random.default_rng(seed).normal(size=(n, 2))
    found = igraph.Graph(n, ends.tolist()).layout_kamada_kawai(seed=start.tolist(), maxiter=20 * n)
    return np.array(found.coords)


def _between_0_and_1(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
