"""One colour per type in every column."""

import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from matplotlib.colors import to_hex

from genemamba_sc import pl
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


def test_a_new_type_takes_no_colour_that_a_known_one_has(adata: AnnData):
    # As after all cells of a type were left out: its colour is gone, those of the others stay.
    first, second, third, fourth, *_ = map(to_hex, sc.pl.palettes.default_20)
    adata.uns["known_colors"] = [first, third, fourth]
    adata.obs["predicted"] = ["A", "B", "C"]

    assert share_colours(adata, ["known", "predicted"]) == {
        "CD8 T": first,
        "B": third,
        "CD14+ Monocyte": fourth,
        "A": second,
        "C": to_hex(sc.pl.palettes.default_20[4]),
    }


def test_new_types_take_the_next_palette_where_colours_run_out():
    # A palette of 28 colours serves 27 names and not 29. Its "#1CE6FF" is the second colour of the one of 102, too.
    known = [to_hex(colour) for colour in sc.pl.palettes.default_28[1:]]
    names = [f"type {i:02}" for i in range(27)]
    obs = pd.DataFrame({"known": pd.Categorical(names), "predicted": ["one", "two"] + names[2:]}, index=names)
    adata = AnnData(obs=obs, uns={"known_colors": sc.pl.palettes.default_28[1:]})

    colours = list(share_colours(adata, ["known", "predicted"]).values())

    assert colours == [*known, "#ffff00", "#ff34ff"]
    assert [to_hex(colour) for colour in sc.pl.palettes.default_102[:3]] == ["#ffff00", "#1ce6ff", "#ff34ff"]


def test_new_types_are_grey_where_no_palette_has_enough_colours():
    names = [f"type {i:03}" for i in range(103)]
    obs = pd.DataFrame({"known": [*names[:102], None], "predicted": names[::-1]}, index=names)
    adata = AnnData(obs=obs, uns={"known_colors": sc.pl.palettes.default_102})

    assert list(share_colours(adata, ["known", "predicted"]).values()) == [
        *map(to_hex, sc.pl.palettes.default_102),
        "#808080",
    ]


def test_numbers_serve_as_types():
    adata = AnnData(obs=pd.DataFrame({"cluster": [10, 2, 2]}, index=["a", "b", "c"]))

    assert list(share_colours(adata, ["cluster"])) == ["2", "10"]
    assert adata.obs["cluster"].tolist() == ["10", "2", "2"]


@pytest.mark.parametrize("keys", [[], ["known", "cluster"]], ids=["no column", "unknown column"])
def test_columns_that_are_not_there_are_refused(adata: AnnData, keys: list[str]):
    with pytest.raises(ValueError, match=r"Columns of adata\.obs are needed.*obs has \['known', 'predicted'\]"):
        share_colours(adata, keys)


def test_stored_colours_are_kept_where_there_are_more_of_them_than_types(adata: AnnData):
    key = str(adata.obs.columns[0])
    names = list(dict.fromkeys(adata.obs[key].astype("category").cat.categories))
    adata.uns[f"{key}_colors"] = ["#ff0000", "#00ff00", "#0000ff", "#123456", "#654321"][: len(names) + 1]
    found = share_colours(adata, [key])
    assert list(found.values()) == ["#ff0000", "#00ff00", "#0000ff", "#123456", "#654321"][: len(names)]


def test_whole_numbers_are_the_same_types_where_cells_without_a_value_made_floats_of_them():
    obs = pd.DataFrame({"known": [1, 2, 10], "predicted": [1.0, None, 10.0]}, index=["a", "b", "c"])
    adata = AnnData(obs=obs)

    assert list(share_colours(adata, ["known", "predicted"])) == ["1", "2", "10"]
    assert adata.obs["predicted"].astype(object).where(adata.obs["predicted"].notna(), None).tolist() == [
        "1",
        None,
        "10",
    ]


def test_one_column_may_be_named_by_a_text(adata: AnnData):
    assert share_colours(adata, "predicted") == share_colours(adata, ["predicted"])


def test_a_stored_colour_that_is_none_is_named(adata: AnnData):
    adata.uns["known_colors"] = ["red", "no colour", "blue"]
    with pytest.raises(
        ValueError, match=r"uns\['known_colors'\] must hold colours .* Got 'no colour'\. Put .* del adata"
    ):
        share_colours(adata, ["known"])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [None, "cells.h5ad", pd.DataFrame({"known": ["B"]})], ids=["none", "path", "obs"])
def test_cells_that_are_no_anndata_are_refused_by_every_picture_of_cells(wrong: object):
    table = pd.DataFrame({"cell_type": ["T"], "gene_id": ["1"], "symbol": ["CD3E"]})
    for draw in (
        lambda: share_colours(wrong, ["known"]),
        lambda: pl.umap(wrong, "known"),
        lambda: pl.confidence(wrong),
        lambda: pl.markers(table, wrong),
        lambda: pl.integration(wrong, "known"),
    ):
        with pytest.raises(TypeError, match=f"adata must be an AnnData. Got {type(wrong).__name__}. Pass the cells"):
            draw()
