"""Orders of genes rebuilt: no leak where none may be, and the copy that solves the published protocol."""

import numpy as np
import pytest
import torch

from genemamba_sc import tl
from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._token_parts import visible_part
from genemamba_sc.tl.ranks._masked_ranks import draw_folds

METHODS = ("embedding", "masked head", "components", "neighbours", "mean rank", "frequency", "copy")


def test_the_visible_part_does_not_tell_where_the_hidden_genes_stood():
    values = np.array([[5, 4, 3, 2, 0]], np.float32)
    lengths = np.array([4], np.int32)
    one = Tokens(np.array([[7, 8, 9, 6, 1]], np.int32), values, lengths)
    # The hidden genes 7 and 6 have changed places; their values go with the places.
    two = Tokens(np.array([[6, 8, 9, 7, 1]], np.int32), values, lengths)
    for tokens in (one, two):
        part = visible_part(tokens, ~np.isin(tokens.ids, [6, 7]))
        np.testing.assert_array_equal(part.ids, [[8, 9]])
        np.testing.assert_array_equal(part.values, [[4, 3]])
        np.testing.assert_array_equal(part.lengths, [2])


def test_the_folds_of_a_cell_are_even_whatever_the_padding():
    ids = np.full((3, 10), 5, np.int32)
    tokens = Tokens(ids, np.ones(ids.shape, np.float32), np.array([10, 7, 0], np.int32))
    folds = draw_folds(tokens, 3, np.random.default_rng(0))
    assert sorted(np.bincount(folds[0])) == [3, 3, 4]
    assert sorted(np.bincount(folds[1, :7])) == [2, 2, 3]


@pytest.fixture(scope="module")
def rebuilt(trained, make_cells):
    return tl.reconstruct_ranks(trained, make_cells(90, seed=1), n_cells=30)


def test_the_result_has_every_method_and_every_cell(rebuilt):
    assert rebuilt.methods == METHODS
    assert (rebuilt.spearman.shape, rebuilt.n_reference) == ((30, 7), 60)
    assert list(rebuilt.to_frame().columns) == ["spearman", "spearman_sem", "pearson"]
    assert tuple(rebuilt.to_frame().index) == METHODS
    assert rebuilt.to_frame().spearman["copy"] == 1.0
    assert set(rebuilt.cells) <= {f"cell{i}" for i in range(90)}
    assert "30 cells" in str(rebuilt)


def test_types_are_read_from_the_visible_genes(rebuilt):
    # Five genes of each type stand first in its cells: who knows the type beats the mean rank.
    scores = rebuilt.to_frame().spearman
    assert scores["components"] > scores["mean rank"] + 0.03
    assert scores["embedding"] > scores["mean rank"] + 0.03


def test_an_order_without_a_rule_is_not_rebuilt(trained, make_cells):
    adata = make_cells(120, seed=2)
    rng = np.random.default_rng(0)
    # Every cell has the same genes in an order of its own: nothing but a leak could tell it.
    adata.X = np.stack([rng.permutation(np.arange(1.0, 41.0)) for _ in range(120)]).astype(np.float32)
    medians = trained.vocabulary.medians
    adata.X = (adata.X * medians[[trained.vocabulary.gene_ids.index(name) for name in adata.var_names]]).astype("f4")
    scores = tl.reconstruct_ranks(trained, adata, n_cells=60, seed=0).to_frame()
    rest = scores.spearman.drop("copy")
    assert rest.abs().max() < 0.1


def test_cells_of_the_reference_that_are_rebuilt_are_left_out(trained, make_cells):
    adata = make_cells(60, seed=3)
    found = tl.reconstruct_ranks(trained, adata, reference=adata, n_cells=20)
    assert found.n_reference == 40


def test_a_reconstruction_changes_nothing_and_repeats(trained, make_cells):
    adata = make_cells(60, seed=3)
    trained.module.train()
    runs = [tl.reconstruct_ranks(trained, adata, n_cells=20, seed=4) for _ in range(2)]
    assert trained.module.training
    trained.module.eval()
    np.testing.assert_array_equal(runs[0].spearman, runs[1].spearman)
    assert (runs[0].spearman != tl.reconstruct_ranks(trained, adata, n_cells=20, seed=5).spearman).any()


@pytest.fixture
def copier(fit, make_cells):
    """A model whose head names the gene that stands at a place."""
    model = fit(make_cells(), model={"n_layer": 0, "d_model": 32}, max_epochs=0)
    head, table = model.module.gene_head, model.module.encoder.embeddings.weight
    with torch.no_grad():
        table.copy_(torch.nn.functional.normalize(torch.randn(table.shape), dim=1))
        head.from_hidden.weight.copy_(torch.eye(32))
        head.from_context.weight.zero_()
        head.bias.zero_()
    return model


def test_copying_solves_the_published_protocol(copier):
    found = tl.reconstruct_ranks(copier, protocol="published")
    table = found.to_frame()
    assert list(table.index) == ["model", "copy", "mean rank"]
    for method in ("model", "copy"):
        assert list(table.loc[method]) == pytest.approx([0, 1.0, 1.0, 1.0])
    assert table.l_dist["mean rank"] > 0
    # The layers read 16 genes of each cell, those of the mean rank are the same ones.
    assert list(found.n_genes) == [16] * 10
    assert "Copying the input solves the published protocol" in str(found)


def test_copying_does_not_help_where_genes_are_hidden(copier):
    scores = tl.reconstruct_ranks(copier, n_cells=20).to_frame().spearman
    assert abs(scores["masked head"]) < 0.3


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"protocol": "blind"}, ValueError, r"protocol must be one of .* Got 'blind'. Choose one of them."),
        ({"n_folds": 1}, ValueError, "n_folds must be at least 2. Got 1"),
        ({"n_cells": 0}, ValueError, "n_cells must be at least 1. Got 0"),
        ({"n_cells": 55}, ValueError, "at least 10 cells that are not rebuilt. Got 5. Pass more cells"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused(trained, arguments, error, message):
    with pytest.raises(error, match=message):
        tl.reconstruct_ranks(trained, **arguments)


def test_the_published_protocol_takes_no_reference(trained, make_cells):
    with pytest.raises(ValueError, match="reads no reference. Got one"):
        tl.reconstruct_ranks(trained, protocol="published", reference=make_cells())


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_model_is_refused(make_cells):
    with pytest.raises(TypeError, match="A GeneMambaModel is needed. Got AnnData"):
        tl.reconstruct_ranks(make_cells(), make_cells())


def test_short_cells_are_left_out_and_none_is_refused(trained, make_cells):
    adata = make_cells(60, seed=6)
    counts = adata.X.toarray()
    counts[:20, 5:] = 0
    adata.X = counts
    with pytest.warns(UserWarning, match="20 of 60 cells have fewer than 10 genes"):
        found = tl.reconstruct_ranks(trained, adata, n_cells=60, reference=make_cells(60, seed=7))
    assert len(found.cells) == 40
    counts[:, 5:] = 0
    adata.X = counts
    with pytest.raises(ValueError, match="None of the 60 cells has as many"):
        tl.reconstruct_ranks(trained, adata)


def test_of_few_cells_half_are_rebuilt_and_the_others_serve_as_reference(trained, make_cells):
    found = tl.reconstruct_ranks(trained, make_cells(40, seed=8))
    assert (len(found.cells), found.n_reference) == (20, 20)
