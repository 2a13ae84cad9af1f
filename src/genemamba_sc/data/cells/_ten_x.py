"""Read what Cell Ranger and programs like it write: matrix, features and barcodes, in one HDF5 file or in a folder."""

from pathlib import Path

from anndata import AnnData

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
        If a folder holds several matrices.
    """
    import scanpy as sc  # it takes seconds to import, and nothing else here needs it

    if kind == "10x h5":
        adata = sc.read_10x_h5(path, gex_only=False)
    else:
        adata = sc.read_10x_mtx(path, var_names="gene_ids", gex_only=False, prefix=_prefix(path))
    if "gene_ids" in adata.var:
        adata.var["symbol"] = list(adata.var_names) if kind == "10x h5" else list(adata.var["gene_symbols"])
        adata.var_names = [str(name) for name in adata.var["gene_ids"]]
    return adata


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
