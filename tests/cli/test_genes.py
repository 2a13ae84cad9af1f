"""Nearest genes on the command line: of weights and of a saved model, one line each."""

from pathlib import Path

import pytest

from genemamba_sc import GeneMambaModel
from genemamba_sc.cli._main import main
from genemamba_sc.tl import nearest_genes


def test_genes_of_a_saved_model_come_one_a_line(
    trained: GeneMambaModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trained.save(tmp_path / "model")
    assert main(["genes", str(tmp_path / "model"), "ENSG00000000001", "ENSG00000000007", "-n", "2"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gene\tneighbour\tgene_id\tscore"
    expected = [nearest_genes(trained, gene, n=2) for gene in ("ENSG00000000001", "ENSG00000000007")]
    assert lines[1:] == [
        f"{found.gene}\t{name}\t{identifier}\t{score:.4f}"
        for found in expected
        for name, identifier, score in zip(found.genes, found.gene_ids, found.score)
    ]
    assert len(lines) == 5


def test_the_table_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["genes", "mini", "CD3E", "MS4A1", "-n", "2"]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "nearest.tsv"
    assert main(["genes", "mini", "CD3E", "MS4A1", "-n", "2", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 4 rows\n"
    assert out.read_text() == printed and len(printed.splitlines()) == 5


def test_weights_that_ship_are_asked_by_name(capsys: pytest.CaptureFixture[str]):
    assert main(["genes", "mini", "CD3E", "-n", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("CD3E\tCD3D\tENSG00000167286\t0.9")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["mini", "CD3EE"], "'CD3EE' (similar: CD3E"), (["nowhere", "CD3E"], "'nowhere', which is none of these")],
)
def test_what_is_unknown_is_refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]):
    assert main(["genes", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err


def test_a_revision_of_a_saved_model_is_refused(
    trained: GeneMambaModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    trained.save(tmp_path / "model")
    assert main(["genes", str(tmp_path / "model"), "ENSG00000000001", "--revision", "a" * 40]) == 1
    assert "is a saved model. Leave it out" in capsys.readouterr().err
