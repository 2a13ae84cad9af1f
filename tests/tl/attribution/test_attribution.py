"""Scores attributed to genes: exact where they are linear, complete where they are not, tested by deletion."""

import numpy as np
import pandas as pd
import pytest
import torch

from genemamba_sc import tl
from genemamba_sc.tl.attribution import _integrated_gradients
from genemamba_sc.tl.attribution._deletion import mean_fall

T_GENES = {f"ENSG{i:011d}" for i in range(1, 6)}


@pytest.fixture(scope="module")
def attributed(trained, make_cells):
    return tl.attribute(trained, make_cells(24, seed=1), n_tested=12)


@pytest.fixture
def linear(fit, make_cells):
    """A model whose types are scored by markers alone."""
    model = fit(make_cells(), max_epochs=0)
    head = model.module.cell_type_head
    with torch.no_grad():
        head.programs.zero_()
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.tensor([0.5, 0.0, 1.0]))
    return model


def marker_scores(model, adata, codes):
    """log1p of the counts per 10,000 times the weight of the type, minus its mean over the types."""
    markers = model.module.cell_type_head.markers.numpy()
    columns = np.array([model.vocabulary.token_of(name) for name in adata.var_names])
    counts = adata.X.toarray()
    level = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    weights = (markers - markers.mean(axis=1, keepdims=True))[columns]
    expected = np.zeros((adata.n_obs, model.vocabulary.n_genes))
    expected[:, columns - 2] = level * weights[:, codes].T
    return expected


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_markers_are_attributed_exactly(linear, make_cells, method):
    adata = make_cells(12, seed=1)
    found = tl.attribute(linear, adata, method=method, cell_type="T cell", n_tested=5)
    code = [str(name) for name in linear.cell_types].index("T cell")
    expected = marker_scores(linear, adata, np.full(12, code))
    np.testing.assert_allclose(found.scores.toarray(), expected, atol=2e-5)
    if method == "integrated_gradients":
        bias = (linear.module.cell_type_head.marker_bias + torch.tensor([0.5, 0.0, 1.0])).numpy()
        np.testing.assert_allclose(found.baseline, (bias - bias.mean())[code], atol=1e-5)
    else:
        assert np.isnan(found.baseline).all()


def test_programs_are_attributed_by_their_share_beside_the_mean_cell(linear, make_cells):
    adata = make_cells(12, seed=1)
    head = linear.module.cell_type_head
    with torch.no_grad():
        head.markers.zero_()
        head.programs.copy_(torch.randn(head.programs.shape, generator=torch.Generator().manual_seed(0)))
    found = tl.attribute(linear, adata, cell_type="B cell", n_tested=5)
    tokens = linear._source(adata).tokens(np.arange(12))
    code = [str(name) for name in linear.cell_types].index("B cell")
    programs = head.programs.double().numpy()
    programs = (programs - programs.mean(axis=1, keepdims=True))[:, code]
    level = np.log1p(tokens.values.astype(float))
    share = level / level.sum(axis=1, keepdims=True)
    mean = (share * programs[tokens.ids]).sum(axis=1).mean()
    expected = np.zeros((12, linear.vocabulary.n_genes))
    for row, n in enumerate(tokens.lengths):
        ids = tokens.ids[row, :n]
        expected[row, ids - 2] = share[row, :n] * (programs[ids] - mean)
    np.testing.assert_allclose(found.scores.toarray(), expected, atol=2e-5)


@pytest.mark.parametrize("target", ["cell_type", "embedding"])
def test_integrated_gradients_add_up_to_the_score(trained, make_cells, target):
    found = tl.attribute(trained, make_cells(8, seed=1), target=target, n_tested=2)
    total = np.asarray(found.scores.sum(axis=1)).ravel() + found.baseline
    assert np.abs(total - found.score).max() < 1e-4
    assert found.gap.max() < 1e-4
    assert np.abs(found.score - found.baseline).min() > 1e-3


def test_the_score_is_the_logit_minus_its_mean(trained, make_cells, attributed):
    adata = make_cells(24, seed=1)
    p = np.log(trained.predict_celltype(adata, soft=True).to_numpy().astype(float))
    centred = p - p.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(attributed.score, centred.max(axis=1), atol=1e-4)
    assert list(attributed.targets) == [str(name) for name in trained.predict_celltype(adata)]


def test_occlusion_is_what_the_score_loses_without_the_gene(trained, make_cells):
    adata = make_cells(3, seed=1)
    found = tl.attribute(trained, adata, method="occlusion", cell_type="monocyte", n_tested=2)
    code = found.scores.indices[found.scores.indptr[1]]  # some gene of the second cell
    tokens = trained._source(adata).tokens(np.array([1]))
    keep = tokens.ids[0] != code + 2
    from genemamba_sc.data import Tokens
    from genemamba_sc.tl.attribution._targets import TypeTarget

    without = Tokens(tokens.ids[:, keep], tokens.values[:, keep], tokens.lengths - 1)
    aim = TypeTarget(np.array([[str(n) for n in trained.cell_types].index("monocyte")]).ravel(), np.zeros(3))
    fall = aim.scores(trained.module, tokens) - aim.scores(trained.module, without)
    assert found.scores[1, code] == pytest.approx(fall[0], abs=1e-5)


def test_deleting_by_attribution_hurts_most(attributed):
    assert list(attributed.deletion.columns) == ["attribution", "permuted labels", "expression", "random"]
    assert (attributed.deletion.iloc[0] == attributed.deletion.iloc[0, 0]).all()
    assert attributed.passes
    assert attributed.n_tested == 12
    fall = attributed.mean_fall
    assert fall["attribution"] > 2 * fall["random"]
    assert fall["attribution"] > fall["permuted labels"]


def test_the_mean_fall_is_the_area_over_the_curve():
    curves = pd.DataFrame({"a": [4.0, 2.0, 2.0], "b": [4.0, 4.0, 0.0]}, index=[0.0, 0.25, 0.5])
    assert mean_fall(curves).to_dict() == {"a": 1.5, "b": 1.0}


def test_the_table_has_the_genes_of_each_type_the_largest_first(attributed):
    table = attributed.to_frame()
    assert list(table.columns) == ["target", "gene_id", "symbol", "mean", "total", "n_cells"]
    assert set(table.target) == set(attributed.targets)
    first = table[table.target == "T cell"]
    assert first["mean"].is_monotonic_decreasing
    assert set(first.gene_id[:3]) <= T_GENES
    rows = np.array(attributed.targets) == "T cell"
    gene = attributed.gene_ids.index(first.gene_id.iloc[0])
    values = attributed.scores[np.flatnonzero(rows)].toarray()[:, gene]
    assert first["mean"].iloc[0] == pytest.approx(values[values != 0].mean())
    assert first["total"].iloc[0] == pytest.approx(values.mean())


def test_sums_that_miss_the_score_are_refused(trained, make_cells, monkeypatch):
    monkeypatch.setattr(_integrated_gradients, "_POINTS", 1)
    monkeypatch.setattr(_integrated_gradients, "_MOST_HALVINGS", 0)
    with pytest.raises(RuntimeError, match="Attributions must add up to the score within 1e-06. In .* cells they miss"):
        tl.attribute(trained, make_cells(8), target="embedding", tolerance=1e-6)


def test_only_the_parts_of_a_path_that_miss_are_halved(trained, make_cells, monkeypatch):
    monkeypatch.setattr(_integrated_gradients, "_POINTS", 6)
    parts = {}
    along = _integrated_gradients._along_path

    def count(module, tokens, target, mean, spans):
        for width in spans[:, 1] - spans[:, 0]:
            parts[width] = parts.get(width, 0) + 1
        return along(module, tokens, target, mean, spans)

    monkeypatch.setattr(_integrated_gradients, "_along_path", count)
    found = tl.attribute(trained, make_cells(8), target="embedding", n_tested=1)
    assert found.gap.max() < 1e-4
    # 8 cells and one of the deletion test; halving all parts of all cells would double the number each time.
    assert parts[1.0] == 9
    narrow = min(parts)
    assert narrow < 0.5
    assert parts[narrow] < 9 / narrow


def test_an_attribution_leaves_the_model_as_it_was_and_repeats(trained, make_cells):
    trained.module.train()
    runs = [tl.attribute(trained, make_cells(6), n_tested=4, seed=3) for _ in range(2)]
    assert trained.module.training
    trained.module.eval()
    pd.testing.assert_frame_equal(runs[0].deletion, runs[1].deletion)
    assert all(parameter.grad is None for parameter in trained.module.parameters())


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_cells_without_genes_are_left_out_and_told(trained, make_cells, method):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[[1, 3]] = 0
    adata.X = counts
    with pytest.warns(UserWarning, match="2 of 5 cells have no gene that the model knows; they were left out"):
        found = tl.attribute(trained, adata, indices=range(5), method=method)
    alone = tl.attribute(trained, adata, indices=[0, 2, 4], method=method)
    assert list(found.cells) == ["cell0", "cell2", "cell4"]
    assert found.n_tested == 3
    np.testing.assert_array_equal(found.scores.toarray(), alone.scores.toarray())
    with pytest.raises(ValueError, match="No cell asked for has any. Pass other cells"):
        tl.attribute(trained, adata, indices=[1, 3], method=method)


def test_a_model_without_labels_attributes_embeddings_only(fit, make_cells):
    model = fit(make_cells(), setup={}, max_epochs=0)
    with pytest.raises(ValueError, match="This model was set up without labels and knows no cell types"):
        tl.attribute(model)
    found = tl.attribute(model, target="embedding", indices=[0, 1, 2], n_tested=3)
    assert set(found.targets) == {"embedding"}
    assert list(found.cells) == ["cell0", "cell1", "cell2"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"target": "type"}, ValueError, "target must be one of .* Got 'type'. Choose one of them."),
        ({"method": "shap"}, ValueError, "method must be one of .* Got 'shap'"),
        ({"tolerance": 0}, ValueError, "tolerance must be a positive finite number. Got 0"),
        ({"tolerance": np.inf}, ValueError, "tolerance must be a positive finite number. Got inf"),
        ({"cell_type": "NK"}, ValueError, "cell_type must be one the model knows. Got 'NK'; it knows"),
        ({"cell_type": "NK", "target": "embedding"}, ValueError, "cell_type belongs to target='cell_type'. Got 'NK'"),
        ({"target": "embedding", "indices": [3]}, ValueError, "Got one cell. Pass at least two"),
        ({"n_tested": 0}, ValueError, "n_tested must be at least 1. Got 0"),
        ({"indices": []}, ValueError, "At least one cell is needed. Got none"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused(trained, arguments, error, message):
    with pytest.raises(error, match=message):
        tl.attribute(trained, **arguments)
