"""Collections of cells on disk, opened without reading their matrix: h5ad files and zarr folders."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import zarr
from anndata.abc import CSCDataset
from anndata.io import read_elem, sparse_dataset

from genemamba_sc.data._cells import CellReader

_BLOCK = 1 << 22


@dataclass(frozen=True, eq=False)
class CellFile:
    """An open collection of cells.

    Parameters
    ----------
    reader
        Its matrix; rows are read from disk when they are asked for.
    var
        Its genes.
    uns
        ``{"log1p": ...}`` where the file has that entry; nothing else is read.
    by_columns
        Whether the matrix is stored by columns (CSC), so that it was read into memory as a whole.
    """

    reader: CellReader
    var: pd.DataFrame
    uns: Mapping[str, Any]
    by_columns: bool


@contextmanager
def open_cells(path: Path, layer: str | None) -> Iterator[CellFile]:
    """Open an h5ad file or a zarr folder for reading by rows.

    Parameters
    ----------
    path
        The file or folder, as AnnData writes it.
    layer
        Layer with the expression; ``None`` reads ``X``.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ValueError
        If it is no AnnData, lacks the layer, or holds a dense zarr matrix.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give the path of an h5ad file or of a zarr folder.")
    store = _open_store(path)
    try:
        yield _read_structure(store, path, layer)
    finally:
        if isinstance(store, h5py.File):
            store.close()


def _open_store(path: Path) -> h5py.File | zarr.Group:
    try:
        return zarr.open_group(path, mode="r") if path.is_dir() else h5py.File(path, "r")
    except Exception as error:  # h5py and zarr raise many kinds for what is not theirs
        raise ValueError(
            f"{path} cannot be read as {'zarr' if path.is_dir() else 'h5ad'} ({error}). "
            "Write it with adata.write_h5ad or adata.write_zarr."
        ) from error


def _read_structure(store: Any, path: Path, layer: str | None) -> CellFile:
    where = "X" if layer is None else f"layers/{layer}"
    if "var" not in store or where not in store:
        layers = sorted(store["layers"].keys()) if "layers" in store else []
        raise ValueError(
            f"{path} must hold {where!r} and 'var'; it has {sorted(store)}, its layers are {layers}. "
            "Name a layer it has with --layer, or leave the option out to read X."
        )
    element = store[where]
    if isinstance(element, zarr.Array):
        raise ValueError(
            f"{where!r} of {path} is a dense zarr array, which is not read by rows here. "
            "Store it sparse: adata.X = scipy.sparse.csr_matrix(adata.X); adata.write_zarr(...)."
        )
    matrix = element if isinstance(element, h5py.Dataset) else sparse_dataset(element)
    uns = {"log1p": read_elem(store["uns/log1p"])} if "uns/log1p" in store else {}
    return CellFile(CellReader(matrix), read_elem(store["var"]), uns, isinstance(matrix, CSCDataset))


def size_and_sha256(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file; of a folder, over the names and contents of its files in sorted order."""
    digest, size = hashlib.sha256(), 0
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
    return size, digest.hexdigest()
