"""Read what a MuData holds beside its modalities: their names, and the table of all cells, where labels often stand."""

from pathlib import Path

import h5py
import zarr
from anndata import AnnData
from anndata.io import read_elem

from genemamba_sc.data.cells._file_kinds import kind_of


def modalities_of(path: str | Path) -> list[str]:
    """List the modalities of a MuData on disk; none where the file is something else.

    Parameters
    ----------
    path
        A file or folder of cells.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none, or it is of a kind that cannot be read.
    """
    kind = kind_of(Path(path))
    if kind == "h5ad":
        with h5py.File(path, "r") as file:
            return _names(file)
    return _names(zarr.open_group(path, mode="r")) if kind == "zarr" else []


def _names(store: h5py.File | zarr.Group) -> list[str]:
    found = store.get("mod") if "X" not in store else None
    return sorted(found) if isinstance(found, h5py.Group | zarr.Group) else []


def join_obs(adata: AnnData, store: h5py.File | zarr.Group) -> None:
    """Add the columns of the ``obs`` of a MuData that a modality lacks, by the names of the cells.

    Columns that MuData copied from a modality (``rna:batch``) are left out.

    Parameters
    ----------
    adata
        The modality; columns are added to its ``obs``.
    store
        The open MuData.
    """
    shared = read_elem(store["obs"]) if "obs" in store else None
    if shared is None or not shared.index.is_unique or not adata.obs_names.isin(shared.index).any():
        return
    copied = tuple(f"{name}:" for name in _names(store))
    for column in shared.columns:
        if column not in adata.obs.columns and not str(column).startswith(copied):
            adata.obs[column] = shared[column].reindex(adata.obs_names)
