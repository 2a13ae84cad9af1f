"""One colour per type in every column."""

import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc.pl import share_colours


@pytest.fixture
def adata() -> AnnData:
    # Sorted, "CD14+ Monocyte" would stand before "CD8 T": the order of the reference decides.
    known = pd.Categorical(["CD8 T", "CD14+ Monocyte", "B"], categories=["CD8 T", "B", "CD14+ Monocyte"])
    obs = pd.DataFrame({"known": known, "predicted": ["B", None, "CD8 T"]}, index=["a", "b", "c"])
    return AnnData(obs=obs)


def test_columns_share_order_and_colours(adata: AnnData):
    colours = share_colours(adata, ["known", "predicted"])

    order = ["CD8 T", "B", "CD14+ Monocyte"]
    assert list(colours) == order
    assert len(set(colours.values())) == 3
    for key in ("known", "predicted"):
        assert list(adata.obs[key].cat.categories) == order
        assert adata.uns[f"{key}_colors"] == list(colours.values())
    assert adata.obs["predicted"].isna().tolist() == [False, True, False]


def test_colours_that_the_reference_has_are_kept(adata: AnnData):
    adata.uns["known_colors"] = ["red", "#00ff00", "blue"]

    share_colours(adata, ["known", "predicted"])

    assert adata.uns["predicted_colors"] == ["#ff0000", "#00ff00", "#0000ff"]


def test_a_type_that_is_only_predicted_comes_last(adata: AnnData):
    adata.obs["predicted"] = ["A", "B", "CD8 T"]

    assert list(share_colours(adata, ["known", "predicted"])) == ["CD8 T", "B", "CD14+ Monocyte", "A"]


def test_numbers_serve_as_types():
    adata = AnnData(obs=pd.DataFrame({"cluster": [10, 2, 2]}, index=["a", "b", "c"]))

    assert list(share_colours(adata, ["cluster"])) == ["2", "10"]
    assert adata.obs["cluster"].tolist() == ["10", "2", "2"]


@pytest.mark.parametrize("keys", [[], ["known", "cluster"]], ids=["no column", "unknown column"])
def test_columns_that_are_not_there_are_refused(adata: AnnData, keys: list[str]):
    with pytest.raises(ValueError, match=r"Columns of adata\.obs are needed.*obs has \['known', 'predicted'\]"):
        share_colours(adata, keys)
