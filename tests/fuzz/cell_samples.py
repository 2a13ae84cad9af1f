"""The same nine cells in every kind of file and folder that is read in one call."""

import gzip
import warnings
from pathlib import Path

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import io, sparse

N_CELLS, N_GENES = 9, 20
GENE_IDS = [f"ENSG{i:011d}" for i in range(1, N_GENES + 1)]
BARCODES = [f"cell{i}" for i in range(N_CELLS)]


def counts() -> sparse.csr_matrix:
    """Draw nine cells of twenty genes."""
    return sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (N_CELLS, N_GENES)).astype(np.float32))


def annotated() -> AnnData:
    """Make cells with counts, a layer and the usual tables."""
    obs = pd.DataFrame({"cell_type": pd.Categorical(list("ABC") * 3)}, index=BARCODES)
    var = pd.DataFrame({"symbol": [f"GENE{i}" for i in range(N_GENES)]}, index=GENE_IDS)
    return AnnData(counts(), obs=obs, var=var, layers={"dense": counts().toarray()}, uns={"note": "text"})


def tiny_cells(path: Path) -> None:
    """Write an h5ad file."""
    annotated().write_h5ad(path)


def stored_zarr(path: Path) -> None:
    """Write a zarr folder of format 3."""
    with anndata.settings.override(zarr_write_format=3):
        annotated().write_zarr(path)


def tiny_mudata(path: Path) -> None:
    """Write an h5mu file with the modality rna."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData({"rna": annotated()}).write(path)


def tenx_h5(path: Path) -> None:
    """Write an h5 file as Cell Ranger 3 does."""
    stored = counts()
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(BARCODES, dtype="S")
        group["data"] = stored.data.astype(np.int32)
        group["indices"], group["indptr"] = stored.indices.astype(np.int64), stored.indptr.astype(np.int64)
        group["shape"] = np.array([N_GENES, N_CELLS], dtype=np.int32)
        features = group.create_group("features")
        features["id"] = np.array(GENE_IDS, dtype="S")
        features["name"] = np.array([f"GENE{i}" for i in range(N_GENES)], dtype="S")
        features["feature_type"] = np.array(["Gene Expression"] * N_GENES, dtype="S")
        features["genome"] = np.array(["GRCh38"] * N_GENES, dtype="S")


def matrix_folder(path: Path) -> None:
    """Write a folder with matrix, barcodes and features as Cell Ranger 3 does."""
    path.mkdir()
    features = [f"{name}\tGENE{i}\tGene Expression" for i, name in enumerate(GENE_IDS)]
    for name, lines in (("barcodes", BARCODES), ("features", features)):
        (path / f"{name}.tsv.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    with gzip.open(path / "matrix.mtx.gz", "wb") as stream:
        io.mmwrite(stream, counts().T.tocoo().astype(np.int32))
