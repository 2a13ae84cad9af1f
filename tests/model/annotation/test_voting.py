"""Majority voting: clusters of the user first, own ones where there are none, and nothing else of the cells changes."""

import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from genemamba_sc.model.annotation._voting import check_voting, vote


def cells(n: int = 30, **columns: object) -> AnnData:
    return AnnData(np.ones((n, 1), np.float32), obs=pd.DataFrame(columns, index=[f"c{i}" for i in range(n)]))


def predicted(codes: list[int]) -> pd.Series:
    types = pd.Categorical.from_codes(codes, categories=["T", "B", "Unknown"])
    return pd.Series(types, index=[f"c{i}" for i in range(len(codes))])


def test_clusters_of_the_user_vote_in_the_order_of_the_types():
    adata = cells(6, mine=["x", "x", "x", "y", "y", "y"])
    found = vote(adata, predicted([1, 0, 1, 2, 2, 0]), np.zeros((6, 2), np.float32), "mine")
    assert list(found.cell_types) == ["B", "B", "B", "Unknown", "Unknown", "Unknown"]
    assert list(found.cell_types.cat.categories) == ["T", "B", "Unknown"]
    assert found.by == "mine"
    assert list(adata.obs.columns) == ["mine"]


def test_own_clusters_are_those_of_the_embedding_and_leave_the_cells_alone():
    pytest.importorskip("igraph")
    adata = cells(30)
    embedding = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    embedding[15:] += 100
    found = vote(adata, predicted([0] * 15 + [1] * 15), embedding, "leiden")
    assert list(found.cell_types) == ["T"] * 15 + ["B"] * 15
    assert found.by == ""
    assert not set(found.clusters[:15]) & set(found.clusters[15:])
    assert not adata.obs.columns.size and not adata.uns and not adata.obsp


def test_a_column_named_leiden_is_taken_before_own_clusters():
    adata = cells(4, leiden=["0", "0", "1", "1"])
    found = vote(adata, predicted([0, 1, 1, 1]), np.zeros((4, 2), np.float32), "leiden")
    assert (found.by, list(found.cell_types)) == ("leiden", ["T", "T", "B", "B"])


@pytest.mark.parametrize(
    ("adata", "name", "message"),
    [
        (
            cells(20),
            "louvain",
            r"must name one column of adata\.obs, or be 'leiden'\. Got 'louvain'; the columns are \[\]",
        ),
        (cells(20), True, r"must name one column of adata\.obs"),
        (cells(4, a=["x", None, None, "y"]), "a", r"2 of 4 have none in adata\.obs\['a'\]\. Give them a cluster"),
        (cells(10), "leiden", r"more than 10 cells\. Got 10\. Pass more cells at once, or name a"),
    ],
)
def test_clusters_that_are_not_there_are_refused(adata: AnnData, name: object, message: str):
    with pytest.raises(ValueError, match=message):
        check_voting(adata, name)


def test_without_igraph_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(ImportError, match=r"Got no igraph here\. Install it with: pip install 'genemamba-sc\[graphs"):
        check_voting(cells(20), "leiden")
    check_voting(cells(20, leiden=["0"] * 20), "leiden")


def test_columns_that_are_written_anew_do_not_vote():
    with pytest.raises(ValueError, match=r"annotate\(\) writes .* anew\. Got majority_voting='genemamba_celltype'"):
        check_voting(cells(20, genemamba_celltype=["0"] * 20), "genemamba_celltype")
