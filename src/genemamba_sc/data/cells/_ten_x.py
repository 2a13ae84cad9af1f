"""Read what Cell Ranger and programs like it write: matrix, features and barcodes, in one HDF5 file or in a folder."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_mtx

from genemamba_sc.data.cells._file_kinds import matrices_of


def read_10x(path: Path, kind: str) -> AnnData:
    """Read all features, which say what they count; genes by their Ensembl ids.

    Parameters
    ----------
    path
        The file or folder.
    kind
        ``"10x h5"`` or ``"10x mtx"``.

    Raises
    ------
    ValueError
        If a file holds several genomes, a folder several matrices or not all that belongs to one, or the parts do not
        fit each other.
    """
    return _read_h5(path) if kind == "10x h5" else _read_folder(path)


def _read_h5(path: Path) -> AnnData:
    import scanpy as sc  # it takes seconds to import, and nothing else here needs it

    with h5py.File(path, "r") as file:
        genomes = [] if "matrix" in file else [name for name in file if "barcodes" in file[name]]
    if len(genomes) > 1:
        raise ValueError(
            f"{path} must hold one genome; it has {', '.join(genomes)}. Read one with sc.read_10x_h5(path, "
            f"genome={genomes[0]!r}) and write it with adata.write_h5ad."
        )
    adata = sc.read_10x_h5(path, gex_only=False)
    if "gene_ids" in adata.var:
        adata.var["symbol"] = list(adata.var_names)
        adata.var_names = [str(name) for name in adata.var["gene_ids"]]
    return adata


def _read_folder(folder: Path) -> AnnData:
    """Read three files, each packed or not; features have ids, mostly symbols, and kinds since Cell Ranger 3."""
    prefix = _prefix(folder)
    matrix = read_mtx(_part(folder, prefix, "matrix.mtx")).X
    features = _table(_part(folder, prefix, "features.tsv", "genes.tsv"))
    barcodes = _table(_part(folder, prefix, "barcodes.tsv"))
    if matrix.shape != (len(features), len(barcodes)):
        raise ValueError(
            f"{folder} must have a feature for each row of its matrix and a barcode for each column. Got "
            f"{len(features)} features and {len(barcodes)} barcodes for {matrix.shape[0]} x {matrix.shape[1]}. Put the "
            "files of one run together."
        )
    names = dict(zip((1, 2), ("gene_symbols", "feature_types")))
    var = pd.DataFrame(
        {name: features[place].to_numpy(object) for place, name in names.items() if place in features},
        index=features[0].to_numpy(object),
    )
    return AnnData(matrix.T.tocsr().astype(np.float32), obs=pd.DataFrame(index=barcodes[0].to_numpy(object)), var=var)


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, header=None, sep="\t", dtype=str, keep_default_na=False)


def _part(folder: Path, prefix: str, *names: str) -> Path:
    """Find one of the files that belong to a matrix."""
    for name in names:
        for path in (folder / f"{prefix}{name}", folder / f"{prefix}{name}.gz"):
            if path.is_file():
                return path
    raise ValueError(
        f"{folder} must hold {prefix}{names[0]} beside its matrix, packed with gzip or not. Got "
        f"{', '.join(sorted(file.name for file in folder.iterdir())[:10])}. Put it there."
    )


def _prefix(folder: Path) -> str:
    """Find what stands before ``matrix.mtx``, as in files of GEO.

    Raises
    ------
    ValueError
        If there are several matrices, and none without a prefix.
    """
    found = sorted({name.partition("matrix.mtx")[0] for name in matrices_of(folder)})
    if "" in found:
        return ""
    if len(found) > 1:
        raise ValueError(
            f"{folder} must hold one matrix; it has {len(found)}, with the prefixes {', '.join(found[:5])}. Put each, "
            "with its barcodes and features, into a folder of its own."
        )
    return found[0]
