"""Collections of cells on disk: one opener for the command line, the corpus and the model."""

from collections.abc import Callable, Iterator, Mapping
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

from genemamba_sc._json import quoted
from genemamba_sc.data._cells import CellReader
from genemamba_sc.data._matrix import reader_of

# What others read in one call: the call is named, for it may need choices that are the user's.
_CALLS = {
    ".loom": "anndata.io.read_loom(path)",
    ".csv": "scanpy.read_csv(path)",
    ".tsv": "scanpy.read_text(path)",
    ".txt": "scanpy.read_text(path)",
    ".mtx": "scanpy.read_mtx(path), or give the folder that holds matrix, barcodes and features",
    ".rds": "zellkonverter or sceasy in R, which write h5ad",
    ".h5seurat": "SeuratDisk::Convert in R, which writes h5ad",
    ".gz": "gunzip",
    ".zip": "unzip",
    ".tar": "tar -xf",
}


# What h5py, zarr and anndata raise where a part of a matrix is damaged or missing.
_DAMAGED = (OSError, RuntimeError, KeyError, TypeError, AttributeError, IndexError)


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
def open_cells(path: str | Path, layer: str | None = None) -> Iterator[CellFile]:
    """Open a file or folder for reading by rows, and close it again.

    Parameters
    ----------
    path
        h5ad file or zarr folder, as AnnData writes them; 10x ``.h5`` file or ``mtx`` folder, read as a whole.
    layer
        Layer with the expression; ``None`` reads ``X``.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ValueError
        If it is of no kind that is read, lacks the layer, or holds nothing.
    """
    adata, store = _open(Path(path))
    try:
        try:
            reader = reader_of(adata, layer)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        except _DAMAGED as error:
            raise _unreadable(path, "cells", error) from error
        matrix = adata.X if layer is None else adata.layers[layer]
        yield CellFile(reader, adata.var, adata.uns, isinstance(matrix, CSCDataset))
    finally:
        if isinstance(store, h5py.File):
            store.close()


def open_backed(path: str | Path) -> AnnData:
    """Open cells with ``obs`` and ``var`` in memory, ``X`` and the layers on disk, and nothing else.

    ``anndata.read_h5ad(backed="r")`` leaves only ``X`` on disk. It reads all layers, neighbour graphs and embeddings,
    which for a million cells are many times what is allowed to the result.

    Parameters
    ----------
    path
        As in :func:`open_cells`. The file stays open, for reading, as long as the AnnData lives.

    Returns
    -------
    An AnnData to read cells from. Of ``uns`` it holds ``log1p``, which tells the scale of the values.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`open_cells`.
    """
    return _open(Path(path))[0]


def read_cells(path: str | Path, *, use_raw: bool = False) -> AnnData:
    """Read all that a file holds into memory.

    Parameters
    ----------
    path
        As in :func:`open_cells`.
    use_raw
        Whether the expression and the genes of ``adata.raw`` take the place of ``X`` and ``var``.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`open_cells`; also if there is no ``raw``.
    """
    path = Path(path)
    kind = kind_of(path)
    readers: dict[str, Callable[[], AnnData]] = {
        "h5ad": lambda: anndata.read_h5ad(path),
        "zarr": lambda: anndata.read_zarr(path),
    }
    try:
        adata = readers[kind]() if kind in readers else _read_10x(path, kind)
    except Exception as error:  # h5py, zarr and anndata raise many kinds for what is not theirs
        raise _unreadable(path, kind, error) from error
    if not use_raw:
        return adata
    if adata.raw is None:
        raise ValueError(f"{path} has no raw expression. Leave out use_raw (--use-raw) to read X, or name a layer.")
    return adata.raw.to_adata()


def kind_of(path: Path) -> str:
    """Tell what a file or folder is: ``"h5ad"``, ``"zarr"``, ``"10x h5"`` or ``"10x mtx"``.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    ValueError
        If it is of another kind; the message names the call that reads it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist. Give the path of an h5ad file or of a zarr folder.")
    if path.is_dir():
        if any(path.glob("matrix.mtx*")) or any(path.glob("*_matrix.mtx*")):
            return "10x mtx"
        if any((path / name).exists() for name in (".zgroup", ".zattrs", "zarr.json")):
            return "zarr"
        raise ValueError(
            f"{path} is a folder that is neither zarr, as adata.write_zarr leaves it, nor one of 10x with matrix.mtx. "
            "Give the path of an h5ad file, or of such a folder."
        )
    if not path.is_file():
        raise ValueError(f"{path} is no regular file. Give the path of an h5ad file or of a zarr folder.")
    if h5py.is_hdf5(path):
        return _kind_of_hdf5(path)
    call = _CALLS.get(path.suffix.lower())
    way_out = f"Read it with {call} and write it with adata.write_h5ad" if call else "Write it with adata.write_h5ad"
    raise ValueError(f"{path} cannot be read as h5ad: it is no HDF5 file. {way_out}.")


def _kind_of_hdf5(path: Path) -> str:
    with _hdf5(path) as file:
        if "mod" in file and "X" not in file:
            names = ", ".join(file["mod"])
            raise ValueError(
                f"{path} is a MuData with the modalities {names}. Read the one with gene counts and write it as h5ad: "
                "mudata.read_h5ad(path, mod='rna').write_h5ad(...)."
            )
        if "var" in file or "X" in file:
            return "h5ad"
        if "matrix" in file or any("barcodes" in group for group in file.values() if isinstance(group, h5py.Group)):
            return "10x h5"
        if "row_attrs" in file:
            raise ValueError(
                f"{path} is a loom file. Read it with {_CALLS['.loom']} and write it with adata.write_h5ad."
            )
        found = sorted(file)[:10]
    raise ValueError(f"{path} is an HDF5 file of another kind; it holds {found}. Write it with adata.write_h5ad.")


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for a look at its structure; what h5py says of a damaged one is said with its name."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # all of h5py: what the block raises are ValueErrors
        raise _unreadable(path, "HDF5", error) from error


def _unreadable(path: str | Path, kind: str, error: Exception) -> ValueError:
    way_out = "Write it with adata.write_h5ad or adata.write_zarr."
    return ValueError(f"{path} cannot be read as {kind} ({quoted(error)}). {way_out}")


def _open(path: Path) -> tuple[AnnData, Any]:
    kind = kind_of(path)
    if kind.startswith("10x"):
        return read_cells(path), None
    store: Any = None
    try:
        store = zarr.open_group(path, mode="r") if kind == "zarr" else h5py.File(path, "r")
        if "encoding-type" not in store.attrs:  # written by an anndata before 0.7
            return (anndata.read_h5ad(path, backed="r") if kind == "h5ad" else anndata.read_zarr(path)), store
        return _structure(store), store
    except Exception as error:  # as in read_cells
        if isinstance(store, h5py.File):
            store.close()
        raise _unreadable(path, kind, error) from error


def _structure(store: Any) -> AnnData:
    layers = store["layers"] if "layers" in store else {}
    return AnnData(
        X=_on_disk(store["X"]) if "X" in store else None,
        obs=read_elem(store["obs"]),
        var=read_elem(store["var"]),
        uns={"log1p": read_elem(store["uns/log1p"])} if "uns/log1p" in store else {},
        layers={name: _on_disk(layers[name]) for name in layers},
    )


def _on_disk(stored: Any) -> CSRDataset | CSCDataset | h5py.Dataset | zarr.Array | object:
    """Give a matrix that is read when it is indexed; kinds that have no such form are read."""
    if isinstance(stored, h5py.Dataset | zarr.Array):
        return stored
    if stored.attrs.get("encoding-type") in ("csr_matrix", "csc_matrix"):
        return sparse_dataset(stored)
    return read_elem(stored)


def _read_10x(path: Path, kind: str) -> AnnData:
    """Read files of Cell Ranger: all features, which say what they count; genes by their Ensembl ids."""
    import scanpy as sc  # it takes seconds to import, and nothing else here needs it

    if kind == "10x h5":
        adata = sc.read_10x_h5(path, gex_only=False)
    else:
        adata = sc.read_10x_mtx(path, var_names="gene_ids", gex_only=False)
    if "gene_ids" in adata.var:
        adata.var["symbol"] = list(adata.var_names) if kind == "10x h5" else list(adata.var["gene_symbols"])
        adata.var_names = [str(name) for name in adata.var["gene_ids"]]
    return adata
