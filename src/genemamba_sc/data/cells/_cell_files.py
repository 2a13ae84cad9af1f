"""Open collections of cells on disk, in one way for the command line, the corpus and the model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import pandas as pd
import zarr
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset
from anndata.io import read_elem, sparse_dataset

from genemamba_sc.data.cells._cells import CellReader
from genemamba_sc.data.cells._file_kinds import group_of_cells, kind_of, unreadable
from genemamba_sc.data.cells._matrix import reader_of
from genemamba_sc.data.cells._mudata import join_obs
from genemamba_sc.data.cells._ten_x import read_10x

# What h5py, zarr and anndata raise where a part of a matrix is damaged or missing.
_DAMAGED = (OSError, RuntimeError, KeyError, TypeError, AttributeError, IndexError, ZeroDivisionError)


@dataclass(frozen=True, eq=False)
class CellFile:
    """Hold an open collection of cells.

    Parameters
    ----------
    reader
        Reader of the matrix; rows are read from disk when they are asked for.
    var
        Table of the genes.
    uns
        ``{"log1p": ...}`` where the file has that entry; nothing else of it is read.
    by_columns
        Whether the matrix is stored by columns (CSC), so that it was read into memory as a whole.
    """

    reader: CellReader
    var: pd.DataFrame
    uns: Mapping[str, Any]
    by_columns: bool


@dataclass(frozen=True)
class Place:
    """Say where the expression is in a file.

    Parameters
    ----------
    layer
        Layer with the expression; ``None`` reads ``X``.
    use_raw
        Whether the expression and the genes of ``raw`` take the place of ``X`` and ``var``.
    modality
        Modality of a MuData (h5mu); ``None`` takes ``"rna"``, or the only one there is.

    Raises
    ------
    ValueError
        If both a layer and ``raw`` are asked for.
    """

    layer: str | None = None
    use_raw: bool = False
    modality: str | None = None

    def __post_init__(self) -> None:
        if self.use_raw and self.layer is not None:
            raise ValueError(
                f"raw has no layers. Got layer={self.layer!r} with use_raw=True. Leave out one of them (--layer or "
                "--use-raw)."
            )

    def name(self) -> str:
        """Name the matrix for a message."""
        return "raw.X" if self.use_raw else "X" if self.layer is None else f"layers[{self.layer!r}]"


@contextmanager
def open_cells(path: str | Path, layer: str | Place | None = None) -> Iterator[CellFile]:
    """Open a file or folder for reading by rows, and close it again.

    Parameters
    ----------
    path
        h5ad file or zarr folder, as AnnData writes them; h5mu file or zarr folder of a MuData; 10x ``.h5`` file or
        ``mtx`` folder, read as a whole.
    layer
        Layer with the expression, or a :class:`Place`; ``None`` reads ``X``.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ValueError
        If it has a form that cannot be read, lacks the layer, or holds nothing.
    """
    place = layer if isinstance(layer, Place) else Place(layer)
    adata, store = _open(Path(path), place)
    try:
        try:
            reader = reader_of(adata, place.layer)
        except ValueError as error:
            raise ValueError(f"{path}: {error}{_raw_hint(adata, store, place)}") from error
        except _DAMAGED as error:
            raise unreadable(path, "cells", error) from error
        matrix = adata.X if place.layer is None else adata.layers[place.layer]
        yield CellFile(reader, adata.var, adata.uns, isinstance(matrix, CSCDataset))
    finally:
        if isinstance(store, h5py.File):
            store.close()


def _raw_hint(adata: AnnData, store: Any, place: Place) -> str:
    """Say that the expression stands in ``raw``, where X is missing and it does."""
    if place.layer is not None or adata.X is not None or store is None:
        return ""
    group = group_of_cells(store, Path(), place.modality)
    return " Its raw holds expression: pass use_raw=True (--use-raw)." if "raw" in group else ""


def open_backed(path: str | Path, place: Place = Place()) -> AnnData:
    """Open cells with ``obs`` and ``var`` in memory, ``X`` and the layers on disk, and nothing else.

    ``anndata.read_h5ad(backed="r")`` leaves only ``X`` on disk. It reads all layers, neighbour graphs and embeddings,
    which for a million cells take many times the memory that the result may take.

    Parameters
    ----------
    path
        As in :func:`open_cells`. The file stays open, for reading, as long as the AnnData lives.
    place
        Where the expression stands; of ``raw``, ``X`` and ``var`` are taken, and there are no layers.

    Returns
    -------
    An AnnData to read cells from. Its ``uns`` holds ``log1p``, which tells the scale of the values.

    Raises
    ------
    FileNotFoundError, ValueError
        If :func:`open_cells` raises it.
    """
    return _open(Path(path), place)[0]


def read_cells(path: str | Path, *, use_raw: bool = False, modality: str | None = None) -> AnnData:
    """Read all that a file holds into memory.

    Parameters
    ----------
    path
        As in :func:`open_cells`. Cells of a MuData get the columns of its own ``obs`` that their modality lacks.
    use_raw, modality
        As in :class:`Place`.

    Raises
    ------
    FileNotFoundError, ValueError
        If :func:`open_cells` raises it; also if there is no ``raw``.
    """
    path = Path(path)
    kind = kind_of(path)
    with _named(path, kind):
        if kind.startswith("10x"):
            if modality is not None:
                raise ValueError(f"{path} is of 10x and has no modalities. Got modality={modality!r}. Leave it out.")
            adata = read_10x(path, kind)
        else:
            adata = _read_stored(path, kind, modality)
    return raw_of(adata, path) if use_raw else adata


def _read_stored(path: Path, kind: str, modality: str | None) -> AnnData:
    store = _opened(path, kind)
    try:
        group = group_of_cells(store, path, modality)
        if group is not store:
            adata = read_elem(group)
            join_obs(adata, store)
            return adata
    finally:
        if isinstance(store, h5py.File):
            store.close()
    return anndata.read_h5ad(path) if kind == "h5ad" else anndata.read_zarr(path)


def raw_of(adata: AnnData, path: str | Path) -> AnnData:
    """Make cells of the expression and the genes of ``raw``; what belongs to the cells comes along.

    Parameters
    ----------
    adata
        What a file holds.
    path
        The file, for the message.

    Raises
    ------
    ValueError
        If there is no ``raw``.
    """
    if adata.raw is None:
        raise ValueError(f"{path} has no raw expression. Leave out use_raw (--use-raw) to read X, or name a layer.")
    return adata.raw.to_adata()


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    """Name the file in what h5py, zarr and anndata raise for what is not theirs, which is of many kinds."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise unreadable(path, kind, error) from error
    except Exception as error:
        raise unreadable(path, kind, error) from error


def _opened(path: Path, kind: str) -> h5py.File | zarr.Group:
    return zarr.open_group(path, mode="r") if kind == "zarr" else h5py.File(path, "r")


def _open(path: Path, place: Place) -> tuple[AnnData, Any]:
    kind = kind_of(path)
    if kind.startswith("10x"):
        return read_cells(path, use_raw=place.use_raw, modality=place.modality), None
    store: Any = None
    try:
        with _named(path, kind):
            store = _opened(path, kind)
            group = group_of_cells(store, path, place.modality)
            if "encoding-type" in group.attrs:
                adata = _raw_structure(group, path) if place.use_raw else _structure(group)
                if group is not store:
                    join_obs(adata, store)
                return adata, store
            # Written by an anndata before 0.7.
            if place.use_raw:
                return read_cells(path, use_raw=True), store
            return (anndata.read_h5ad(path, backed="r") if kind == "h5ad" else anndata.read_zarr(path)), store
    except ValueError:
        if isinstance(store, h5py.File):
            store.close()
        raise


def _structure(store: Any) -> AnnData:
    layers = store["layers"] if "layers" in store else {}
    return AnnData(
        X=_on_disk(store["X"]) if "X" in store else None,
        obs=read_elem(store["obs"]),
        var=read_elem(store["var"]),
        uns=_log1p(store),
        layers={name: _on_disk(layers[name]) for name in layers},
    )


def _raw_structure(store: Any, path: Path) -> AnnData:
    if "raw" not in store:
        raise ValueError(f"{path} has no raw expression. Leave out use_raw (--use-raw) to read X, or name a layer.")
    raw = store["raw"]
    return AnnData(X=_on_disk(raw["X"]), obs=read_elem(store["obs"]), var=read_elem(raw["var"]), uns=_log1p(store))


def _log1p(store: Any) -> dict[str, Any]:
    return {"log1p": read_elem(store["uns/log1p"])} if "uns/log1p" in store else {}


def _on_disk(stored: Any) -> CSRDataset | CSCDataset | h5py.Dataset | zarr.Array | object:
    """Return a matrix that is read when it is indexed; kinds that have no such form are read at once."""
    if isinstance(stored, h5py.Dataset | zarr.Array):
        return stored
    if stored.attrs.get("encoding-type") in ("csr_matrix", "csc_matrix"):
        return sparse_dataset(stored)
    return read_elem(stored)
