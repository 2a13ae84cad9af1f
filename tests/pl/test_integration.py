"""Two embeddings of the same cells in one figure: rows are embeddings, columns batches and types."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from anndata import AnnData
from matplotlib import pyplot as plt
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
