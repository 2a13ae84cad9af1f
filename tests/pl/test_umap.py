"""The map of cells: one panel a column, the same colours in all, one legend; and figures in files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from genemamba_sc.pl import save_figure, umap


@pytest.fixture
def mapped(make_cells) -> AnnData:
    adata = make_cells()
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(60, 2))
    adata.obs["predicted"] = adata.obs["cell_type"].astype(object)
    adata.obs.loc[adata.obs_names[:30], "predicted"] = None
    yield adata
    plt.close("all")


def test_panels_have_the_same_colours_and_one_legend(mapped: AnnData):
    figure = umap(mapped, ["cell_type", "predicted"], titles=["known", "said"])

    known, said = figure.axes
    assert [known.get_title(), said.get_title()] == ["known", "said"]
    assert known.get_legend() is None
    assert [text.get_text() for text in said.get_legend().get_texts()] == ["B cell", "T cell", "monocyte"]
    assert mapped.uns["cell_type_colors"] == mapped.uns["predicted_colors"]
    drawn = [{to_hex(colour) for points in ax.collections for colour in points.get_facecolors()} for ax in figure.axes]
    assert drawn[0] == set(mapped.uns["cell_type_colors"])
    assert len(drawn[1] - drawn[0]) == 1  # the grey of cells without a prediction


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda adata: adata.obsm.pop("X_umap"), {}, r"Compute it with scanpy\.pp\.neighbors"),
        (lambda adata: None, {"titles": ["one", "two"]}, "One title for each of the 1 columns"),
    ],
    ids=["no UMAP", "too many titles"],
)
def test_what_cannot_be_drawn_is_refused(mapped: AnnData, change, arguments, message: str):
    change(mapped)

    with pytest.raises(ValueError, match=message):
        umap(mapped, "cell_type", **arguments)


def test_a_saved_figure_is_a_picture_and_is_closed(tmp_path: Path):
    figure = plt.figure()

    save_figure(figure, tmp_path / "picture.png")

    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == []


def test_an_unknown_format_leaves_the_old_file(tmp_path: Path):
    (tmp_path / "picture.docx").write_text("old")

    with pytest.raises(ValueError, match="not supported"):
        save_figure(plt.figure(), tmp_path / "picture.docx")

    assert (tmp_path / "picture.docx").read_text() == "old"
    assert os.listdir(tmp_path) == ["picture.docx"]


def test_the_room_loads_nothing_that_draws_until_it_draws():
    code = "import sys, genemamba_sc; dir(genemamba_sc.pl); print(*{'matplotlib', 'scanpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_one_title_may_be_a_text(mapped: AnnData):
    assert umap(mapped, "cell_type", titles="My title").axes[0].get_title() == "My title"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("picture", "dpi", "told"),
    [
        (lambda: None, 150, "A figure is written, or the one of axes. Got NoneType. Pass what"),
        (lambda: plt.subplots(2)[1], 150, r"Got ndarray.*of several axes, the figure of one: axes\.flat\[0\]\.figure"),
        (lambda: plt.subplots()[1], "high", "dpi must be a whole number. Got 'high'"),
    ],
    ids=["nothing", "array of axes", "text"],
)
def test_what_is_no_figure_is_not_written(tmp_path: Path, picture, dpi, told: str):
    with pytest.raises(TypeError, match=told):
        save_figure(picture(), tmp_path / "picture.png", dpi=dpi)
    assert not os.listdir(tmp_path)
    plt.close("all")
