"""Read and write files of cells, for commands."""

import os
import shutil
import sys
from pathlib import Path

from anndata import AnnData

from genemamba_sc._files import check_writable, replacing_file, replacing_folder
from genemamba_sc.cli._apart import is_same
from genemamba_sc.data import Place, open_backed
from genemamba_sc.data import read_cells as read_whole
from genemamba_sc.data.cells._cell_files import raw_of
from genemamba_sc.data.cells._file_kinds import kind_of
from genemamba_sc.data.cells._mudata import modalities_of
from genemamba_sc.data.cells._text import plain_text

_RESERVED = "_index"
EVERYTHING = Place()


def read_cells(path: str, place: Place = EVERYTHING, *, backed: bool = False) -> AnnData:
    """Read the cells of a file, and repair what could not be written again.

    Parameters
    ----------
    path
        h5ad or h5mu file, zarr folder, or file or folder of 10x.
    place
        Whether to read ``raw`` in place of ``X``, and which modality.
    backed
        Whether matrices stay on disk; only cells and genes are then read.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file cannot be read.
    """
    print(f"reading {path}", file=sys.stderr)
    if backed:
        adata = open_backed(path, place)
    else:
        adata = read_whole(path, use_raw=place.use_raw, modality=place.modality)
    _mend(adata, path)
    return adata


def read_pair(path: str, place: Place, *, backed: bool = False) -> tuple[AnnData, AnnData]:
    """Read cells as a model reads them, and as they are to be written; both are one object unless ``raw`` is read.

    Parameters
    ----------
    path, place, backed
        As in :func:`read_cells`. With ``backed`` nothing is read but what the model needs.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file cannot be read.
    """
    names = modalities_of(path)
    if place.use_raw and not backed:
        whole = read_cells(path, Place(modality=place.modality))
        pair = raw_of(whole, path), whole
    else:
        pair = (read_cells(path, place, backed=backed),) * 2
    if len(names) > 1:
        others = [name for name in names if name != (place.modality or "rna")]
        print(f"{path} is a MuData: OUT holds one modality, and not {', '.join(others)}.", file=sys.stderr)
    return pair


def hand_over(read: AnnData, whole: AnnData) -> AnnData:
    """Put what a model wrote to the cells of ``raw`` onto the object that holds them, and return that.

    Parameters
    ----------
    read, whole
        What :func:`read_pair` returned.
    """
    if read is not whole:
        whole.obs, whole.uns = read.obs, read.uns
        for name in read.obsm:
            whole.obsm[name] = read.obsm[name]
    return whole


def check_not_lost(path: str, output: str) -> None:
    """Refuse a place for OUT where it would take the place of what it does not hold.

    Parameters
    ----------
    path
        File or folder of the cells.
    output
        Where the result is to be written.

    Raises
    ------
    ValueError
        If OUT is a MuData that is read, holds what is read, or lies in a zarr folder that is read.
    """
    source, target = Path(os.path.realpath(path)), Path(os.path.realpath(output))
    if target in source.parents or (source in target.parents and kind_of(source) == "zarr"):
        raise ValueError(
            f"OUT and the cells that are read must not lie in each other: writing would replace or spoil them. Got "
            f"{output} and {path}. Name a place elsewhere."
        )
    if is_same(path, output) and modalities_of(path):
        raise ValueError(
            f"OUT must not be the MuData that is read: it holds one modality, and the others would be lost. Got {path} "
            "for both. Name another file to write."
        )


def _mend(adata: AnnData, path: str) -> None:
    """Rename columns that AnnData reads (SeuratDisk writes them) and refuses to write, before any work is done."""
    tables = {"obs": adata.obs, "var": adata.var}
    if adata.raw is not None and _RESERVED in adata.raw.var.columns:
        tables["raw.var"] = adata.raw.var
    for name, table in tables.items():
        if _RESERVED in table.columns:
            table.columns = table.columns.map(lambda name: "index_of_file" if name == _RESERVED else name)
            print(
                f"{path}: the column {_RESERVED!r} of {name} was renamed to 'index_of_file', for AnnData keeps that "
                "name to itself and could not write it.",
                file=sys.stderr,
            )


def check_output(path: str) -> None:
    """Refuse a place or a format that could not be written at the end.

    Raises
    ------
    OSError
        If the place cannot be written to.
    ValueError
        If the name says a format that is not written.
    """
    target = Path(path)
    if target.is_dir() and target.suffix != ".zarr":
        raise IsADirectoryError(f"{path} is a folder. Give the name of a file to write.")
    if target.suffix not in (".h5ad", ".zarr"):
        raise ValueError(
            f"Results are written as h5ad or zarr, by the end of the name. Got {target.name!r}. "
            "Name OUT something.h5ad, or something.zarr."
        )
    if target.suffix == ".zarr" and target.is_dir():
        if not any((target / name).exists() for name in (".zgroup", "zarr.json")):
            raise FileExistsError(
                f"{path} is a folder that is not a zarr store, so it is not replaced. Choose another name."
            )
        check_writable(target.parent / f"{target.name}.new")
        return
    check_writable(target)


def write_cells(adata: AnnData, path: str) -> None:
    """Write cells as h5ad or zarr, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written; what stood there stays.
    """
    print(f"writing {path}", file=sys.stderr)
    try:
        if Path(path).suffix == ".zarr":
            with replacing_folder(path) as temporary:
                shutil.rmtree(temporary)
                with plain_text(adata):
                    adata.write_zarr(temporary)
        else:
            with replacing_file(path) as temporary, plain_text(adata):
                adata.write_h5ad(temporary)
    except OSError as error:
        is_told = "could not be written" in str(error)
        if is_told or (error.filename is not None and ".writing-" not in str(error.filename)):
            raise
        raise OSError(f"{path} could not be written ({error}). Free some space, or choose another place.") from error
