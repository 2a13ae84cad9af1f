"""Questions about genes on the command line: the tables of ``gm.tl``, printed or written, and what is refused early."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc import GeneMambaModel, tl
from genemamba_sc.cli._main import main

GENES = [f"ENSG{i:011d}" for i in range(1, 11)]
PICTURE = ["perturb", "MODEL", "CELLS", "--genes", GENES[0], "--plot", "a.png"]


@pytest.fixture(scope="module")
def model(trained: GeneMambaModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "model"
    trained.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def adata(make_cells: Callable[..., AnnData]) -> AnnData:
    return make_cells()


@pytest.fixture(scope="module")
def cells(adata: AnnData, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    adata.write_h5ad(path)
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> pd.DataFrame:
    assert main(["genes", *arguments]) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out), sep="\t")


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), rtol=1e-4, atol=1e-5, check_dtype=False)


def test_perturbed_genes_are_printed(model, cells, adata, trained, capsys):
    found = printed(
        capsys, ["perturb", model, cells, "--genes", *GENES[:2], "--groupby", "cell_type", "--n-controls", "3"]
    )
    same(found, tl.perturb(trained, adata, GENES[:2], groupby="cell_type", n_controls=3).to_frame())
    down = printed(
        capsys, ["perturb", model, cells, "--genes", GENES[0], "--kind", "shift", "--shift", "-5", "--n-controls", "0"]
    )
    same(down, tl.perturb(trained, adata, GENES[0], kind="shift", shift=-5, n_controls=0).to_frame())


def test_sets_of_a_file_are_perturbed_together(model, cells, adata, trained, capsys, tmp_path):
    sets = tmp_path / "sets.gmt"
    sets.write_text("\t".join(["T", "", *GENES[:5]]) + "\n" + "\t".join(["B", "", *GENES[5:]]) + "\n")
    found = printed(capsys, ["perturb", model, cells, "--sets", str(sets), "--kind", "top", "--n-controls", "2"])
    expected = tl.perturb_together(trained, adata, {"T": GENES[:5], "B": GENES[5:]}, kind="top", n_controls=2)
    same(found, expected.to_frame().reset_index())


def test_unknown_genes_of_a_file_of_sets_are_left_out_and_told(model, cells, adata, trained, capsys, tmp_path):
    sets = tmp_path / "sets.gmt"
    sets.write_text(f"T\t\t{GENES[0]}\tGEN\t{GENES[0]}.2\t{GENES[3]}\nall\t\t{GENES[1]}\nnone\t\tGEN\tNEG\nempty\t\n")
    asked = ["perturb", model, cells, "--sets", str(sets), "--n-controls", "0"]
    with pytest.warns(UserWarning) as told:
        found = printed(capsys, asked)
    expected = tl.perturb_together(trained, adata, {"T": [GENES[0], GENES[3]], "all": GENES[1:2]}, n_controls=0)
    same(found, expected.to_frame().reset_index())
    assert [str(one.message) for one in told] == [
        f"{sets}: 4 of 7 genes of the sets are left out, of sets 2 ('T', 'none'): they are not in the model's "
        "vocabulary, the symbol of several of its genes, or another name of a gene of the same set.",
        f"{sets}: of 4 sets 2 ('none', 'empty') are left out: the model knows none of their genes.",
    ]
    sets.write_text("none\t\tGEN\n")
    assert main(["genes", *asked]) == 1
    assert f"Got none in {sets} (sets: 1). Give a file of that species" in capsys.readouterr().err


def test_ranks_genes_of_a_file_and_a_table_in_a_file(model, cells, adata, trained, capsys, tmp_path):
    named, out = tmp_path / "genes.txt", tmp_path / "out.tsv"
    named.write_text(f"{GENES[0]}\n\n{GENES[1]}\r\n")
    options = ["--genes-from", str(named), "--targets", *GENES[2:4], "--n-controls", "2", "--out", str(out)]
    assert main(["genes", "ranks", model, cells, *options]) == 0
    assert capsys.readouterr().out == f"{out}: 4 rows\n"
    expected = tl.rank_effects(trained, adata, GENES[:2], targets=GENES[2:4], n_controls=2)
    same(pd.read_csv(out, sep="\t"), expected.to_frame())


def test_a_network_its_picture_and_its_programs(model, cells, adata, trained, capsys, tmp_path):
    pytest.importorskip("igraph")
    picture, scores = tmp_path / "network.png", tmp_path / "scores.tsv"
    found = printed(capsys, ["network", model, cells, "--max-fdr", "0.5", "--plot", str(picture)])
    network = tl.gene_network(trained, adata, max_fdr=0.5)
    same(found, network.to_frame())
    assert picture.read_bytes()[:4] == b"\x89PNG"
    one = printed(capsys, ["network", model, cells, "--max-fdr", "0.9", "--sources", GENES[0], "--method", "effect"])
    assert set(one["source"]) == {"GENE0"} and len(one) > 1
    members = printed(
        capsys, ["programs", model, cells, "--max-fdr", "0.5", "--min-genes", "2", "--scores", str(scores)]
    )
    programs = tl.gene_programs(trained, network, adata, min_genes=2, key_added=None)
    same(members, programs.to_frame())
    read = pd.read_csv(scores, sep="\t", index_col="cell")
    np.testing.assert_allclose(read.to_numpy(), programs.scores, rtol=1e-4, atol=1e-5)
    assert list(read.index) == list(adata.obs_names)


def test_attributions_their_curves_and_whether_they_pass(model, cells, adata, trained, capsys, tmp_path):
    curves, picture = tmp_path / "curves.tsv", tmp_path / "curves.svg"
    files = ["--curves", str(curves), "--plot", str(picture)]
    assert main(["genes", "attribute", model, cells, "--method", "occlusion", "-n", "2", *files]) == 0
    told = capsys.readouterr()
    found = tl.attribute(trained, adata, method="occlusion")
    same(pd.read_csv(io.StringIO(told.out), sep="\t"), found.to_frame().groupby("target").head(2))
    assert "deletion test  passed in 60 cells" in told.err
    read = pd.read_csv(curves, sep="\t", index_col=0)
    assert list(read) == ["attribution", "permuted labels", "expression", "random"]
    np.testing.assert_allclose(read.to_numpy(), found.deletion.to_numpy(), rtol=1e-4, atol=1e-4)
    assert "<svg" in picture.read_text()


def test_correlations_markers_and_orders(model, cells, adata, trained, capsys):
    table = printed(capsys, ["correlation", model, "--genes", *GENES[:3]])
    same(table, tl.gene_correlation(trained, GENES[:3]).rename_axis(columns=None).reset_index())
    table = printed(capsys, ["correlation", model, cells, "--genes", *GENES[:3], "--method", "pearson"])
    expected = tl.gene_correlation(trained, GENES[:3], adata, method="pearson")
    same(table, expected.rename_axis(columns=None).reset_index())
    same(printed(capsys, ["markers", model, "-n", "2"]), tl.marker_genes(trained, 2))
    found = printed(capsys, ["reconstruct", model, cells, "--n-cells", "5", "--seed", "1"])
    same(found, tl.reconstruct_ranks(trained, adata, n_cells=5, seed=1).to_frame().reset_index())
    found = printed(
        capsys, ["reconstruct", model, cells, "--reference", cells, "--protocol", "masked", "--n-cells", "5"]
    )
    assert list(found["method"])[0] == "embedding"


def test_the_question_that_is_meant_where_none_is_named(model, capsys):
    asked = [[model, GENES[0], "-n", "1"], ["-n", "1", model, GENES[0]], ["nearest", model, GENES[0], "-n", "1"]]
    first, second, third = (printed(capsys, arguments) for arguments in asked)
    assert first.equals(second) and first.equals(third) and len(first) == 1
    with pytest.raises(SystemExit, match="0"):
        main(["genes", "--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in ("nearest", "network", "perturb", "ranks", "attribute", "markers"))
    for wrong in (["genes"], ["genes", "perturbs", model, "--genes", GENES[0]]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
    assert "invalid choice: 'perturbs' (choose from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["perturb", "M", "C"], "one of the arguments --genes --genes-from --sets is required"),
        (["perturb", "M", "C", "--genes", "A", "--kind", "shift"], "--kind shift and --shift PLACES belong together"),
        (["ranks", "M", "C", "--genes", "A", "--shift", "3"], "--kind shift and --shift PLACES belong together"),
        (["perturb", "M", "C", "--genes", "A", "--kind", "shift", "--shift", "x"], "a whole number is needed, got 'x'"),
        (["perturb", "M", "C", "--sets", "S", "--groupby", "cell_type"], "leave out --kind shift and --groupby"),
        (["perturb", "M", "C", "--genes", "A", "--cell-type", "B"], "say what --plot draws: give --plot, too"),
        (["perturb", "M", "C", "--sets", "S", "--group", "B", "--plot", "p.png"], "leave out --group"),
        (["attribute", "M", "C", "--target", "embedding", "--cell-type", "B"], "belongs to --target cell_type"),
        (["reconstruct", "M", "C", "--protocol", "published", "--reference", "R"], "published reads no reference"),
        (["correlation", "M", "--genes", "A", "--use-raw"], "--use-raw and --modality say how CELLS are read"),
        (["network", "M", "C", "--max-fdr", "1"], "a number between 0 and 1 is needed"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(arguments, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["genes", *arguments])
    said = capsys.readouterr()
    assert said.out == "" and told in said.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["perturb", "MODEL", "CELLS", "--genes", "CD3EE"], "genes perturb: Genes must be in the model's vocabulary"),
        (["perturb", "MODEL", "CELLS", "--genes", GENES[0], "--groupby", "x"], "groupby must name one column"),
        (["perturb", "MODEL", "CELLS", "--genes-from", "absent.txt"], "absent.txt is not a file. Give --genes-from"),
        (["perturb", "MODEL", "CELLS", "--sets", "absent.gmt"], "absent.gmt"),
        ([*PICTURE, "--cell-type", "NK"], "--cell-type must be one that there is. Got 'NK'; there are ['B cell'"),
        ([*PICTURE, "--group", "B"], "Got 'B'; there are ['all']"),
        (["attribute", "MODEL", "CELLS", "--cell-type", "NK"], "cell_type must be one the model knows. Got 'NK'"),
        (["network", "MODEL", "CELLS", "--plot", "network.txt"], "--plot writes .png, .pdf, .svg, by the end of"),
        (["network", "MODEL", "CELLS", "--out", "nowhere/out.tsv"], "nowhere"),
        (["markers", "MODEL", "--out", "."], "--out needs a file. . is a folder"),
        (["ranks", "MODEL", "absent.h5ad", "--genes", GENES[0]], "absent.h5ad"),
        (["network", "MODEL", "CELLS", "--gene-id-key", "ids"], "--gene-id-key ids is not a column"),
        (["reconstruct", "absent", "CELLS"], "'absent', which is none of these"),
        (["correlation", "MODEL", "--genes", GENES[0], "--method", "pearson"], "Without cells genes are compared by"),
    ],
)
def test_what_cannot_be_answered_is_refused(options, told, model, cells, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [{"MODEL": model, "CELLS": cells}.get(option, option) for option in options]
    assert main(["genes", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == "" and told in said.err
    assert list(Path(tmp_path).iterdir()) == []


def test_an_empty_file_of_genes_is_refused(model, cells, tmp_path, capsys):
    (tmp_path / "genes.txt").write_text("\n \n")
    assert main(["genes", "perturb", model, cells, "--genes-from", str(tmp_path / "genes.txt")]) == 1
    assert "has none. Write some into it." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["correlation", "MODEL", "copy.h5ad", "--genes", *GENES[:2], "--out", "copy.h5ad"], "write to CELLS"),
        (["perturb", "MODEL", "copy.h5ad", "--genes-from", "list", "--out", "link"], "write to --genes-from"),
        (["perturb", "MODEL", "copy.h5ad", "--sets", "list", "--out", "./list"], "write to --sets"),
        (["reconstruct", "MODEL", "CELLS", "--reference", "copy.h5ad", "--out", "copy.h5ad"], "write to --reference"),
        (["markers", "MODEL", "--out", "MODEL/config.json"], "--out must not write to MODEL"),
        (["markers", "MODEL", "--gene-table", "list", "--out", "hard"], "write to --gene-table"),
        (["attribute", "MODEL", "CELLS", "--out", "c.tsv", "--curves", "./c.tsv"], "--out and --curves need a file"),
        (["ranks", "MODEL", "CELLS", "--genes", "A", "--out", "a.png", "--plot", "a.png"], "--out and --plot need"),
    ],
)
def test_no_file_is_written_over_what_is_read_or_another_result(
    arguments, told, model, cells, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("copy.h5ad").write_bytes(Path(cells).read_bytes())
    Path("list").write_text(GENES[0])
    Path("link").symlink_to("list")
    Path("hard").hardlink_to("list")
    before = {path: path.read_bytes() for path in [*tmp_path.iterdir(), *Path(model).iterdir()]}
    named = [word.replace("MODEL", model).replace("CELLS", cells) for word in arguments]
    assert main(["genes", *named]) == 1
    said = capsys.readouterr()
    assert said.out == "" and told in said.err
    assert {path: path.read_bytes() for path in before} == before and len(list(tmp_path.iterdir())) == 4


def test_a_picture_that_fails_leaves_the_table(model, adata, capsys, tmp_path):
    less = adata.copy()
    counts = less.X.toarray()
    counts[:, 0] = 0
    less.X = counts
    less.write_h5ad(tmp_path / "less.h5ad")
    asked = ["perturb", model, str(tmp_path / "less.h5ad"), "--genes", GENES[0], "--n-controls", "0"]
    picture, out = tmp_path / "p.png", tmp_path / "kept.tsv"
    with pytest.warns(UserWarning, match="1 of 1 genes are expressed in none of these cells"):
        assert main(["genes", *asked, "--plot", str(picture)]) == 1
    said = capsys.readouterr()
    assert pd.read_csv(io.StringIO(said.out), sep="\t")["gene_id"].tolist() == [GENES[0]]
    assert f"{picture} was not drawn, the table is complete: A gene is drawn by its effect." in said.err
    with pytest.warns(UserWarning):
        assert main(["genes", *asked, "--plot", str(picture), "--out", str(out)]) == 1
    assert pd.read_csv(out, sep="\t")["n_cells"].tolist() == [0]
    assert not picture.exists()


@pytest.mark.parametrize("name", ["lab/markers", "./nearest", "networks"])
def test_weights_whose_name_is_like_a_question_are_a_model(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("networks").mkdir()
    monkeypatch.setattr("genemamba_sc.cli._genes.load_model", lambda arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["genes", name, "CD3E"])


def test_a_list_of_genes_that_is_not_in_utf_8_is_named(model, cells, tmp_path, capsys):
    (tmp_path / "genes.txt").write_bytes("CD3\u00e9".encode("latin-1"))
    assert main(["genes", "perturb", model, cells, "--genes-from", str(tmp_path / "genes.txt")]) == 1
    said = capsys.readouterr().err
    assert "genes.txt' is no list of genes in UTF-8 that can be read" in said and "or correct it." in said
