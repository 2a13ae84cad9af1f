"""Types by cell and neighbours: the formula on four cells, what changes nothing, and what is refused."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from genemamba_sc.tl import smooth_types
from genemamba_sc.tl._smooth_types import _checked

OWN = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.5, 0.5]])


def cells(weights: Any, key: str = "neighbors") -> AnnData:
    adata = AnnData(shape=(4, 0), obs=pd.DataFrame(index=list("abcd")))
    adata.obsp["near"] = sparse.csr_matrix(np.array(weights, dtype=np.float32))
    adata.uns[key] = {"connectivities_key": "near"}
    return adata


def table(values: np.ndarray = OWN) -> pd.DataFrame:
    return pd.DataFrame(values, index=list("abcd"), columns=["T", "B"])


GRAPH = [[0, 1, 1, 0], [3, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_a_cell_and_its_neighbours_agree_by_the_formula(strength: float) -> None:
    found = smooth_types(table(), cells(GRAPH), strength=strength)
    near = np.array([[0.6, 0.4], [0.875, 0.125], [0.65, 0.35]])
    say = ((near + 0.02) / (np.array([0.65, 0.35]) + 0.02)) ** strength
    expected = OWN[:3] * say
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.to_numpy()[:3], expected, rtol=1e-6)
    np.testing.assert_allclose(found.to_numpy()[3], [0.5, 0.5])  # it has no neighbour
    assert list(found.columns) == ["T", "B"] and list(found.index) == list("abcd")


@pytest.mark.parametrize("strength", [1e3, 1e300])
def test_a_great_strength_leaves_probabilities(strength: float) -> None:
    own = OWN.copy()
    own[1] = [0.0, 1.0]  # what a cell cannot be, it does not become
    found = smooth_types(table(own), cells(GRAPH), strength=strength).to_numpy()
    np.testing.assert_allclose(found, [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.5, 0.5]], atol=1e-9)


def test_neighbours_outvote_a_cell_that_is_not_sure() -> None:
    assert list(smooth_types(table(), cells(GRAPH)).idxmax(axis=1))[:3] == ["T", "T", "T"]


@pytest.mark.parametrize(
    ("weights", "strength"), [(GRAPH, 0.0), (np.zeros((4, 4)), 0.5)], ids=["no strength", "no neighbours"]
)
def test_without_strength_or_neighbours_nothing_changes(weights: Any, strength: float) -> None:
    np.testing.assert_allclose(smooth_types(table(), cells(weights), strength=strength), OWN, rtol=1e-12)


def test_the_order_of_the_cells_does_not_matter_and_nothing_is_written() -> None:
    adata = cells(GRAPH)
    found = smooth_types(table(), adata)
    order = [2, 0, 3, 1]
    pd.testing.assert_frame_equal(smooth_types(table().iloc[order], adata[order].copy()), found.iloc[order])
    assert list(adata.uns) == ["neighbors"] and list(adata.obsp) == ["near"] and not adata.obs.columns.size


def test_a_graph_of_scanpy_is_read_by_its_name() -> None:
    rng = np.random.default_rng(0)
    adata = AnnData(obsm={"X_pca": rng.normal(size=(40, 3)) + 50 * (np.arange(40) % 2)[:, None]})
    sc.pp.neighbors(adata, use_rep="X_pca", n_neighbors=5, key_added="mine")
    own = pd.DataFrame(np.tile([0.45, 0.55], (40, 1)), index=adata.obs_names, columns=["T", "B"])
    own.iloc[::2] = [0.9, 0.1]
    own.iloc[0] = [0.45, 0.55]  # a cell among those of the other type
    assert list(smooth_types(own, adata, neighbors_key="mine", strength=1.0).idxmax(axis=1)) == ["T", "B"] * 20


@pytest.mark.parametrize(
    ("probabilities", "adata", "more", "told"),
    [
        (table(), cells(GRAPH, "mine"), {}, r"must name a graph in adata.uns\. Got 'neighbors'\. Make a graph first"),
        (table().iloc[::-1], cells(GRAPH), {}, r"of the cells of adata, in their order\. Got 4 rows for 4 cells"),
        (table(OWN * 2), cells(GRAPH), {}, r"In 4 rows they do not; the first sums to 2\. Scores become"),
        (table(OWN + [[0.2, -0.2]]), cells(GRAPH), {}, r"In 1 rows they do not; the first sums to 1\."),
        (table(OWN * np.nan), cells(GRAPH), {}, r"In 4 rows they do not; the first sums to nan"),
        (table(), cells(GRAPH), {"strength": -1.0}, r"strength must be finite and not negative\. Got -1\.0\."),
    ],
    ids=["no graph", "other order", "scores", "negative", "missing", "strength"],
)
def test_what_cannot_be_smoothed_is_refused(probabilities: Any, adata: AnnData, more: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        smooth_types(probabilities, adata, **more)


def test_an_array_is_refused_with_the_call_that_makes_a_table() -> None:
    with pytest.raises(TypeError, match=r"must be a DataFrame, cells × types\. Got ndarray"):
        _checked(OWN, cells(GRAPH))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("strength", ["0.5", None, True, [1]], ids=["text", "none", "truth", "list"])
def test_a_strength_that_is_no_number_is_refused(strength: Any) -> None:
    with pytest.raises(TypeError, match=f"strength must be a number. Got {re.escape(repr(strength))}. Pass 0.5"):
        smooth_types(table(), cells(GRAPH), strength=strength)


@pytest.mark.usefixtures("unchecked")
def test_a_table_of_texts_and_cells_that_are_no_anndata_are_refused() -> None:
    with pytest.raises(TypeError, match=r"must hold numbers\. Got columns of .*\. Pass model\.predict"):
        smooth_types(table().astype(object).replace(0.9, "much"), cells(GRAPH))
    with pytest.raises(TypeError, match="adata must be an AnnData. Got NoneType"):
        smooth_types(table(), None)
