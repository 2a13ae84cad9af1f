"""Programs: planted groups come back, scores are means less controls, igraph is asked for."""

import random
import sys

import numpy as np
import pandas as pd
import pytest

from genemamba_sc.tl import GeneNetwork, gene_network, gene_programs
from genemamba_sc.tl.relations import _gene_programs
from genemamba_sc.tl.relations._communities import communities


@pytest.fixture(scope="module")
def network(model, cells):
    return gene_network(model, cells)


@pytest.fixture
def igraph():
    return pytest.importorskip("igraph")


def test_planted_groups_are_programs(model, cells, network, group_of, igraph):
    adata = cells.copy()

    found = gene_programs(model, network, adata)

    assert found.names == tuple(f"program {i}" for i in range(1, len(found.members) + 1))
    kinds = [{group_of(gene) for gene in genes} for genes in found.members]
    # The other programs hold none of the planted genes: a model of 300 cells has learned their noise, too.
    assert sorted(kinds, key=min) == [{-1}] * (len(kinds) - 4) + [{0}, {1}, {2}, {3}]
    assert sum(len(genes) for genes, kind in zip(found.members, kinds) if kind != {-1}) >= 38
    assert list(map(len, found.members)) == sorted(map(len, found.members), reverse=True)
    frame = found.to_frame()
    assert frame.columns.tolist() == ["program", "gene", "rank"]
    assert frame["rank"].head(3).tolist() == [1, 2, 3]
    np.testing.assert_array_equal(adata.obsm["gene_programs"], found.scores)
    assert found.scores_frame().shape == (300, len(kinds))


def test_a_score_is_the_mean_of_its_genes_less_their_controls(model, cells, network, igraph, monkeypatch):
    from genemamba_sc.data.tokens import _log_expression

    # One bin with fewer genes than are drawn: all genes outside the program are controls.
    monkeypatch.setattr(_gene_programs, "_BINS", 1)
    monkeypatch.setattr(_gene_programs, "_CONTROLS", 1000)
    monkeypatch.setattr(_log_expression, "_BLOCK_CELLS", 77)
    found = gene_programs(model, network, cells, key_added=None)

    values = np.log1p(cells.X.toarray() / cells.X.sum(axis=1).A1[:, None] * 1e4)
    inside = np.isin(cells.var["symbol"], found.members[0])
    expected = values[:, inside].mean(axis=1) - values[:, ~inside].mean(axis=1)
    np.testing.assert_allclose(found.scores[:, 0], expected, atol=1e-4)
    assert "gene_programs" not in cells.obsm


def test_controls_are_so_many_from_each_bin_of_the_program(monkeypatch):
    """Of the bin of genes 0 and 1 two others are drawn, not four; bin 1 has no gene, and of bin 2 one is left."""
    monkeypatch.setattr(_gene_programs, "_CONTROLS", 2)
    bins = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
    drawn = _gene_programs._controls(bins, np.array([0, 1, 9, 11]), np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == 3
    assert np.bincount(bins[drawn]).tolist() == [2, 0, 1]
    assert not set(drawn) & {0, 1, 9, 11}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("network", [None, pd.DataFrame({"source": ["GENE0"], "target": ["GENE1"], "score": [1.0]})])
def test_what_is_no_network_is_refused(model, cells, network):
    with pytest.raises(TypeError, match="clusters of a GeneNetwork. Got (NoneType|DataFrame)"):
        gene_programs(model, network, cells)


@pytest.mark.usefixtures("unchecked")  # beartype draws from that generator
def test_the_seed_decides_and_the_generator_of_others_is_left_alone(model, cells, network, igraph):
    random.seed(5)
    expected = random.random()
    random.seed(5)

    first, second = (gene_programs(model, network, cells, key_added=None, seed=3) for _ in range(2))

    assert random.random() == expected
    assert first.members == second.members
    np.testing.assert_array_equal(first.scores, second.scores)


def test_edges_of_two_genes_in_both_directions_count_once(igraph):
    source, target = np.array([0, 0, 1, 2]), np.array([1, 2, 2, 1])
    numbers = np.ones(4, np.float32), np.zeros(4), np.zeros(4)
    network = GeneNetwork(("A", "B", "C"), ("1", "2", "3"), source, target, *numbers, "effect", 6)
    # All three have two neighbours; counted twice, the pair of B and C would put both before A.
    assert [part.tolist() for part in communities(network, 1.0, 1, 0)] == [[0, 1, 2]]


def test_small_clusters_are_left_out_and_leave_no_older_scores(model, cells, network, igraph):
    adata = cells.copy()
    gene_programs(model, network, adata)
    none = gene_programs(model, network, adata, min_genes=100)
    assert "gene_programs" not in adata.obsm
    assert (none.names, none.scores.shape, len(none.to_frame())) == ((), (300, 0), 0)


def test_without_igraph_the_extra_is_named(model, cells, network, monkeypatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(ImportError, match=r"pip install 'genemamba-sc\[graphs\]'"):
        gene_programs(model, network, cells)


def test_wrong_questions_are_refused(model, cells, network):
    with pytest.raises(ValueError, match="resolution must be a positive number. Got 0.0"):
        gene_programs(model, network, cells, resolution=0.0)
    empty = gene_network(model, cells, genes=["GENE90", "GENE99"])
    assert len(empty.source) == 0
    with pytest.raises(ValueError, match="a network with edges. Got one without"):
        gene_programs(model, empty, cells)
