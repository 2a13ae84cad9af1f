"""Open the expression matrix of an AnnData once: find its scale, and leave out columns that are no genes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from genemamba_sc._warn import warn
from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._expression import Expression, detect_expression
from genemamba_sc.data.cells._feature_types import other_features


@dataclass(frozen=True, eq=False)
class CellMatrix:
    """Hold a matrix that is ready to be read.

    Parameters
    ----------
    reader
        Reader of the cells; columns that are not gene expression are read as zeros.
    expression
        Scale of the values.
    left_out
        Kinds of these columns, and how many there are of each.
    """

    reader: CellReader
    expression: Expression
    left_out: dict[str, int]


def open_matrix(adata: AnnData, layer: str | None, scale: str | None = None) -> CellMatrix:
    """Open ``X`` or a layer and find its scale.

    Parameters
    ----------
    adata
        Cells.
    layer
        Name of a layer; None means ``X``.
    scale
        What the values are; None detects it (see :func:`detect_expression`).

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData.
    ValueError
        If there is no such layer, no ``X``, no cell or no gene, or the values cannot be ranked.

    Warns
    -----
    UserWarning
        If columns are left out, or the scale is assumed.
    """
    reader, left_out = without_others(reader_of(adata, layer), adata.var)
    if left_out:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in left_out.items())
        warn(
            f"{sum(left_out.values()):,} of {adata.n_vars:,} columns are not gene expression ({kinds}): they get no "
            "token and do not count towards the total of a cell."
        )
    expression = detect_expression(reader, uns=adata.uns, where=where_is(layer), scale=scale)
    return CellMatrix(reader, expression, left_out)


def matrix_of(
    reader: CellReader, var: pd.DataFrame, uns: Mapping[str, Any], where: str, scale: str | None = None
) -> CellMatrix:
    """Do the same for a matrix that is already open, without a warning about what is left out.

    Parameters
    ----------
    reader
        Reader of the cells.
    var, uns
        Tables ``var`` and ``uns`` of the file.
    where
        Name of the matrix in messages.
    scale
        What the values are; None detects it.
    """
    reader, left_out = without_others(reader, var)
    return CellMatrix(reader, detect_expression(reader, uns=uns, where=where, scale=scale), left_out)


def without_others(reader: CellReader, var: pd.DataFrame) -> tuple[CellReader, dict[str, int]]:
    """Return a reader in which columns that are not gene expression are zero, and the kinds of these columns."""
    other, left_out = other_features(var)
    return (reader.without(np.flatnonzero(other)), left_out) if left_out else (reader, left_out)


def reader_of(adata: AnnData, layer: str | None) -> CellReader:
    """Open ``X`` or a layer.

    Parameters
    ----------
    adata
        Cells.
    layer
        Name of a layer; None means ``X``.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData.
    ValueError
        If there is no such layer, no ``X``, no cell or no gene, or the matrix has another shape.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(
            f"Cells are read from an AnnData. Got {type(adata).__module__.partition('.')[0]}.{type(adata).__name__}. "
            "Read a file with anndata.read_h5ad(path); make one of adata.raw with adata.raw.to_adata(); join several "
            "with anndata.concat."
        )
    # anndata 0.13 lists X among the layers, as None.
    names = [name for name in adata.layers if name is not None]
    have = ", ".join(repr(str(name)) for name in names) or "none"
    if layer is not None and layer not in names:
        raise ValueError(
            f"layer must name one of adata.layers; got {layer!r}, the layers are: {have}. "
            "Pass one of these, or layer=None to read adata.X."
        )
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise ValueError(
            f"At least one cell and one gene are needed; the AnnData has {adata.n_obs} cells and {adata.n_vars} genes. "
            "Check how it was filtered."
        )
    matrix = _whole_matrix(adata, layer)
    if matrix is None:
        raw = "" if adata.raw is None else " adata.raw holds expression: adata = adata.raw.to_adata() makes it X."
        raise ValueError(
            f"Expression is read from adata.X, which is None. Pass layer=...; the layers are: {have}.{raw}"
        )
    return CellReader(matrix)


def _whole_matrix(adata: AnnData, layer: str | None) -> Any:
    """Take ``X`` or a layer, which must have all cells and genes: parts of a file on disk may lack some."""
    told: object
    try:
        matrix = adata.X if layer is None else adata.layers[layer]
        shape = getattr(matrix, "shape", adata.shape)
        if tuple(shape) == adata.shape:
            return matrix
        told = tuple(shape)
    except ValueError as error:
        if not (adata.is_view and adata.isbacked):
            raise
        told = error
    raise ValueError(
        f"The matrix must have a row for each cell and a column for each gene. Got {told} for an AnnData of "
        f"{adata.shape}: anndata misreads some parts of a file on disk, such as a reversed one. Load the file before "
        "you take the part: adata = adata.to_memory()."
    )


def where_is(layer: str | None) -> str:
    """Name a matrix for a message."""
    return "adata.X" if layer is None else f"adata.layers[{layer!r}]"
