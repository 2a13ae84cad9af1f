"""``genemamba integrate``: an integrated embedding of one file, and other cells mapped onto its model."""

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel
from genemamba_sc.cli._main import main

SHORT = ["--max-epochs", "0", "--accelerator", "cpu"]


@pytest.fixture
def studies(make_cells: Callable[..., AnnData], tmp_path: Path) -> Path:
    """Two studies of the same types."""
    cells = [make_cells(120, seed=seed) for seed in (0, 1)]
    joined = anndata.concat(cells, label="study", keys=["first", "second"], index_unique="-")
    joined.write_h5ad(tmp_path / "studies.h5ad")
    return tmp_path / "studies.h5ad"


@pytest.fixture
def reference(studies: Path, tmp_path: Path) -> Path:
    out = [str(tmp_path / "integrated.h5ad"), "--save-model", str(tmp_path / "model")]
    assert main(["integrate", str(studies), *out, "--batch-key", "study", *SHORT]) == 0
    return tmp_path / "model"


def test_the_integrated_embedding_is_written_and_the_model_kept(
    capsys: pytest.CaptureFixture[str], studies: Path, reference: Path, tmp_path: Path
):
    # The fixture that comes first catches what the others print.
    assert "obsm['X_genemamba'] of 240 cells × 30 dimensions, integrated" in capsys.readouterr().out
    out = anndata.read_h5ad(tmp_path / "integrated.h5ad")
    assert (out.obs.columns.tolist(), list(out.uns)) == (anndata.read_h5ad(studies).obs.columns.tolist(), [])
    written = out.obsm["X_genemamba"]
    model = GeneMambaModel.load(reference, adata=False, accelerator="cpu")
    again = model.get_latent_representation(anndata.read_h5ad(studies), batch_key="study")
    np.testing.assert_allclose(written, again, atol=1e-5)


def test_cells_are_mapped_onto_a_model_that_stays_as_it_is(
    capsys: pytest.CaptureFixture[str],
    studies: Path,
    reference: Path,
    make_cells: Callable[..., AnnData],
    tmp_path: Path,
):
    before = {file.name: file.read_bytes() for file in reference.iterdir()}
    third = make_cells(60, seed=2)
    third.obs["lane"] = "third"
    third.write_h5ad(tmp_path / "third.h5ad")
    files = [str(tmp_path / "third.h5ad"), str(tmp_path / "mapped.h5ad")]
    assert main(["integrate", *files, "--map-to", str(reference), "--batch-key", "lane", "--accelerator", "cpu"]) == 0
    assert f"of 60 cells × 30 dimensions, mapped onto {reference}" in capsys.readouterr().out
    model = GeneMambaModel.load(reference, adata=False, accelerator="cpu")
    expected = model.get_latent_representation(third, batch_key="lane")
    np.testing.assert_allclose(anndata.read_h5ad(tmp_path / "mapped.h5ad").obsm["X_genemamba"], expected, atol=1e-5)
    assert {file.name: file.read_bytes() for file in reference.iterdir()} == before


def test_notes_of_scvi_tools_that_the_file_came_with_are_kept(studies: Path, tmp_path: Path):
    cells = anndata.read_h5ad(studies)
    cells.obs["_scvi_batch"] = np.arange(cells.n_obs)
    cells.uns["_scvi_uuid"] = "of another model"
    cells.write_h5ad(studies)
    out = tmp_path / "out.h5ad"
    assert main(["integrate", str(studies), str(out), "--batch-key", "study", *SHORT]) == 0
    written = anndata.read_h5ad(out)
    assert written.obs.columns.tolist() == cells.obs.columns.tolist()
    assert written.obs["_scvi_batch"].tolist() == list(range(cells.n_obs))
    assert written.uns == {"_scvi_uuid": "of another model"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--batch-key is needed"),
        (["--map-to", "m", "--seed", "1"], "--map-to trains nothing, so --seed would have no effect"),
        (["--map-to", "m", "--save-model", "n"], "--map-to trains nothing, so --save-model would have no effect"),
        (["--batch-key", "study", "--gene-table", "t"], "--gene-table needs --map-to or --pretrained"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(["integrate", "in.h5ad", "out.h5ad", *arguments])
    assert told in capsys.readouterr().err


def test_one_batch_is_refused_and_nothing_written(
    make_cells: Callable[..., AnnData], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    cells = make_cells()
    cells.obs["study"] = "only"
    cells.write_h5ad(tmp_path / "cells.h5ad")
    files = [str(tmp_path / "cells.h5ad"), str(tmp_path / "out.h5ad")]
    assert main(["integrate", *files, "--batch-key", "study", *SHORT]) == 1
    told = capsys.readouterr().err
    assert "two batches or more can be integrated. Got one in obs['study']: 'only'. Name another column with" in told
    assert not (tmp_path / "out.h5ad").exists()


def test_a_model_without_integration_cannot_be_mapped_to(
    make_cells: Callable[..., AnnData],
    fit: Callable[..., GeneMambaModel],
    studies: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    fit(make_cells(), setup={}, max_epochs=0).save(tmp_path / "plain")
    files = [str(studies), str(tmp_path / "out.h5ad")]
    assert main(["integrate", *files, "--map-to", str(tmp_path / "plain"), "--accelerator", "cpu"]) == 1
    told = capsys.readouterr().err
    assert "plain was not trained to integrate batches. Train one that was: genemamba integrate IN OUT" in told
