"""A file opened for its cells: what stays on disk, and that it reads as the whole file does."""

import gzip
import json
import re
import warnings
from pathlib import Path

import anndata
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset
from scipy import sparse

from genemamba_sc import GeneVocabulary
from genemamba_sc.data import CellReader, detect_expression, open_backed, open_cells, read_cells
from genemamba_sc.data.cells._cell_files import Place
from genemamba_sc.data.cells._file_kinds import kind_of

COUNTS = np.array([[0, 3, 1], [2, 0, 0], [0, 0, 5], [1, 1, 0]], dtype=np.float32)


@pytest.fixture
def path(tmp_path):
    """A file with everything an analysis leaves in it."""
    cells = AnnData(sparse.csr_matrix(COUNTS), uns={"log1p": {"base": 2.0}, "pca": {"variance": np.ones(3)}})
    cells.obs["batch"] = ["a", "b", "a", "b"]
    cells.layers["rows"] = sparse.csr_matrix(COUNTS * 2)
    cells.layers["columns"] = sparse.csc_matrix(COUNTS * 3)
    cells.layers["dense"] = COUNTS * 4
    cells.obsm["X_pca"] = np.ones((4, 2))
    cells.obsp["distances"] = sparse.eye(4, format="csr")
    cells.raw = cells.copy()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_matrices_stay_on_disk_and_the_rest_is_left_out(path):
    opened = open_backed(path)

    assert isinstance(opened.X, CSRDataset)
    kinds = {name: type(opened.layers[name]) for name in opened.layers if name is not None}
    assert {name: issubclass(kind, CSRDataset | CSCDataset | h5py.Dataset) for name, kind in kinds.items()} == {
        "rows": True,
        "columns": True,
        "dense": True,
    }
    assert (dict(opened.obsm), dict(opened.obsp), opened.raw) == ({}, {}, None)
    assert dict(opened.uns) == {"log1p": {"base": 2.0}}


def test_names_and_columns_are_those_of_the_file(path):
    opened, whole = open_backed(path), anndata.read_h5ad(path)

    assert opened.obs.equals(whole.obs)
    assert opened.var.equals(whole.var)


@pytest.mark.parametrize(("layer", "factor"), [(None, 1), ("rows", 2), ("columns", 3), ("dense", 4)])
def test_cells_are_read_as_they_are_stored(path, layer, factor):
    opened = open_backed(path)
    matrix = opened.X if layer is None else opened.layers[layer]

    assert CellReader(matrix).read([2, 0]).toarray().tolist() == (COUNTS[[2, 0]] * factor).tolist()


def test_a_file_without_x_has_none(tmp_path):
    AnnData(layers={"counts": COUNTS}).write_h5ad(tmp_path / "cells.h5ad")

    opened = open_backed(tmp_path / "cells.h5ad")

    assert opened.X is None
    assert opened.layers["counts"].shape == (4, 3)


def test_a_file_of_an_old_anndata_is_left_to_anndata(path):
    with h5py.File(path, "a") as file:
        del file.attrs["encoding-type"]

    opened = open_backed(path)

    assert opened.isbacked
    assert CellReader(opened.X).read([1]).toarray().tolist() == [[2, 0, 0]]


def test_the_scale_is_recognised_as_in_memory(path):
    opened, whole = open_backed(path), anndata.read_h5ad(path)

    assert detect_expression(CellReader(opened.X), uns=opened.uns) == detect_expression(CellReader(whole.X))


@pytest.mark.parametrize("layer", [None, "rows", "columns", "dense"])
def test_a_zarr_folder_reads_as_the_file(path: Path, tmp_path: Path, layer: str | None):
    anndata.read_h5ad(path).write_zarr(tmp_path / "cells.zarr")
    found = {}
    for where in (path, tmp_path / "cells.zarr"):
        with open_cells(where, layer) as cells:
            found[where.suffix] = (
                cells.reader.read([2, 0, 3]).toarray().tolist(),
                dict(cells.uns),
                list(cells.var.index),
            )
            assert cells.by_columns == (layer == "columns")
    assert found[".zarr"] == found[".h5ad"]


def test_raw_expression_is_read_on_request(path: Path):
    whole = anndata.read_h5ad(path)
    whole.X = whole.X * 7
    whole.write_h5ad(path)
    assert read_cells(path).X.toarray().tolist() == (COUNTS * 7).tolist()
    assert read_cells(path, use_raw=True).X.toarray().tolist() == COUNTS.tolist()


def test_a_file_without_raw_expression_says_so(tmp_path: Path):
    AnnData(COUNTS).write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ValueError, match=r"cells\.h5ad has no raw expression.*--use-raw"):
        read_cells(tmp_path / "cells.h5ad", use_raw=True)


def test_a_file_with_nothing_but_raw_expression_says_where_it_is(path: Path):
    with h5py.File(path, "a") as file:
        del file["X"]
    told = r"adata\.X, which is None.*pass use_raw=True \(--use-raw\)"
    with pytest.raises(ValueError, match=told), open_cells(path):
        pass
    assert read_cells(path, use_raw=True).X.toarray().tolist() == COUNTS.tolist()


@pytest.mark.parametrize("form", ["h5ad", "zarr", "of an old anndata"])
def test_raw_expression_is_opened_with_its_own_genes(form: str, path: Path, tmp_path: Path):
    whole = anndata.read_h5ad(path)[:, :2].copy()  # raw keeps the third gene
    whole.X = whole.X * 7
    whole.write_h5ad(path)
    if form == "of an old anndata":
        with h5py.File(path, "a") as file:
            del file.attrs["encoding-type"], file.attrs["encoding-version"]
    elif form == "zarr":
        path = tmp_path / "cells.zarr"
        whole.write_zarr(path)
    with open_cells(path, Place(use_raw=True)) as cells:
        assert cells.reader.read(range(4)).toarray().tolist() == COUNTS.tolist()
        assert list(cells.var.index) == ["0", "1", "2"]


def test_a_file_without_raw_expression_cannot_be_opened_for_it(tmp_path: Path):
    AnnData(COUNTS).write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ValueError, match=r"cells\.h5ad has no raw expression") as caught:
        open_backed(tmp_path / "cells.h5ad", Place(use_raw=True))
    assert "cannot be read" not in str(caught.value)


def test_raw_and_a_layer_exclude_each_other():
    with pytest.raises(ValueError, match=r"raw has no layers\. Got layer='counts'"):
        Place("counts", use_raw=True)


def write_10x_h5(path: Path) -> None:
    """As Cell Ranger 3 writes it: one group, features with id, name and type, columns of cells."""
    matrix = sparse.csc_matrix(COUNTS.T)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array([b"AAA-1", b"AAC-1", b"AAG-1", b"AAT-1"])
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name).astype(np.int32 if name == "data" else np.int64)
        group["shape"] = np.array(matrix.shape)
        features = group.create_group("features")
        features["id"] = np.array([b"ENSG00000000001", b"ENSG00000000002", b"CD3"])
        features["name"] = np.array([b"CD3E", b"CD3E", b"CD3"])
        features["feature_type"] = np.array([b"Gene Expression", b"Gene Expression", b"Antibody Capture"])
        features["genome"] = np.array([b"GRCh38"] * 3)


def write_10x_mtx(folder: Path) -> None:
    folder.mkdir()
    entries = sparse.coo_matrix(COUNTS.T)
    lines = [f"{i + 1} {j + 1} {int(x)}" for i, j, x in zip(entries.row, entries.col, entries.data)]
    text = "%%MatrixMarket matrix coordinate integer general\n" + f"3 4 {len(lines)}\n" + "\n".join(lines) + "\n"
    features = (
        "ENSG00000000001\tCD3E\tGene Expression\nENSG00000000002\tCD3E\tGene Expression\nCD3\tCD3\tAntibody Capture\n"
    )
    parts = {"matrix.mtx": text, "features.tsv": features, "barcodes.tsv": "AAA-1\nAAC-1\nAAG-1\nAAT-1\n"}
    for name, content in parts.items():
        with gzip.open(folder / f"{name}.gz", "wt") as stream:
            stream.write(content)


@pytest.mark.parametrize("form", ["h5", "mtx"])
def test_files_of_10x_are_read_with_ids_symbols_and_kinds_of_features(form: str, tmp_path: Path):
    path = tmp_path / f"cells_{form}.h5" if form == "h5" else tmp_path / "filtered_feature_bc_matrix"
    (write_10x_h5 if form == "h5" else write_10x_mtx)(path)
    adata = read_cells(path)
    assert adata.var_names.tolist() == ["ENSG00000000001", "ENSG00000000002", "CD3"]
    assert adata.var["feature_types"].tolist() == ["Gene Expression", "Gene Expression", "Antibody Capture"]
    with open_cells(path) as cells:
        assert cells.reader.read(range(4)).toarray().tolist() == COUNTS.tolist()


def test_a_folder_of_10x_whose_files_have_a_prefix_is_read(tmp_path: Path):
    folder = tmp_path / "GSE1"
    write_10x_mtx(folder)
    for file in list(folder.iterdir()):
        file.rename(folder / f"GSM1_{file.name}")
    (folder / "._GSM1_matrix.mtx.gz").touch()  # as a Mac leaves it
    assert kind_of(folder) == "10x mtx"
    assert read_cells(folder).X.toarray().tolist() == COUNTS.tolist()


def test_of_several_matrices_in_a_folder_that_without_a_prefix_is_read_or_none(tmp_path: Path):
    folder = tmp_path / "GSE1"
    write_10x_mtx(folder)
    (folder / "GSM2_matrix.mtx.gz").touch()
    assert read_cells(folder).X.toarray().tolist() == COUNTS.tolist()
    (folder / "matrix.mtx.gz").rename(folder / "GSM1_matrix.mtx.gz")
    with pytest.raises(ValueError, match=r"must hold one matrix; it has 2, with the prefixes GSM1_, GSM2_\. Put each"):
        read_cells(folder)


@pytest.mark.parametrize("features", ["features.tsv", "genes.tsv"])
@pytest.mark.parametrize(
    "packed", [(), ("matrix.mtx",), ("features", "barcodes.tsv"), ("matrix.mtx", "features", "barcodes.tsv")]
)
def test_the_three_files_are_read_packed_or_not(features: str, packed: tuple[str, ...], tmp_path: Path):
    folder = tmp_path / "Solo.out"
    write_10x_mtx(folder)
    for name in ("matrix.mtx", "features", "barcodes.tsv"):
        path = folder / (f"{name}.gz" if "." in name else "features.tsv.gz")
        target = folder / (name if "." in name else features)
        content = gzip.decompress(path.read_bytes())
        path.unlink()
        if name in packed:
            target, content = target.with_name(f"{target.name}.gz"), gzip.compress(content)
        target.write_bytes(content)
    adata = read_cells(folder)
    assert adata.X.toarray().tolist() == COUNTS.tolist()
    assert adata.obs_names.tolist() == ["AAA-1", "AAC-1", "AAG-1", "AAT-1"]
    assert adata.var["gene_symbols"].tolist() == ["CD3E", "CD3E", "CD3"]
    assert GeneVocabulary.from_anndata(adata).symbols == ("CD3E", "CD3E")


def test_features_with_ids_alone_or_without_kinds_are_read(tmp_path: Path):
    folder = tmp_path / "old"
    write_10x_mtx(folder)
    for lines, columns in (["A\tNA", "B\tX", "C\tY"], ["gene_symbols"]), (["A", "B", "NA"], []):
        (folder / "features.tsv").write_text("\n".join(lines))
        adata = read_cells(folder)
        assert adata.var_names.tolist() == [line.split("\t")[0] for line in lines]
        assert list(adata.var.columns) == columns


def test_a_folder_whose_parts_are_missing_or_do_not_fit_says_which(tmp_path: Path):
    folder = tmp_path / "10x"
    write_10x_mtx(folder)
    (folder / "barcodes.tsv").write_text("AAA-1\n")
    with pytest.raises(ValueError, match=r"10x must have a feature.*Got 3 features and 1 barcodes for 3 x 4\. Put"):
        read_cells(folder)
    (folder / "features.tsv.gz").unlink()
    with pytest.raises(ValueError, match=r"10x must hold features\.tsv beside its matrix.*Got barcodes\.tsv, "):
        read_cells(folder)


def test_a_file_of_two_genomes_is_refused_with_the_call_that_reads_one(tmp_path: Path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        for genome in ("hg19", "mm10"):
            file.create_group(genome)["barcodes"] = np.array([b"AAA-1"])
    told = r"two\.h5 must hold one genome; it has hg19, mm10\. .*read_10x_h5\(path, genome='hg19'\) and write it"
    with pytest.raises(ValueError, match=told):
        read_cells(tmp_path / "two.h5")


def test_a_loom_file_is_refused_with_the_call_that_reads_it(tmp_path: Path):
    with h5py.File(tmp_path / "cells.h5", "w") as file:
        file["matrix"] = COUNTS.T
        file["row_attrs/Gene"] = np.array([b"A", b"B", b"C"])
        file["col_attrs/CellID"] = np.array([b"a", b"b", b"c", b"d"])
        for name in ("layers", "row_graphs", "col_graphs", "attrs"):
            file.create_group(name)
    with pytest.raises(ValueError, match=r"cells\.h5 is a loom file\. Read it with anndata\.io\.read_loom\(path\)"):
        read_cells(tmp_path / "cells.h5")


REFUSED = [
    ("cells.loom", "anndata.io.read_loom"),
    ("cells.csv", "scanpy.read_csv"),
    ("cells.h5ad.gz", "is packed. Unpack it with gunzip, and give the path of what is in it."),
    ("cells.rds", "zellkonverter"),
    ("cells.h5ad", "cells.h5ad cannot be read as h5ad: it is not an HDF5 file. Write it with adata.write_h5ad"),
]


@pytest.mark.parametrize(("name", "told"), REFUSED)
def test_other_files_are_refused_with_the_call_that_reads_them(name: str, told: str, tmp_path: Path):
    (tmp_path / name).write_text("cells")
    with pytest.raises(ValueError, match=re.escape(told)):
        open_backed(tmp_path / name)


@pytest.fixture(params=["h5mu", "zarr"])
def mudata_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """As mudata writes two modalities: genes, and two proteins of the same cells."""
    cells = {"rna": AnnData(sparse.csr_matrix(COUNTS)), "prot": AnnData(COUNTS[:, :2] * 9)}
    cells["rna"].layers["doubled"] = cells["rna"].X * 2
    path = tmp_path / f"cells.{request.param}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mudata, on its next version
        both = mudata.MuData(cells)
        both.write(path) if request.param == "h5mu" else both.write_zarr(path)
    return path


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place(), COUNTS),
        (Place("doubled"), COUNTS * 2),
        (Place(modality="rna"), COUNTS),
        (Place(modality="prot"), COUNTS[:, :2] * 9),
    ],
)
def test_a_modality_of_a_mudata_is_read(mudata_path: Path, place: Place, expected: np.ndarray):
    with open_cells(mudata_path, place) as cells:
        assert cells.reader.read(range(4)).toarray().tolist() == expected.tolist()
    whole = read_cells(mudata_path, modality=place.modality)
    found = whole.X if place.layer is None else whole.layers[place.layer]
    assert (found.toarray() if sparse.issparse(found) else found).tolist() == expected.tolist()


@pytest.mark.parametrize("use_raw", [False, True])
def test_the_table_of_all_cells_of_a_mudata_is_joined_by_name(use_raw: bool, tmp_path: Path):
    rna, prot = AnnData(COUNTS), AnnData(COUNTS[[3, 1]])
    rna.obs_names, prot.obs_names = list("abcd"), ["b", "e"]
    rna.obs["n"] = [1, 2, 3, 4]
    rna.raw = rna.copy()
    path = tmp_path / "cells.h5mu"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = mudata.MuData({"prot": prot, "rna": rna})
        both.obs["cell_type"] = pd.Series(dict(zip("edcba", ["E", "D", "C", "B", "A"])))
        both.obs["n"] = 0  # the modality has a column of that name
        both.write(path)
    for adata in (read_cells(path, use_raw=use_raw), open_backed(path, Place(use_raw=use_raw))):
        assert adata.obs["cell_type"].astype(str).tolist() == ["A", "B", "C", "D"]
        assert adata.obs["n"].tolist() == [1, 2, 3, 4]
        assert not [name for name in adata.obs if ":" in name]


def test_a_mudata_names_its_modalities_where_none_is_meant(tmp_path: Path):
    with h5py.File(tmp_path / "cells.h5mu", "w") as file:
        file.create_group("mod/gex")
        file.create_group("mod/prot")
    for modality in (None, "rna"):
        with pytest.raises(ValueError, match=rf"modalities gex, prot\. Got modality={modality!r}.*--modality"):
            read_cells(tmp_path / "cells.h5mu", modality=modality)


def test_a_file_without_modalities_has_none_to_name(path: Path):
    with pytest.raises(ValueError, match=r"no modalities\. Got modality='rna'"):
        open_backed(path, Place(modality="rna"))


def test_other_folders_and_hdf5_files_say_what_they_hold(tmp_path: Path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.create_group("weights")
    with pytest.raises(ValueError, match=r"HDF5 file of another kind; it holds \['weights'\]"):
        read_cells(tmp_path / "other.h5")
    with pytest.raises(ValueError, match=r"is a folder that is neither zarr.*nor one of 10x"):
        read_cells(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        read_cells(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("X/indptr", [0, 9, 3, 4, 6], r"cells\.h5ad: The 4 rows .* must follow each other within its 6 entries"),
        ("X/indptr", [0, 2, 3, 4, 99], r"cells\.h5ad: The 4 rows .* must follow each other within its 6 entries"),
        ("X/indptr", [0, 2, 3], r"cells\.h5ad"),
        ("X/indices", None, r"cells\.h5ad cannot be read as cells \("),
        ("X/indices", [0, 1, 0, 2, 0, 7], r"The entries of a sparse matrix must lie in its 3 columns"),
        ("X/indices", [0, -1, 0, 2, 0, 1], r"The entries of a sparse matrix must lie in its 3 columns"),
    ],
)
def test_a_matrix_that_points_outside_of_itself_is_refused(tmp_path, name, values, told):
    path = tmp_path / "cells.h5ad"
    AnnData(sparse.csr_matrix(COUNTS)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file[name] = np.array(values)
    with pytest.raises(ValueError, match=told), open_cells(path) as cells:
        cells.reader.read(np.arange(4))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
def test_a_damaged_matrix_in_memory_is_refused(kind):
    matrix = kind(COUNTS)
    matrix.indices[0] = 99
    with pytest.raises(ValueError, match="must lie in its"):
        CellReader(matrix).read(np.arange(4))
    matrix = kind(COUNTS)
    matrix.indptr[1] = 99
    with pytest.raises(ValueError, match="must follow each other within its 6 entries"):
        CellReader(matrix)


def test_a_truncated_file_is_named(path):
    path.write_bytes(path.read_bytes()[:3000])
    for read in (read_cells, open_backed):
        with pytest.raises(ValueError, match=f"{re.escape(str(path))} cannot be read as HDF5"):
            read(path)


def without_chunk_lengths(found: object, here: bool = False) -> None:
    """Set the length of the chunks of X/data to 0 in what a JSON file of a zarr folder says."""
    if isinstance(found, list):
        for part in found:
            without_chunk_lengths(part, here)
    if isinstance(found, dict):
        for key, part in found.items():
            if here and key in ("chunks", "chunk_shape"):
                found[key] = [0]
            without_chunk_lengths(part, here or key.startswith("X/data"))


def test_a_zarr_folder_whose_chunks_have_no_length_is_refused(tmp_path):
    path = tmp_path / "cells.zarr"
    AnnData(sparse.csr_matrix(COUNTS)).write_zarr(path)
    for file in path.rglob("*"):
        if file.name in ("zarr.json", ".zarray", ".zmetadata"):
            described = json.loads(file.read_text())
            without_chunk_lengths(described, "X/data" in file.as_posix())
            file.write_text(json.dumps(described))

    with pytest.raises(ValueError, match="damaged|cannot be read"), open_cells(path) as cells:
        cells.reader.read(np.arange(4))
