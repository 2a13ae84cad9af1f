"""The picture of a network: strongest edges, thicker lines, names; refused where there is nothing to draw."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from genemamba_sc.pl import network
from genemamba_sc.tl import GeneNetwork


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def edges() -> pd.DataFrame:
    return pd.DataFrame({"source": list("AABDE"), "target": list("BCCEF"), "score": [0.9, 0.8, 0.7, 0.6, 0.5]})


def lines(ax) -> np.ndarray:
    return ax.collections[0].get_linewidths()


def named(ax) -> set[str]:
    return {text.get_text() for text in ax.texts}


def test_edges_are_lines_and_higher_scores_thicker(edges):
    pytest.importorskip("igraph")
    ax = network(edges)
    np.testing.assert_allclose(lines(ax), [2.5, 2.0, 1.5, 1.0, 0.5])
    assert named(ax) == set("ABCDEF")
    assert ax.get_title() == "6 genes, 5 edges"
    # Each line ends at the points of its genes.
    points = ax.collections[1].get_offsets()
    np.testing.assert_allclose(ax.collections[0].get_segments()[1], points[[0, 2]])


def test_around_a_gene_only_its_neighbours_are_drawn(edges):
    pytest.importorskip("igraph")
    ax = network(edges, gene="B")
    assert (named(ax), len(lines(ax))) == (set("ABC"), 3)
    assert ax.get_title() == "3 genes, 3 edges around B"


def test_a_gene_of_a_network_is_found_by_its_id_too(edges):
    pytest.importorskip("igraph")
    ids = SimpleNamespace(to_frame=lambda: edges, genes=tuple("ABCDEF"), gene_ids=tuple("123456"))
    assert network(ids, gene="2").get_title() == network(ids, gene="B").get_title() == "3 genes, 3 edges around B"


@pytest.mark.usefixtures("unchecked")
def test_what_has_no_edges_is_refused():
    with pytest.raises(TypeError, match="Edges are a network or a table. Got list"):
        network([1])


def test_the_first_edges_are_drawn_and_the_seed_decides(edges):
    pytest.importorskip("igraph")
    first, again, other = (network(edges, n_edges=2, seed=seed).collections[1].get_offsets() for seed in (0, 0, 1))
    assert len(first) == 3
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_result_and_given_axes_are_taken(edges):
    pytest.importorskip("igraph")

    class Result:
        def to_frame(self):
            return edges

    _, ax = plt.subplots()
    assert network(Result(), ax=ax) is ax


def test_what_cannot_be_drawn_is_refused(edges, monkeypatch):
    with pytest.raises(ValueError, match=r"\['score'\] are missing"):
        network(edges.drop(columns="score"))
    with pytest.raises(ValueError, match="Got none"):
        network(edges.head(0))
    with pytest.raises(ValueError, match="'Z' has none"):
        network(edges, gene="Z")
    with pytest.raises(ValueError, match="n_edges must be at least 1"):
        network(edges, n_edges=0)
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(ImportError, match=r"pip install 'genemamba-sc\[graphs\]'"):
        network(edges)


@pytest.mark.parametrize(
    ("score", "told"), [(np.nan, "nan"), (np.inf, "inf"), ("high", "'high'")], ids=["missing", "infinite", "text"]
)
def test_scores_that_are_no_finite_numbers_are_refused(edges, score, told: str):
    edges["score"] = edges["score"].astype(object)
    edges.loc[1, "score"] = score
    with pytest.raises(ValueError, match=f"Scores must be finite numbers. Got {told} in 1 of 5 edges. Leave"):
        network(edges)


@pytest.mark.usefixtures("unchecked")
def test_a_gene_that_is_no_text_and_a_class_are_refused(edges):
    with pytest.raises(TypeError, match=r"gene must be the name of one gene, a text\. Got \['A'\]"):
        network(edges, gene=["A"])
    with pytest.raises(TypeError, match="Edges are a network or a table. Got type"):
        network(GeneNetwork)
