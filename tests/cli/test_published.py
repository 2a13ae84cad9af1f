"""Published sets on the command line."""

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc.cli._main import main


def test_what_is_documented_of_a_set_is_said(capsys: pytest.CaptureFixture[str]):
    assert main(["published", "bmmc"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("BMMC: GSE194122_openproblems_neurips2021_cite_BMMC_processed.h5ad\n")
    assert "genes: 13,953 (inferred, not verified)" in said


def test_a_copy_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    adata = AnnData(np.random.default_rng(0).poisson(2.0, (30, 20)).astype(np.float32))
    adata.obs["celltype"] = [f"type {i % 3}" for i in range(30)]
    adata.obs["batch"] = [f"{i % 2}" for i in range(30)]
    adata.write_h5ad(tmp_path / "covid_subsampled.h5ad")
    with pytest.warns(UserWarning, match="facts differ"):
        assert main(["published", "COVID-19", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "cells: 30; documented 20,000 (told, not verified): DIFFERS" in said
    assert "integration, GeneMamba: avg_batch 0.8742, avg_bio 0.5537" in said
    assert "batch 0 left out: 15 cells to train on, 15 to test on" in said


def test_a_file_of_which_nothing_agrees_ends_with_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    adata = AnnData(np.log1p(np.random.default_rng(0).poisson(2.0, (30, 20))).astype(np.float32))
    adata.obs["celltype"] = [f"type {i % 3}" for i in range(30)]
    adata.obs["batch"] = [f"{i % 5}" for i in range(30)]
    adata.write_h5ad(tmp_path / "other.h5ad")
    with pytest.warns(UserWarning, match="Nothing agrees"):
        assert main(["published", "COVID-19", str(tmp_path / "other.h5ad")]) == 1
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["pbmc3k"], "Take one of hPancreas"), (["MS", "nowhere"], "where nothing is")],
)
def test_what_is_not_there_is_refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    assert main(["published", *arguments]) == 1
    assert told in capsys.readouterr().err


def test_an_order_without_files_is_wrong_usage(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["published", "MS", "--trained-on", "c_data"])
    assert "give its PATH, too" in capsys.readouterr().err
