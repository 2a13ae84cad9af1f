"""Two embeddings of the same cells in one figure: rows are embeddings, columns batches and types."""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from genemamba_sc.pl import integration


@pytest.fixture
def embedded(make_cells: Callable[..., AnnData]) -> Iterator[AnnData]:
    adata = make_cells()
    rng = np.random.default_rng(0)
    adata.obs["study"] = np.resize([1, 2], adata.n_obs)
    adata.obsm["X_pca"] = rng.normal(size=(adata.n_obs, 5))
    adata.obsm["X_genemamba"] = rng.normal(size=(adata.n_obs, 4))
    yield adata
    plt.close("all")


def test_rows_are_embeddings_and_columns_batches_and_types(embedded: AnnData):
    embedded.uns["study_colors"] = ["#112233", "#445566"]
    figure = integration(embedded, "study", "cell_type")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["study · X_pca", "cell_type · X_pca", "study · X_genemamba", "cell_type · X_genemamba"]
    drawn = {to_hex(colour) for points in figure.axes[0].collections for colour in points.get_facecolors()}
    assert drawn == {"#112233", "#445566"}
    assert all(len(ax.collections[0].get_offsets()) == embedded.n_obs for ax in figure.axes)


def test_cells_without_a_value_are_grey_and_the_column_keeps_its_order_and_colours(embedded: AnnData):
    order = ["monocyte", "T cell", "B cell"]
    embedded.obs["cell_type"] = pd.Categorical(embedded.obs["cell_type"], categories=order)
    embedded.obs.loc[embedded.obs_names[:20], "cell_type"] = np.nan
    embedded.uns["cell_type_colors"] = np.array(["#112233", "#445566", "#778899"])
    embedded.obs["study"] = np.resize([10, 2], embedded.n_obs)

    figure = integration(embedded, "study", "cell_type")

    for studies, types in (figure.axes[:2], figure.axes[2:]):
        assert [text.get_text() for text in studies.get_legend().get_texts()] == ["2", "10"]
        assert legend(types) == dict(zip(order, ["#112233", "#445566", "#778899"]))
        cells = [points for points in types.collections if len(points.get_offsets())]  # the others are of the legend
        drawn = Counter(to_hex(colour) for points in cells for colour in points.get_facecolors())
        kinds = embedded.obs["cell_type"].value_counts()
        assert drawn == {**{colour: kinds[name] for name, colour in legend(types).items()}, "#d3d3d3": 20}


def legend(ax: Axes) -> dict[str, str]:
    found = ax.get_legend()
    colours = [to_hex(handle.get_facecolor()[0]) for handle in found.legend_handles]
    return dict(zip([text.get_text() for text in found.get_texts()], colours))


def test_the_cells_stay_as_they_were(embedded: AnnData):
    obs, keys = embedded.obs.copy(), (set(embedded.obsm), set(embedded.uns), set(embedded.obsp))
    integration(embedded, "study")
    assert embedded.obs.equals(obs)
    assert (set(embedded.obsm), set(embedded.uns), set(embedded.obsp)) == keys


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"batch_key": "donor"}, r"adata\.obs must have 'donor'"),
        (
            {"batch_key": "study", "before": "X_scvi"},
            r"adata\.obsm must have .X_scvi.\. Got",
        ),
    ],
)
def test_what_is_missing_is_named(embedded: AnnData, arguments: dict[str, str], told: str):
    with pytest.raises(ValueError, match=told):
        integration(embedded, **arguments)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("number", "error", "told"),
    [
        ({"n_neighbors": 1}, ValueError, "n_neighbors must be at least 2. Got 1"),
        ({"n_neighbors": "15"}, TypeError, "n_neighbors must be a whole number. Got '15'"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
    ids=["one neighbour", "text", "seed"],
)
def test_numbers_that_lay_nothing_out_are_refused(embedded: AnnData, number, error, told: str):
    with pytest.raises(error, match=told):
        integration(embedded, "study", **number)


def test_an_embedding_that_is_not_finite_is_refused(embedded: AnnData):
    embedded.obsm["X_pca"][[2, 7], [0, 1]] = np.nan, np.inf
    with pytest.raises(
        ValueError, match=r"obsm\['X_pca'\] must be finite\. Got NaN or infinite values in 2 of 60 cells"
    ):
        integration(embedded, "study")
