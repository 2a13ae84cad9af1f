"""The network: planted groups are found, shuffled genes are not, and no block matters."""

import warnings

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.tl import gene_correlation, gene_network, nearest_genes, rank_effects
from genemamba_sc.tl.relations import _edges


@pytest.mark.parametrize(
    ("method", "least"), [(None, 0.66), ("combined", 0.66), ("static", 0.55), ("pearson", 0.95), ("spearman", 0.95)]
)
def test_planted_groups_are_connected_and_few_others(model, cells, group_of, method, least):
    # A model that was fitted to these 300 cells has fitted their noise, too, which correlations do not.
    network = gene_network(model, cells, method=method)

    frame = network.to_frame()
    inside = [group_of(a) == group_of(b) >= 0 for a, b in zip(frame["source"], frame["target"])]
    assert np.mean(inside) > least
    assert sum(inside) > 0.7 * 4 * 45
    assert network.n_tested == 120 * 119 / 2
    assert frame["p"].is_monotonic_increasing
    assert (frame["q"] <= 0.05).all()
    assert (frame["p"] <= frame["q"]).all()


@pytest.fixture(scope="module")
def shuffled(cells):
    rng = np.random.default_rng(0)
    found = cells.copy()
    found.X = sparse.csr_matrix(np.stack([rng.permutation(column) for column in cells.X.toarray().T], axis=1))
    return found


@pytest.mark.parametrize("method", [None, "explained", "effect", "pearson", "spearman"])
def test_genes_that_are_shuffled_over_cells_have_no_edges(model, shuffled, method):
    network = gene_network(model, shuffled, method=method)

    assert len(network.source) <= 7  # a thousandth of the pairs


@pytest.mark.parametrize("method", ["combined", "static", "contextual"])
def test_scores_of_the_gene_table_find_edges_in_shuffled_cells_and_are_warned_of(model, shuffled, method):
    with pytest.warns(UserWarning, match=f"p-values of method='{method}' say nothing about these cells.*'explained'"):
        found = gene_network(model, shuffled, method=method)
    assert len(found.source) > {"combined": 7, "static": 50, "contextual": 50}[method]


def test_a_model_that_started_from_weights_asks_these_cells_too(model, cells, monkeypatch):
    monkeypatch.setattr(type(model), "pretrained_", {"origin": "other cells"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gene_network(model, cells).method == "explained"
    assert nearest_genes(model, "GENE0", adata=cells).method == "explained"


def test_ends_are_those_that_were_named_and_a_gene_alone_keeps_as_many_edges(model, cells):
    genes = [f"GENE{i}" for i in range(40)]
    some = gene_network(model, cells, sources=genes[:25], genes=genes[15:], method="pearson").to_frame()
    assert len(some) and set(some["source"]) <= set(genes[:25]) and set(some["target"]) <= set(genes[15:])

    whole = gene_network(model, cells, method="pearson", n_neighbors=1)
    degree = whole.to_frame()[["source", "target"]].stack().value_counts()
    alone = gene_network(model, cells, sources=degree.index[0], method="pearson", n_neighbors=1)
    assert len(alone.source) == alone.n_significant >= degree.iloc[0] > 1
    assert whole.n_significant > len(whole.source) and "n_neighbors leaves out" in str(whole)


def test_effects_have_a_direction_and_connect_planted_groups(model, cells, group_of):
    network = gene_network(model, cells, method="effect")
    frame = network.to_frame()
    assert network.n_tested == 120 * 119
    pairs = set(zip(frame["source"], frame["target"]))
    inside = [group_of(a) == group_of(b) >= 0 for a, b in pairs]
    assert len(pairs) == len(frame)
    # Of the 360 planted ones; the noise of these 300 cells is in the model, too.
    assert np.mean(inside) > 0.55 and sum(inside) > 170
    assert any((b, a) not in pairs for a, b in pairs) and any((b, a) in pairs for a, b in pairs)

    some = gene_network(model, cells, method="effect", sources=["GENE0"], genes=["GENE0", "GENE1", "GENE15"])
    assert some.n_tested == 2 and set(some.to_frame()["source"]) <= {"GENE0"}


def test_the_size_of_an_edge_is_that_of_the_effects(model, cells):
    """A high score is a fall of the rank of the target, and it is not symmetric."""
    network = gene_network(model, cells, method="effect").to_frame().head(20)
    sources, targets = (list(dict.fromkeys(network[end])) for end in ("source", "target"))
    table = rank_effects(model, cells, sources, targets=targets, n_controls=0).to_frame()
    change = table.set_index(["symbol", "target"])["change"]
    assert (np.array([change[pair] for pair in zip(network["source"], network["target"])]) < 0).all()


def test_genes_that_are_not_read_are_left_out_of_the_null(model, cells):
    few = cells.copy()
    counts = few.X.toarray()
    counts[5:, 50:110] = 0
    few.X = sparse.csr_matrix(counts)
    network = gene_network(model, few, method="effect", min_cells=1)
    assert len(network.genes) == 60 and network.n_tested == 60 * 59
    with pytest.raises(ValueError, match="method='effect' needs genes that 10 of the cells .* GENE60 are not. Leave"):
        gene_network(model, few, method="effect", min_cells=1, sources=["GENE60"])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("ask", [gene_correlation, nearest_genes])
def test_symmetric_scores_refuse_a_direction(model, cells, ask):
    with pytest.raises(ValueError, match="method='effect' has a direction.*gm.tl.rank_effects"):
        ask(model, "GENE0", adata=cells, method="effect")


def test_correlations_of_genes_in_few_cells_are_warned_of(model, cells):
    with pytest.warns(UserWarning, match=r"method='pearson' .* in fewer than 200 cells.*min_cells=200"):
        gene_network(model, cells, method="pearson")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gene_network(model, cells, method="pearson", min_cells=200)
        gene_network(model, cells)


def test_scores_are_those_of_gene_correlation(model, cells):
    frame = gene_network(model, cells).to_frame().head(5)
    table = gene_correlation(model, [f"GENE{i}" for i in range(120)], cells)
    expected = [table.loc[a, b] for a, b in zip(frame["source"], frame["target"])]
    np.testing.assert_allclose(frame["score"], expected, atol=1e-5)


def test_blocks_change_nothing(model, cells, monkeypatch):
    whole = gene_network(model, cells).to_frame()
    monkeypatch.setattr(_edges, "_BLOCK_GENES", 13)
    parts = gene_network(model, cells).to_frame()
    assert set(zip(parts["source"], parts["target"])) == set(zip(whole["source"], whole["target"]))
    np.testing.assert_allclose(parts["q"], whole["q"], rtol=1e-3)


def test_sources_are_at_one_end_and_genes_at_the_other(model, cells):
    named = [f"GENE{i}" for i in range(5, 60)]

    network = gene_network(model, cells, sources=["GENE10", "GENE0"], genes=named)

    assert network.n_tested == 55 + 54  # GENE0 with all of them, GENE10 with all but itself
    frame = network.to_frame()
    assert set(frame["source"]) == {"GENE0", "GENE10"}
    assert {*frame["target"]} <= {*named}
    assert {f"GENE{i}" for i in range(11, 20)} <= {*frame.loc[frame["source"] == "GENE10", "target"]}


def test_genes_alone_are_at_both_ends_and_are_judged_by_all(model, cells):
    few = gene_network(model, cells, genes=["GENE0", "GENE1", "GENE99"])

    assert few.n_tested == 3
    assert few.to_frame()[["source", "target"]].to_numpy().tolist() == [["GENE0", "GENE1"]]
    everything = gene_network(model, cells).to_frame().set_index(["source", "target"])
    assert few.p[0] == pytest.approx(everything.loc[("GENE0", "GENE1"), "p"], rel=1e-3)


def test_a_network_says_what_it_is(model, cells):
    network = gene_network(model, cells, genes=["GENE0", "GENE1", "GENE99"])
    assert str(network) == "1 edges between 2 of 120 genes by 'explained', of 3 pairs tested"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"max_fdr": 0.0}, r"max_fdr must be a number in \(0, 1\). Got 0.0"),
        ({"max_fdr": 1.0}, r"in \(0, 1\). Got 1.0"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1"),
        ({"min_cells": 0}, "min_cells must be at least 1"),
        ({"genes": []}, "empty list"),
        ({"sources": ["GEN0"]}, r"'GEN0' \(similar: GENE0"),
        ({"genes": ["GENE0"]}, "two different genes. Got 'GENE0' alone"),
        ({"min_cells": 301}, "Two genes at least must be in min_cells=301 of the 300 cells"),
    ],
)
def test_wrong_questions_are_refused(model, cells, arguments, match):
    with pytest.raises(ValueError, match=match):
        gene_network(model, cells, **arguments)


def test_cells_without_any_difference_are_refused(model, cells):
    equal = cells[[0] * 20].copy()
    equal.obs_names_make_unique()
    with pytest.raises(ValueError, match="method='explained' needs cells whose embeddings differ"):
        gene_network(model, equal)
