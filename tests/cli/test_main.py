"""The command line: results on stdout, everything else on stderr, and files that are whole or absent."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import mudata
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba_sc import GeneMambaModel, __version__
from genemamba_sc.benchmark import _demo as demo
from genemamba_sc.cli._main import main
from genemamba_sc.model import GeneMambaPlan

Cells = Callable[..., AnnData]
Fit = Callable[..., GeneMambaModel]
SHORT = ["--max-epochs", "0", "--accelerator", "cpu"]


@pytest.fixture
def cells(make_cells: Cells, tmp_path: Path) -> str:
    make_cells().write_h5ad(tmp_path / "cells.h5ad")
    return str(tmp_path / "cells.h5ad")


@pytest.fixture(scope="module")
def model(trained: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "model"
    trained.save(folder)
    return str(folder)


@pytest.fixture
def out(tmp_path: Path) -> str:
    return str(tmp_path / "out.h5ad")


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 1) -> str:
    """Run a command that must fail; what it says. Nothing may be on stdout."""
    if code == 2:
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
    else:
        assert main(arguments) == code
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


def test_a_process_separates_result_and_progress_and_returns_codes(cells: str, out: str, tmp_path: Path):
    command = [sys.executable, "-m", "genemamba_sc"]
    done = subprocess.run(
        [*command, "embed", cells, out, "--max-epochs", "1", "--accelerator", "cpu"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{out}: obsm['X_genemamba'] of 60 cells × 64 dimensions\n"), done
    assert "Epoch 1/1" in done.stderr
    assert anndata.read_h5ad(out).obsm["X_genemamba"].shape == (60, 64)
    wrong = subprocess.run([*command, "embed", cells], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the following arguments are required: OUT" in wrong.stderr


def test_embed_trains_with_labels_and_keeps_the_model(
    cells: str, out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ["--labels-key", "cell_type", "--batch-key", "batch", "--save-model", str(tmp_path / "model")]
    assert main(["embed", cells, out, *options, *SHORT]) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}: obsm['X_genemamba'] of 60 cells × 30 dimensions\n"
    assert f"model saved to {tmp_path / 'model'}" in told.err
    written, kept = anndata.read_h5ad(out), GeneMambaModel.load(tmp_path / "model", accelerator="cpu")
    assert kept.cell_types == ["B cell", "T cell", "monocyte"]
    assert np.array_equal(written.obsm["X_genemamba"], kept.get_latent_representation(written, key_added=None))


def test_the_seed_decides_the_embedding(cells: str, tmp_path: Path):
    def embedding(seed: str) -> np.ndarray:
        target = tmp_path / "out.h5ad"
        assert main(["embed", cells, str(target), "--seed", seed, "--embedding-only", *SHORT]) == 0
        return anndata.read_h5ad(target).obsm["X_genemamba"]

    one = embedding("1")
    assert np.array_equal(embedding("1"), one)
    assert not np.array_equal(embedding("2"), one)


def test_the_input_may_be_the_output(cells: str, model: str, make_cells: Cells, trained: GeneMambaModel):
    assert main(["embed", cells, cells, "--model", model]) == 0
    written = anndata.read_h5ad(cells)
    assert (written.X != make_cells().X).nnz == 0
    assert np.array_equal(written.obsm["X_genemamba"], trained.get_latent_representation(make_cells(), key_added=None))
    assert os.listdir(Path(cells).parent) == ["cells.h5ad"]


def test_the_embedding_alone_can_be_written_but_not_over_the_counts(
    cells: str, out: str, model: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["embed", cells, out, "--model", model, "--embedding-only"]) == 0
    written = anndata.read_h5ad(out)
    assert written.X is None and written.obsm["X_genemamba"].shape == (60, 16)
    assert list(written.obs.columns) == ["cell_type", "batch"]
    capsys.readouterr()
    before = Path(cells).read_bytes()
    told = refused(capsys, ["embed", cells, cells, "--model", model, "--embedding-only"], code=2)
    assert "--embedding-only leaves out the matrix, so OUT must not be IN: name another file" in told
    assert Path(cells).read_bytes() == before


@pytest.mark.parametrize("command", ["embed", "annotate"])
def test_cells_of_raw_are_read_and_all_of_the_file_is_written(
    command: str, cells: str, model: str, make_cells: Cells, trained: GeneMambaModel
):
    adata = make_cells()
    adata.raw = adata.copy()
    adata = adata[:, :5].copy()
    adata.X = adata.X * 0.5
    adata.layers["spliced"] = adata.X * 2
    adata.write_h5ad(cells)
    assert main([command, cells, cells, "--model", model, "--use-raw"]) == 0
    written = anndata.read_h5ad(cells)
    expected = trained.get_latent_representation(make_cells(), key_added=None)
    assert np.array_equal(written.obsm["X_genemamba"], expected)
    assert (written.shape, written.raw.shape, list(written.layers)) == ((60, 5), (60, 40), ["spliced"])
    assert (written.X != adata.X).nnz == 0
    assert ("genemamba_celltype" in written.obs) == ("genemamba" in written.uns) == (command == "annotate")


@pytest.mark.parametrize("command", ["embed", "integrate"])
def test_labels_may_stand_beside_the_modalities_of_a_mudata_which_is_not_replaced(
    command: str, make_cells: Cells, tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
):
    rna = make_cells()
    labels = rna.obs.pop("cell_type")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of mudata, on its next version
        both = mudata.MuData({"rna": rna, "prot": make_cells(n_vars=21)})
        both.obs["cell_type"] = labels
        both.write_zarr(tmp_path / "mu.zarr")
    ask = [command, str(tmp_path / "mu.zarr"), "--labels-key", "cell_type", "--batch-key", "batch", *SHORT]
    told = refused(capsys, [*ask[:2], str(tmp_path / "mu.zarr"), *ask[2:]])
    assert "OUT must not be the MuData that is read" in told and (tmp_path / "mu.zarr" / "mod").is_dir()
    if command == "embed":
        assert main([*ask[:2], out, *ask[2:]]) == 0
        assert "OUT holds one modality, and not prot" in capsys.readouterr().err
        assert anndata.read_h5ad(out).obs["cell_type"].tolist() == labels.tolist()


def test_annotate_names_the_cells_of_a_query_by_a_reference(
    cells: str, out: str, make_cells: Cells, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    query = make_cells()[:30, ::-1].copy()
    truth = query.obs.pop("cell_type").astype(str)
    query.write_h5ad(tmp_path / "query.h5ad")
    options = ["--reference", cells, "--labels-key", "cell_type"]
    assert main(["annotate", str(tmp_path / "query.h5ad"), out, *options, *SHORT]) == 0
    written = anndata.read_h5ad(out)
    assert np.mean(written.obs["genemamba_celltype"].astype(str) == truth) > 0.9
    assert written.obs["genemamba_confidence"].between(1 / 3, 1).all()
    assert written.obsm["X_genemamba"].shape == (30, 64)
    counts = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert counts == {name: str(n) for name, n in written.obs["genemamba_celltype"].value_counts().items()}


def test_the_scale_is_that_of_reference_and_query(make_cells: Cells, tmp_path: Path, out: str):
    files = {name: str(tmp_path / f"{name}.h5ad") for name in ("reference", "query", "again")}
    for name, seed in (("reference", 0), ("query", 1)):
        adata = make_cells(seed=seed)
        # Logarithms of counts per 1,000 of a few genes: these could have any base.
        adata.X = sparse.csr_matrix(np.log10(1 + 1000 * adata.X.toarray() / adata.X.sum(axis=1)).astype(np.float32))
        adata.write_h5ad(files[name])
    train = [
        "--reference",
        files["reference"],
        "--labels-key",
        "cell_type",
        "--save-model",
        str(tmp_path / "m"),
        *SHORT,
    ]
    assert main(["annotate", files["query"], out, "--scale", "log10", *train]) == 0
    assert main(["annotate", files["query"], files["again"], "--scale", "log10", "--model", str(tmp_path / "m")]) == 0
    first, second = anndata.read_h5ad(out), anndata.read_h5ad(files["again"])
    np.testing.assert_array_equal(first.obsm["X_genemamba"], second.obsm["X_genemamba"])
    assert list(first.obs["genemamba_celltype"]) == list(second.obs["genemamba_celltype"])


def test_annotate_takes_a_saved_model_and_the_layer_of_this_query(
    out: str, model: str, make_cells: Cells, trained: GeneMambaModel, tmp_path: Path
):
    query = make_cells()
    query.layers["counts"] = query.X
    query.X = sparse.csr_matrix(np.full((60, 40), -1.0))
    query.write_h5ad(tmp_path / "query.h5ad")
    assert main(["annotate", str(tmp_path / "query.h5ad"), out, "--model", model, "--layer", "counts"]) == 0
    written = anndata.read_h5ad(out)
    assert list(written.obs["genemamba_celltype"]) == list(trained.predict_celltype(make_cells()))


def test_annotate_says_how_sure_it_is_and_lets_clusters_vote(
    out: str, make_cells: Cells, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sure = fit(make_cells(300), max_epochs=0)
    sure.save(tmp_path / "sure")
    query = make_cells()
    query.obs["mine"] = query.obs["cell_type"].astype(str)
    query.write_h5ad(tmp_path / "query.h5ad")
    ask = ["annotate", str(tmp_path / "query.h5ad"), out, "--model", str(tmp_path / "sure")]
    choices = ["--coverage", "0.6", "--no-allow-empty", "--reject-unknown", "--majority-voting", "mine"]
    assert main([*ask, *choices]) == 0
    written = anndata.read_h5ad(out)
    expected = make_cells()
    expected.obs["mine"] = expected.obs["cell_type"].astype(str)
    sure.annotate(expected, coverage=0.6, allow_empty=False, reject_unknown=True, majority_voting="mine")
    columns = ["genemamba_celltype", "genemamba_set", "genemamba_majority_voting"]
    assert written.obs[columns].astype(str).equals(expected.obs[columns].astype(str))
    assert written.uns["genemamba"]["coverage"] == 0.6 and written.uns["genemamba"]["unknown_from"] == 0.95
    assert main([*ask, "--per-type", "--coverage", "0.99"]) == 1
    assert "coverage 0.99 need at least 99 calibration cells. Got 30" in capsys.readouterr().err


def test_annotate_refuses_clusters_that_are_not_there_before_it_trains(
    cells: str, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(GeneMambaModel, "train", lambda *args, **kwargs: pytest.fail("it must not train"))
    options = ["--reference", cells, "--labels-key", "cell_type", "--majority-voting", "clusters"]
    assert main(["annotate", cells, out, *options]) == 1
    assert "majority_voting must name one column of adata.obs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coverage", "0.99"], "Sets of coverage 0.99 need at least 99 calibration cells. Got 6. Ask for less up to"),
        (["--coverage", "0.8", "--per-type"], "for each type need at least 4 calibration cells of each. These have"),
        (["--reject-unknown"], "reject_unknown needs at least 19 calibration cells. Got 6. Allow for more"),
        (["--labels-key", "few", "--coverage", "0.5"], "can spare none: all cells train where a type has fewer than"),
        (["--labels-key", "odd", "--reject-unknown"], "reject_unknown calls cells 'Unknown', which is a type of this"),
        (["--labels-key", "type"], "labels_key='type' is not a column of adata.obs"),
        (["--batch-key", "lane"], "batch_key='lane' is not a column of adata.obs"),
    ],
    ids=["coverage", "coverage of each type", "unknown cells", "no calibration cells", "a type called Unknown",
         "labels", "batches"],
)  # fmt: skip
def test_annotate_refuses_before_it_trains_what_the_model_could_not_answer(
    out: str,
    make_cells: Cells,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
):
    cells = make_cells()
    cells.obs["few"] = np.where(np.arange(60) < 4, "rare", cells.obs["cell_type"].astype(str))
    cells.obs["odd"] = cells.obs["cell_type"].cat.rename_categories({"T cell": "Unknown"})
    cells.write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.setattr(GeneMambaModel, "train", lambda *args, **kwargs: pytest.fail("it must not train"))
    files = [str(tmp_path / "cells.h5ad"), out, "--reference", str(tmp_path / "cells.h5ad")]
    assert message in refused(
        capsys, ["annotate", *files, "--labels-key", "cell_type", "--accelerator", "cpu", *options]
    )
    assert not Path(out).exists()


def test_annotate_refuses_a_query_that_shares_no_gene_before_it_trains(
    cells: str, out: str, make_cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    query = make_cells()
    query.var_names = [f"OTHER{i}" for i in range(40)]
    query.write_h5ad(tmp_path / "query.h5ad")
    monkeypatch.setattr(GeneMambaModel, "train", lambda *args, **kwargs: pytest.fail("it must not train"))
    told = refused(
        capsys, ["annotate", str(tmp_path / "query.h5ad"), out, "--reference", cells, "--labels-key", "cell_type"]
    )
    assert "0 of 40 names in var_names are" in told


def test_the_cells_that_will_calibrate_are_those_that_do(
    cells: str, out: str, make_cells: Cells, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # Six cells validate: as many as a coverage of 0.85 needs, and one too few for 0.87.
    ask = ["annotate", cells, out, "--reference", cells, "--labels-key", "cell_type", "--seed", "3", *SHORT]
    assert main([*ask, "--coverage", "0.85"]) == 0
    assert anndata.read_h5ad(out).uns["genemamba"]["calibrated_on"].startswith("6 validation cells")
    assert (
        "need at least 7 calibration cells. Got 6." in (main([*ask, "--coverage", "0.87"]), capsys.readouterr().err)[1]
    )


def test_outputs_that_would_replace_each_other_are_refused(
    cells: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(GeneMambaModel, "train", lambda *args, **kwargs: pytest.fail("it must not train"))
    both = str(tmp_path / "new.zarr")
    assert "OUT and --save-model need a file each." in refused(capsys, ["embed", cells, both, "--save-model", both])
    inside = f"{both}/model"
    told = refused(capsys, ["embed", cells, both, "--save-model", inside])
    assert "OUT and --save-model must not lie in each other" in told
    before = Path(cells).read_bytes()
    told = refused(capsys, ["annotate", cells, cells, "--reference", cells, "--labels-key", "cell_type"])
    assert "OUT must not write to --reference, which it could replace." in told and Path(cells).read_bytes() == before


@pytest.mark.parametrize(
    ("command", "option"), [("embed", "--model"), ("annotate", "--model"), ("integrate", "--map-to")]
)
def test_a_result_takes_the_place_of_no_table_and_lies_in_no_model(
    command: str, option: str, cells: str, trained: GeneMambaModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model = str(tmp_path / "model")
    trained.save(model)
    table = tmp_path / "genes.h5ad"
    table.write_text("symbol\n")
    ask = [command, cells, str(table), option, model, "--gene-table", str(table)]
    assert "OUT must not write to --gene-table, which it could replace." in refused(capsys, ask)
    assert table.read_text() == "symbol\n"

    inside = f"{model}/cells.h5ad"
    assert f"OUT must not write to {option}, which it could replace." in refused(
        capsys, [command, cells, inside, option, model]
    )
    assert not Path(inside).exists()


def test_embed_takes_pretrained_weights_and_trains_nothing(
    out: str, make_cells: Cells, trained: GeneMambaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(GeneMambaModel, "train", lambda *args, **kwargs: pytest.fail("it must not train"))
    trained.save_pretrained(tmp_path / "weights")
    query = make_cells()
    query.layers["counts"] = query.X
    query.X = sparse.csr_matrix(np.full((60, 40), -1.0))
    query.write_h5ad(tmp_path / "query.h5ad")
    options = ["--pretrained", str(tmp_path / "weights"), "--layer", "counts"]
    assert main(["embed", str(tmp_path / "query.h5ad"), out, *options]) == 0
    # Pretrained weights are the encoder alone: the integration of the model that wrote them stays behind.
    expected = trained.get_latent_representation(make_cells(), key_added=None, integrated=False)
    np.testing.assert_array_equal(anndata.read_h5ad(out).obsm["X_genemamba"], expected)


def test_annotate_starts_from_pretrained_weights(
    cells: str, out: str, trained: GeneMambaModel, make_cells: Cells, tmp_path: Path
):
    trained.save_pretrained(tmp_path / "weights")
    options = ["--reference", cells, "--labels-key", "cell_type", "--pretrained", str(tmp_path / "weights")]
    assert main(["annotate", cells, out, *options, *SHORT]) == 0
    written = anndata.read_h5ad(out)
    # No step was trained: the embedding is that of the weights, the types are of the reference.
    expected = trained.get_latent_representation(make_cells(), key_added=None, integrated=False)
    np.testing.assert_allclose(written.obsm["X_genemamba"], expected, rtol=1e-5, atol=1e-6)
    assert np.mean(written.obs["genemamba_celltype"].astype(str) == written.obs["cell_type"].astype(str)) > 0.9


def test_older_names_of_the_reference_are_resolved_before_pretrained_weights_read_it(
    cells: str, out: str, trained: GeneMambaModel, make_cells: Cells, tmp_path: Path
):
    trained.save_pretrained(tmp_path / "weights")
    reference = make_cells()
    names = reference.var_names.to_numpy(dtype=object)
    rows = [f"GENE{i}\t{names[i]}\tOLD{i}\t" for i in range(15)]  # all genes that tell the types apart
    (tmp_path / "hgnc.tsv").write_text(
        "\n".join(["symbol\tensembl_gene_id\talias_symbol\tprev_symbol", *rows]), encoding="utf-8"
    )
    names[:15] = [f"OLD{i}" for i in range(15)]
    reference.var_names = names
    reference.write_h5ad(tmp_path / "reference.h5ad")
    options = ["--reference", str(tmp_path / "reference.h5ad"), "--labels-key", "cell_type"]
    options += ["--pretrained", str(tmp_path / "weights"), "--gene-table", str(tmp_path / "hgnc.tsv")]
    assert main(["annotate", cells, out, *options, *SHORT]) == 0
    written = anndata.read_h5ad(out).obs
    assert np.mean(written["genemamba_celltype"].astype(str) == written["cell_type"].astype(str)) > 0.9


def test_info_tells_the_versions_and_what_a_model_is(model: str, capsys: pytest.CaptureFixture[str]):
    assert main(["info", model]) == 0
    told = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert told["genemamba-sc"] == __version__
    assert told["scan backend"].split(":")[0] in ("compiled", "triton")
    assert told["model"] == model
    assert told["cell types"] == "B cell, T cell, monocyte"
    assert told["calibrated on"].endswith(
        "validation cells of the training, from 2 batches, all of which trained the model"
    )
    assert told["genes"].startswith("40 (human), ")
    assert "d_model=16" in told["encoder"]
    assert told["trained on"].startswith("60 cells, ")


def test_the_demo_refuses_a_model_of_other_cell_types(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    told = refused(capsys, ["demo", "--model", model, "--out", str(tmp_path / "demo")])
    assert "knows ['B cell', 'T cell', 'monocyte']. Give one that `genemamba demo` trained" in told


def test_info_tells_the_versions_even_where_no_backend_has_the_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("GENEMAMBA_BACKEND", "Chunked")
    assert main(["info"]) == 0
    told = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert told["scan backend"].startswith("none: The backend must be one of ['auto', ")
    assert "Got 'Chunked' by GENEMAMBA_BACKEND. Unset the environment variable" in told["scan backend"]


def test_info_needs_no_model(capsys: pytest.CaptureFixture[str]):
    assert main(["info"]) == 0
    assert "model\t" not in capsys.readouterr().out


def test_the_demo_trains_draws_and_compares(
    make_cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def tiny() -> AnnData:
        adata = make_cells(n_obs=150, n_vars=60)
        adata.obs = adata.obs.rename(columns={"cell_type": "bulk_labels"})
        return adata

    monkeypatch.setattr(demo, "demo_cells", tiny)
    monkeypatch.setattr(demo.sc.pp, "neighbors", lambda *args, **kwargs: None)  # numba compiles these for 20 seconds
    monkeypatch.setattr(demo.sc.tl, "umap", lambda adata: adata.obsm.update(X_umap=adata.obsm["X_genemamba"][:, :2]))
    assert main(["demo", "--out", str(tmp_path / "demo"), *SHORT]) == 0
    told, steps = capsys.readouterr()
    for number in range(1, 6):
        assert f"[{number}/5] " in steps
    assert "Sets of types that are to hold the right one for 90 % of the cells: " in told
    assert "  CD3E    CD3D, CD3G" in told
    assert "next, with cells of yours:\n  genemamba annotate --reference" in told
    assert told.startswith("120 cells to train on, 30 held out, bulk_labels of scanpy's pbmc68k_reduced\n")
    for method in ("GeneMamba", "logistic regression", "kNN on 50 PCs"):
        (line,) = [line for line in told.splitlines() if line.startswith(f"{method:<28}")]
        assert 0.8 < float(line.split()[-3]) <= 1.0
    names = ["cells.h5ad", "confusion_matrix.png", "model", "umap.png"]
    assert sorted(os.listdir(tmp_path / "demo")) == names
    assert all(str(tmp_path / "demo" / name) in told for name in names)
    assert (tmp_path / "demo" / "umap.png").read_bytes().startswith(b"\x89PNG")
    assert "genemamba_celltype" in anndata.read_h5ad(tmp_path / "demo" / "cells.h5ad").obs


# -------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["annotate", "Q", "O"], "exactly one of --reference (with --labels-key) and --model is needed"),
        (["annotate", "Q", "O", "--model", "M", "--reference", "R"], "exactly one of --reference"),
        (["annotate", "Q", "O", "--reference", "R"], "--reference needs --labels-key: the column of its obs"),
        (["embed", "Q", "O", "--model", "M", "--save-model", "N"], "is not trained again, so --save-model would have"),
        (["embed", "Q", "O", "--model", "M", "--labels-key", "x", "--max-epochs", "3"], "--labels-key, --max-epochs"),
        (["demo", "--model", "M", "--max-epochs", "3"], "--model is not trained again, so --max-epochs would have no"),
        (["embed", "Q", "O", "--gene-table", "T"], "--gene-table needs --model or --pretrained: a model trained on IN"),
        (["embed", "Q", "O", "--pretrained", "mini", "--max-epochs", "3"], "--pretrained embeds without training"),
        (["embed", "Q", "O", "--pretrained", "mini", "--seed", "3"], "so --seed would have no effect"),
        (["embed", "Q", "O", "--pretrained", "mini", "--model", "M"], "--model is a model that you saved"),
        (["embed", "Q", "O", "--revision", "abc"], "--revision is of weights on the Hugging Face Hub: name them with"),
        (["annotate", "Q", "O", "--model", "M", "--coverage", "1"], "a number between 0 and 1 is needed, both"),
        (["embed", "Q", "O", "--max-epochs", "-1"], "a whole number of at least 0 is needed, got '-1'"),
        (["embed", "Q", "O", "--max-epochs", "many"], "a whole number of at least 0 is needed, got 'many'"),
        (["embed", "Q", "O", "--seed", "-1"], "a whole number of at least 0 is needed, got '-1'"),
        (["embed", "Q"], "the following arguments are required: OUT"),
        (["cluster"], "invalid choice: 'cluster'"),
        ([], "the following arguments are required: COMMAND"),
    ],
    ids=["neither reference nor model", "reference and model", "reference without labels", "model to save again",
         "model with training options", "demo model with epochs", "gene table without model",
         "pretrained with training options", "pretrained with a seed", "pretrained and model", "revision of nothing",
         "sure of all",
         "negative epochs", "epochs in words", "negative seed", "no output", "unknown command", "no command"],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused_as_wrong_usage(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
):
    assert message in refused(capsys, options, code=2)


def test_what_would_fail_at_the_end_is_refused_at_the_start(
    cells: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(GeneMambaModel, "train", lambda *args, **kwargs: pytest.fail("it must not train"))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    absent = str(tmp_path / "absent" / "out.h5ad")
    assert "absent does not exist. Create it" in refused(capsys, ["embed", cells, absent])
    assert "is a folder. Give the name of a file" in refused(capsys, ["embed", cells, str(tmp_path)])
    told = refused(capsys, ["embed", cells, out, "--save-model", str(tmp_path / "thesis")])
    assert "not part of a genemamba_sc model (chapter.txt), so it is not replaced" in told
    told = refused(capsys, ["embed", cells, out, "--accelerator", "abacus"])
    assert "--accelerator abacus cannot be used here" in told and "Use --accelerator cpu or auto." in told
    assert sorted(os.listdir(tmp_path)) == ["cells.h5ad", "thesis"]


def test_an_output_without_the_right_to_write_is_refused(
    cells: str, read_only_folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert "cannot be written to. Choose another place" in refused(
        capsys, ["embed", cells, str(read_only_folder / "out.h5ad")]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--labels-key", "type"], "genemamba embed: labels_key='type' is not a column of adata.obs, which has"),
        (["--layer", "counts"], "genemamba embed: layer must name one of adata.layers; got 'counts'"),
        (["--gene-id-key", "id"], "genemamba embed: gene_id_key must name a column of adata.var; got 'id'"),
        (["--model", "nowhere"], "genemamba embed: nowhere is not a folder. Give the folder that save() wrote."),
        (["--model", "M", "--gene-id-key", "id"], "--gene-id-key id is not a column of the query's var, which has"),
        (
            ["--pretrained", "nowhere"],
            "genemamba embed: A checkpoint is a folder, one that ships with the package (mini)",
        ),
        (["--model", "M", "--gene-table", "T"], "T is not a file. Give the path of a table with HGNC's columns."),
    ],
    ids=["labels", "layer", "gene ids", "model", "gene ids of a query", "weights", "gene table"],
)
def test_the_message_of_an_error_is_all_that_is_shown(
    cells: str, out: str, capsys: pytest.CaptureFixture[str], options: list[str], message: str
):
    told = refused(
        capsys, ["embed", cells, out, *options, *([] if {"--model", "--pretrained"} & set(options) else SHORT)]
    )
    assert message in told and "Traceback" not in told
    assert not Path(out).exists()


def test_a_traceback_is_shown_on_request(out: str):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.h5ad does not exist\. Give the path of an h5ad file"):
        main(["embed", "nowhere.h5ad", out, "--traceback"])


def stop(error: BaseException) -> Callable[..., Any]:
    def raise_it(*args: Any, **kwargs: Any) -> None:
        raise error

    return raise_it


def test_an_interrupted_run_leaves_no_output(
    cells: str, out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(GeneMambaPlan, "training_step", stop(KeyboardInterrupt()))
    told = refused(capsys, ["embed", cells, out, "--max-epochs", "1", "--accelerator", "cpu"], code=130)
    assert "genemamba embed: interrupted; nothing is half-written." in told
    assert os.listdir(tmp_path) == ["cells.h5ad"]


def test_a_full_disk_leaves_the_old_output(
    cells: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fill(adata: AnnData, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = Path(cells).read_bytes()
    monkeypatch.setattr(AnnData, "write_h5ad", fill)
    assert "No space left on device" in refused(capsys, ["embed", cells, cells, "--model", model])
    assert Path(cells).read_bytes() == before
    assert os.listdir(tmp_path) == ["cells.h5ad"]
