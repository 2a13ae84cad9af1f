"""An h5ad file, opened for its cells alone: matrices stay on disk, and what the tokens do not need is not read."""

from pathlib import Path

import anndata
import h5py
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset
from anndata.io import read_elem, sparse_dataset


def open_h5ad(path: str | Path) -> AnnData:
    """Open the cells of an h5ad file: ``obs`` and ``var`` in memory, ``X`` and the layers on disk, nothing else.

    ``anndata.read_h5ad(backed="r")`` leaves only ``X`` on disk. It reads all layers, neighbour graphs and embeddings,
    which for a million cells are many times what is allowed to the result.

    Parameters
    ----------
    path
        The file. It stays open, for reading, as long as the AnnData lives.

    Returns
    -------
    An AnnData to read cells from. Of ``uns`` it holds ``log1p``, which tells the scale of the values.

    Raises
    ------
    OSError
        If the file cannot be opened as HDF5.
    """
    file = h5py.File(path, "r")
    if "encoding-type" not in file.attrs:  # written by an anndata before 0.7
        file.close()
        return anndata.read_h5ad(path, backed="r")
    layers = file.get("layers", {})
    return AnnData(
        X=_on_disk(file["X"]) if "X" in file else None,
        obs=read_elem(file["obs"]),
        var=read_elem(file["var"]),
        uns={"log1p": read_elem(file["uns/log1p"])} if "uns/log1p" in file else {},
        layers={name: _on_disk(layers[name]) for name in layers},
    )


def _on_disk(stored: h5py.Group | h5py.Dataset) -> CSRDataset | CSCDataset | h5py.Dataset | object:
    """Give a matrix that is read when it is indexed; kinds that have no such form are read."""
    if isinstance(stored, h5py.Dataset):
        return stored
    if stored.attrs.get("encoding-type") in ("csr_matrix", "csc_matrix"):
        return sparse_dataset(stored)
    return read_elem(stored)
