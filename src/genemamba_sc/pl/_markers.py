"""Draw how the marker genes of each type are expressed in the cells of all types: a dot plot."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy import sparse

from genemamba_sc._checks import whole_number
from genemamba_sc._constants import PREDICTION_KEY
from genemamba_sc._warn import warn
from genemamba_sc._whole_floats import as_text
from genemamba_sc.data import CellSource, GeneVocabulary, RankTokenizer, Scale, match_genes, open_matrix
from genemamba_sc.data.tokens._log_expression import log_expression_blocks
from genemamba_sc.pl._colours import colours_of
from genemamba_sc.pl._require_anndata import require_anndata
from genemamba_sc.pl._types_of_cells import TypesOfCells, types_of_cells

_COLUMNS = ("cell_type", "gene_id", "symbol")
# Inches of a column and of a row, and area in points of the dot of a gene that all cells of a type express.
_COLUMN, _ROW, _LARGEST = 0.2, 0.26, 90.0


@dataclass(frozen=True, eq=False)
class _Dots:
    """Hold what is drawn: share of the cells that express a gene, and its mean, types × genes."""

    shares: Float64[np.ndarray, "c g"]
    means: Float64[np.ndarray, "c g"]


def markers(
    table: pd.DataFrame,
    adata: AnnData,
    *,
    groupby: str = PREDICTION_KEY,
    n_genes: int = 3,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the marker genes of each type as dots: one row for each type of the cells, one column for each gene.

    The area of a dot is the share of the cells that express the gene. Its colour is the mean of ``log1p`` of the counts
    per 10,000, divided by the largest mean of the gene. Genes stand in blocks below the colour of their type.

    Parameters
    ----------
    table
        What :func:`genemamba_sc.tl.marker_genes` returned, or a table with its columns ``cell_type``, ``gene_id`` and
        ``symbol``, the best genes of each type first.
    adata
        Cells with types in ``obs``; nothing is written to them.
    groupby
        Column of ``obs`` with the types. Their colours are those in ``adata.uns``, else those that scanpy would give.
        Cells without a type are left out.
    n_genes
        Number of genes of each type, of those in ``adata``. Types that no cell has are left out, with their genes.
    layer, gene_id_key
        Where expression and gene names are; ``None`` reads ``X`` and ``var_names``. Genes are found by id or symbol.
    scale
        What the values are, as in :meth:`genemamba_sc.GeneMambaModel.setup_anndata`; ``None`` detects it.
    ax
        Axes to draw in; ``None`` makes a figure of fitting size.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError
        If ``table`` is no table, the cells are no AnnData, or ``n_genes`` is no whole number.
    ValueError
        If a column is missing, no cell has a type, or no gene of the table is in ``adata``.
    """
    n_genes = whole_number("n_genes", n_genes, 1)
    _check_table(table)
    require_anndata(adata)
    cells = types_of_cells(adata, groupby)
    source = _source(table, adata, layer, gene_id_key, scale)
    chosen = _chosen(table, cells.names, source, n_genes)
    dots = _measured(source, cells, chosen["token"].to_numpy())
    if ax is None:
        size = (3.5 + _COLUMN * len(chosen), 2.2 + _ROW * len(cells.names))
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    _draw(ax, dots, cells, chosen, colours_of(adata, groupby))
    return ax


def _check_table(table: object) -> None:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be a DataFrame. Got {type(table).__name__}. Pass gm.tl.marker_genes(model).")
    missing = [name for name in _COLUMNS if name not in table]
    if missing or not len(table):
        raise ValueError(
            f"table must have rows and the columns {list(_COLUMNS)}. Got {len(table)} rows with the columns "
            f"{list(table.columns)}. Pass gm.tl.marker_genes(model)."
        )


def _source(
    table: pd.DataFrame, adata: AnnData, layer: str | None, gene_id_key: str | None, scale: Scale | None
) -> CellSource:
    """Read the genes of the table, and only these, whatever names and scale the cells have."""
    genes = table.drop_duplicates("gene_id")
    ids, symbols = (tuple(genes[name].astype(str)) for name in ("gene_id", "symbol"))
    vocabulary = GeneVocabulary(ids, symbols, np.ones(len(ids)), "unknown")
    matrix = open_matrix(adata, layer, scale)
    columns = match_genes(adata.var, vocabulary, gene_id_key=gene_id_key).token_ids
    return CellSource(matrix.reader, columns, matrix.expression, RankTokenizer(vocabulary))


def _chosen(table: pd.DataFrame, names: list[str], source: CellSource, n_genes: int) -> pd.DataFrame:
    """Take the first genes of each type that the cells have, in the order of the types."""
    ids = table["gene_id"].astype(str).map(source.tokenizer.vocabulary.token_of_id)
    rows = table.assign(cell_type=table["cell_type"].astype(object).map(as_text), token=ids.to_numpy())
    is_there = rows["token"].isin(source.columns)
    parts = [rows[is_there & (rows["cell_type"] == name)].head(n_genes) for name in names]
    chosen = pd.concat(parts, ignore_index=True)
    if not len(chosen):
        raise ValueError(
            f"Markers are drawn of types and genes that the cells have. The table has the types "
            f"{sorted(set(rows['cell_type']))[:5]} and genes such as {list(rows['symbol'][:3])}, of which "
            f"{int(is_there.sum())} of {len(rows)} are in adata; the types of the cells are {names[:5]}. Name the "
            "column of var with the genes by gene_id_key=, or the column of obs with the types by groupby=."
        )
    asked = rows[rows["cell_type"].isin(names)].groupby("cell_type", sort=False).head(n_genes)
    n_missing = int((~asked["token"].isin(source.columns)).sum())
    if n_missing:
        warn(
            f"{n_missing} of the {len(asked)} best marker genes are not in adata: the next ones of the table stand in "
            "their place, where it has any. Pass gm.tl.marker_genes(model, n=50), or cells with all genes."
        )
    return chosen


def _measured(source: CellSource, cells: TypesOfCells, tokens: np.ndarray) -> _Dots:
    n_types = len(cells.names)
    shares, means = np.zeros((n_types, len(tokens))), np.zeros((n_types, len(tokens)))
    for part, values in log_expression_blocks(source, cells.rows):
        codes = cells.codes[part]
        members = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_types, len(codes)))
        block = values[:, tokens]
        shares += (members @ (block > 0).astype(np.float64)).toarray()
        means += (members @ block).toarray()
    counts = cells.counts[:, None]
    return _Dots(shares / counts, means / counts)


def _names(chosen: pd.DataFrame) -> list[str]:
    """Name each gene by its symbol, or by its id where it has none or shares it with another one."""
    shared = chosen.groupby(chosen["symbol"].astype(str))["gene_id"].transform("nunique") > 1
    pairs = zip(chosen["symbol"].astype(str), chosen["gene_id"].astype(str), shared)
    return [gene if is_shared or not symbol else symbol for symbol, gene, is_shared in pairs]


def _draw(ax: Axes, dots: _Dots, cells: TypesOfCells, chosen: pd.DataFrame, colours: dict[str, str]) -> None:
    n_types, n_columns = dots.shares.shape
    y, x = np.indices(dots.shares.shape)
    largest = dots.means.max(axis=0)
    levels = dots.means / np.where(largest > 0, largest, 1.0)
    drawn = ax.scatter(
        x.ravel(), y.ravel(), s=_LARGEST * dots.shares.ravel(), c=levels.ravel(), cmap="Reds", vmin=0, vmax=1,
        edgecolors="0.6", linewidths=0.3, zorder=2,
    )  # fmt: skip
    ax.set_xticks(range(n_columns), _names(chosen), rotation=90, fontsize=8)
    ax.set_yticks(range(n_types), [f"{name} ({n:,})" for name, n in zip(cells.names, cells.counts)], fontsize=9)
    ax.set(xlim=(-1.0, n_columns - 0.3), ylim=(n_types - 0.4, -1.5), ylabel="type (cells)")
    ax.tick_params(length=0)
    for kind in cells.names:
        own = np.flatnonzero(chosen["cell_type"] == kind)
        if len(own):
            ax.add_patch(Rectangle((own[0] - 0.5, -1.25), len(own), 0.4, color=colours[kind], linewidth=0))
            row = cells.names.index(kind)
            ax.add_patch(Rectangle((own[0] - 0.5, row - 0.5), len(own), 1.0, fill=False, edgecolor="0.75", zorder=1))
    for row, kind in enumerate(cells.names):
        ax.add_patch(Rectangle((-0.95, row - 0.35), 0.3, 0.7, color=colours[kind], linewidth=0))
    ax.figure.colorbar(drawn, ax=ax, label="mean / largest mean", shrink=min(1.0, 6 / n_types), aspect=12, pad=0.01)
    sizes = [Line2D([], [], marker="o", linestyle="", color="0.5", markersize=(_LARGEST * s) ** 0.5) for s in _SHARES]
    ax.legend(
        sizes, [f"{share:.0%}" for share in _SHARES], title="cells that express", ncols=len(sizes), frameon=False,
        loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8, title_fontsize=8,
    )  # fmt: skip


_SHARES = (0.1, 0.4, 0.7, 1.0)
