"""Boxes of confidence and of the score of unknown cells: quantiles of each type, in its colour."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from genemamba_sc.pl import confidence


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def annotated() -> AnnData:
    """21 cells of one type with confidence 0, .05 … 1, and one of another, which is sure."""
    types = pd.Categorical(["T"] * 21 + ["B"], categories=["T", "never", "B"])
    obs = pd.DataFrame({"genemamba_celltype": types, "genemamba_confidence": [*np.linspace(0, 1, 21), 0.9]})
    obs["genemamba_unknown"] = 1 - obs["genemamba_confidence"]
    obs.index = [f"cell{i}" for i in range(22)]
    return AnnData(np.ones((22, 1), dtype=np.float32), obs=obs)


def test_boxes_are_quartiles_in_the_colours_of_the_types(annotated: AnnData):
    annotated.uns["genemamba_celltype_colors"] = ["#112233", "#445566", "#778899"]
    figure = confidence(annotated)
    sure, unknown = figure.axes
    assert [label.get_text() for label in sure.get_yticklabels()] == ["T (21)", "B (1)"]
    boxes = [(box.get_x(), box.get_width(), to_hex(box.get_facecolor())) for box in sure.patches]
    assert boxes == [(pytest.approx(0.25), pytest.approx(0.5), "#112233"), (0.9, 0.0, "#778899")]
    reach, medians = (lines.get_segments() for lines in sure.collections)
    np.testing.assert_allclose(reach[0], [[0.05, 0], [0.95, 0]])
    np.testing.assert_allclose(medians[0], [[0.5, -0.35], [0.5, 0.35]])
    np.testing.assert_allclose(unknown.lines[0].get_xdata(), 0.95)
    assert not sure.lines


def test_the_line_stands_where_cells_were_rejected(annotated: AnnData):
    annotated.uns["genemamba"] = {"unknown_from": 0.8}
    np.testing.assert_allclose(confidence(annotated).axes[1].lines[0].get_xdata(), 0.8)


def test_without_calibration_cells_there_is_one_panel(annotated: AnnData):
    del annotated.obs["genemamba_unknown"]
    annotated.obs["mine"] = [1, 2] * 11
    before = annotated.copy()
    (ax,) = confidence(annotated, groupby="mine").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1 (11)", "2 (11)"]
    pd.testing.assert_frame_equal(annotated.obs, before.obs)
    assert not annotated.uns


def test_cells_that_were_not_annotated_are_refused(annotated: AnnData):
    with pytest.raises(ValueError, match="groupby must name one column"):
        confidence(annotated, groupby="type")
    del annotated.obs["genemamba_confidence"]
    with pytest.raises(ValueError, match=r"must have 'genemamba_confidence', which annotate\(\) writes"):
        confidence(annotated)
