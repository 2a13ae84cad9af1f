"""What a file or folder of cells is, before anything of it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import zarr

from genemamba_sc._json import quoted

# What others read in one call: the call is named, for it may need choices that are the user's.
_CALLS = {
    ".loom": "anndata.io.read_loom(path)",
    ".csv": "scanpy.read_csv(path)",
    ".tsv": "scanpy.read_text(path)",
    ".txt": "scanpy.read_text(path)",
    ".mtx": "scanpy.read_mtx(path), or give the folder that holds matrix, barcodes and features",
    ".rds": "zellkonverter or sceasy in R, which write h5ad",
    ".h5seurat": "SeuratDisk::Convert in R, which writes h5ad",
}
_UNPACKED_BY = {".gz": "gunzip", ".zip": "unzip", ".tar": "tar -xf"}


def kind_of(path: Path) -> str:
    """Tell what a file or folder is: ``"h5ad"``, ``"zarr"``, ``"10x h5"`` or ``"10x mtx"``.

    A MuData is of the first two kinds: each of its modalities is written as an AnnData is.

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
        if matrices_of(path):
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
    if (tool := _UNPACKED_BY.get(path.suffix.lower())) is not None:
        raise ValueError(f"{path} is packed. Unpack it with {tool}, and give the path of what is in it.")
    call = _CALLS.get(path.suffix.lower())
    way_out = f"Read it with {call} and write it with adata.write_h5ad" if call else "Write it with adata.write_h5ad"
    raise ValueError(f"{path} cannot be read as h5ad: it is not an HDF5 file. {way_out}.")


def matrices_of(folder: Path) -> list[str]:
    """List the names of the matrices of 10x in a folder, with whatever prefix; hidden files are none.

    Parameters
    ----------
    folder
        The folder.
    """
    return sorted(file.name for file in folder.glob("*matrix.mtx*") if not file.name.startswith("."))


def _kind_of_hdf5(path: Path) -> str:
    with _hdf5(path) as file:
        if "var" in file or "X" in file or "mod" in file:
            return "h5ad"
        if "row_attrs" in file:
            raise ValueError(
                f"{path} is a loom file. Read it with {_CALLS['.loom']} and write it with adata.write_h5ad."
            )
        if "matrix" in file or any("barcodes" in group for group in file.values() if isinstance(group, h5py.Group)):
            return "10x h5"
        found = sorted(file)[:10]
    raise ValueError(f"{path} is an HDF5 file of another kind; it holds {found}. Write it with adata.write_h5ad.")


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for a look at its structure; repeat with its name what h5py says of a damaged one."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # all of h5py: the block itself raises ValueErrors
        raise unreadable(path, "HDF5", error) from error


def unreadable(path: str | Path, kind: str, error: Exception) -> ValueError:
    """Make the error for a file that a library could not read.

    Parameters
    ----------
    path
        The file.
    kind
        What it was read as.
    error
        What the library raised.
    """
    way_out = "Write it with adata.write_h5ad or adata.write_zarr."
    return ValueError(f"{path} cannot be read as {kind} ({quoted(error)}). {way_out}")


def group_of_cells(store: h5py.File | zarr.Group, path: Path, modality: str | None) -> h5py.Group | zarr.Group:
    """Give the group of a store that holds an AnnData: the store itself, or one modality of a MuData.

    Parameters
    ----------
    store
        The open file or folder.
    path
        Where it lies, for messages.
    modality
        The modality of a MuData; ``None`` takes ``"rna"``, or the only one there is.

    Raises
    ------
    ValueError
        If a modality is named and it is no MuData, there is no such modality, or none is named and several could be
        meant.
    """
    modalities = store.get("mod") if "X" not in store else None
    if not isinstance(modalities, h5py.Group | zarr.Group):
        if modality is not None:
            raise ValueError(
                f"{path} holds one table of cells and no modalities. Got modality={modality!r}. Leave it out."
            )
        return store
    names = sorted(modalities)
    found = modality or ("rna" if "rna" in names or len(names) != 1 else names[0])
    if found not in names:
        raise ValueError(
            f"{path} is a MuData with the modalities {', '.join(names)}. Got modality={modality!r}. Name the one with "
            "gene counts: modality=..., --modality on the command line."
        )
    return modalities[found]
