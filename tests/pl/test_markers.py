"""The dot plot of marker genes: areas are shares, colours are means, and genes are found by whatever name they have."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from genemamba_sc.pl import markers

TABLE = pd.DataFrame(
    {
        "cell_type": ["T", "T", "T", "B", "B"],
        "gene_id": ["ENSG00000000001", "ENSG00000000009", "ENSG00000000002", "ENSG00000000003", "ENSG00000000001"],
        "symbol": ["CD3E", "ABSENT", "IL7R", "", "CD3E"],
    }
)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def adata() -> AnnData:
    """Two T cells, two B cells and one without a type; each has 10 counts."""
    counts = np.array([[5, 2, 0, 3], [5, 0, 0, 5], [0, 0, 8, 2], [1, 0, 9, 0], [10, 0, 0, 0]], dtype=np.float32)
    obs = pd.DataFrame({"kind": pd.Categorical(["T", "T", "B", "B", None], categories=["T", "never", "B"])})
    obs.index = [f"cell{i}" for i in range(5)]
    var = pd.DataFrame(index=["CD3E", "IL7R", "ENSG00000000003", "OTHER"])
    return AnnData(counts, obs=obs, var=var)


def drawn(ax: plt.Axes) -> tuple[np.ndarray, np.ndarray]:
    """Sizes and colour levels, types × genes."""
    (points,) = ax.collections
    shape = (len(ax.get_yticks()), len(ax.get_xticks()))
    return np.asarray(points.get_sizes()).reshape(shape), np.asarray(points.get_array()).reshape(shape)


def texts(labels) -> list[str]:
    return [label.get_text() for label in labels]


def test_areas_are_shares_and_colours_are_means_over_the_largest(adata: AnnData):
    with pytest.warns(UserWarning, match="1 of the 4 best marker genes are not in adata"):
        ax = markers(TABLE, adata, groupby="kind", n_genes=2)

    assert texts(ax.get_xticklabels()) == ["CD3E", "IL7R", "ENSG00000000003", "CD3E"]
    assert texts(ax.get_yticklabels()) == ["T (2)", "B (2)"]
    sizes, levels = drawn(ax)
    np.testing.assert_allclose(sizes / sizes.max(), [[1, 0.5, 0, 1], [0.5, 0, 1, 0.5]])
    high, low = np.log1p(5_000), np.log1p(1_000) / 2
    np.testing.assert_allclose(levels, [[1, 1, 0, 1], [low / high, 0, 1, low / high]], rtol=1e-5)


def test_logged_values_give_the_same_picture_and_nothing_is_written(adata: AnnData):
    logged = adata.copy()
    logged.X = np.log1p(1e4 * adata.X / adata.X.sum(axis=1, keepdims=True))
    before = logged.copy()
    pictures = [markers(TABLE, cells, groupby="kind", n_genes=1) for cells in (adata, logged)]
    for first, second in zip(*(drawn(ax) for ax in pictures)):
        np.testing.assert_allclose(first, second, rtol=1e-5)
    pd.testing.assert_frame_equal(logged.obs, before.obs)
    assert dict(logged.uns) == {} and np.array_equal(logged.X, before.X)


def test_the_colours_are_those_of_the_cells(adata: AnnData):
    adata.uns["kind_colors"] = ["#112233", "#445566", "#778899"]
    ax = markers(TABLE, adata, groupby="kind", n_genes=1, ax=plt.subplots()[1])
    filled = {to_hex(patch.get_facecolor()) for patch in ax.patches if patch.get_fill()}
    assert filled == {"#112233", "#778899"}


def test_forty_types_have_a_row_each_and_names_that_do_not_cover_each_other(make_cells):
    cells = make_cells(400)
    cells.obs["kind"] = pd.Categorical([f"type {i % 40:02d}" for i in range(400)])
    table = pd.DataFrame({"cell_type": [f"type {i:02d}" for i in range(40)], "gene_id": cells.var_names})
    ax = markers(table.assign(symbol=cells.var["symbol"].to_numpy()), cells, groupby="kind")
    figure = ax.figure
    figure.draw_without_rendering()
    for labels, side in ((ax.get_yticklabels(), "y"), (ax.get_xticklabels(), "x")):
        boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: getattr(box, f"{side}0"))
        gaps = [getattr(b, f"{side}0") - getattr(a, f"{side}1") for a, b in zip(boxes, boxes[1:])]
        assert len(boxes) == 40 and min(gaps) > 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"groupby": "type"}, ValueError, r"groupby must name one column of adata\.obs\. Got 'type'"),
        ({"table": TABLE.drop(columns="symbol")}, ValueError, r"rows and the columns .* Pass gm\.tl\.marker_genes"),
        ({"table": TABLE[:0]}, ValueError, "Got 0 rows"),
        ({"table": [1]}, TypeError, r"table must be a DataFrame\. Got list"),
        ({"table": TABLE.assign(cell_type="NK")}, ValueError, r"types and genes that the cells have.*gene_id_key="),
        ({"table": TABLE[1:2]}, ValueError, r"of which 0 of 1 are in adata"),
        ({"n_genes": 0}, ValueError, "n_genes must be at least 1"),
        ({"layer": "counts"}, ValueError, "layer"),
    ],
)
def test_what_cannot_be_drawn_is_refused(adata: AnnData, unchecked: None, change, error, message: str):
    arguments = {"table": TABLE, "adata": adata, "groupby": "kind", **change}
    with pytest.raises(error, match=message):
        markers(**arguments)


def test_cells_without_any_type_are_refused(adata: AnnData):
    adata.obs["kind"] = None
    with pytest.raises(ValueError, match=r"Cells need a type\. Got 5 cells, none with a value"):
        markers(TABLE, adata, groupby="kind")


def test_types_that_are_numbers_may_be_floats_in_the_cells_or_in_the_table(adata: AnnData):
    table = TABLE[TABLE["gene_id"] != "ENSG00000000009"]
    adata.obs["cluster"] = [1, 1, 2, 2, np.nan]
    for names in ({"T": "1", "B": "2"}, {"T": 1.0, "B": 2.0}):
        ax = markers(table.assign(cell_type=table["cell_type"].map(names)), adata, groupby="cluster")
        assert texts(ax.get_yticklabels()) == ["1 (2)", "2 (2)"] and len(texts(ax.get_xticklabels())) == 4


def test_genes_that_share_a_symbol_are_called_by_their_ids(adata: AnnData):
    table = TABLE[TABLE["gene_id"].isin(["ENSG00000000001", "ENSG00000000003"])].assign(symbol="TWIN")
    adata.var_names = ["ENSG00000000001", "IL7R", "ENSG00000000003", "OTHER"]
    names = texts(markers(table, adata, groupby="kind").get_xticklabels())
    assert names == ["ENSG00000000001", "ENSG00000000003", "ENSG00000000001"]
