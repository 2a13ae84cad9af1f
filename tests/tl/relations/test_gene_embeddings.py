"""Vectors of genes: the table, means in cells by group, NaN and a warning where there are no cells."""

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc import GeneMambaModel
from genemamba_sc.tl import gene_embeddings


def test_without_cells_they_are_the_gene_table(model):
    found = gene_embeddings(model, genes=["GENE3", "ENSG00000000001"])

    table = model.get_gene_embeddings()
    np.testing.assert_array_equal(found.vectors[0], table.to_numpy()[[3, 0]])
    assert (found.genes, found.groups) == (("GENE3", "GENE0"), ("static",))
    frame = found.to_frame()
    assert frame.index.tolist() == [("static", "GENE3"), ("static", "GENE0")]
    assert frame.columns.tolist() == ["gene_id", "n_cells", *map(str, range(16))]
    assert frame["gene_id"].tolist() == ["ENSG00000000004", "ENSG00000000001"]
    assert gene_embeddings(model).vectors.shape == (1, 120, 16)


def test_the_mean_of_all_cells_is_that_of_the_groups_by_their_numbers(model, cells):
    groups, whole = gene_embeddings(model, cells, groupby="half"), gene_embeddings(model, cells)

    assert (groups.groups, whole.groups) == (("a", "b"), ("all",))
    np.testing.assert_array_equal(groups.n_cells.sum(axis=0), whole.n_cells[0])
    weights = groups.n_cells[:, :, None] / groups.n_cells.sum(axis=0)[None, :, None]
    np.testing.assert_allclose((groups.vectors * weights).sum(axis=0), whole.vectors[0], atol=1e-4)
    assert np.abs(groups.vectors[0] - groups.vectors[1]).max() > 1e-3
    # The layers read 32 genes of each cell.
    assert whole.n_cells.sum() == 32 * cells.n_obs


def test_an_encoder_that_only_repeats_its_input_gives_the_direction_of_the_table(cells):
    GeneMambaModel.setup_anndata(cells)
    bag = GeneMambaModel(cells, d_model=8, n_layer=0)
    bag.train(max_epochs=0, accelerator="cpu", enable_progress_bar=False)

    contextual, static = gene_embeddings(bag, cells).vectors[0], gene_embeddings(bag).vectors[0]

    unit = [table / np.linalg.norm(table, axis=1, keepdims=True) for table in (contextual, static)]
    np.testing.assert_allclose((unit[0] * unit[1]).sum(axis=1), 1.0, atol=1e-5)


def test_a_gene_in_no_cell_is_nan_and_said(model, cells):
    without = cells.copy()
    without.X = sparse.csr_matrix(without.X.toarray() * (np.arange(120) != 7))

    with pytest.warns(UserWarning, match=r"1 of 2 genes have none \(GENE7\): their vectors are NaN"):
        found = gene_embeddings(model, without, genes=["GENE7", "GENE1"])

    assert np.isnan(found.vectors[0, 0]).all()
    assert np.isfinite(found.vectors[0, 1]).all()
    assert found.n_cells[0, 0] == 0 < found.n_cells[0, 1]


def test_a_group_of_one_cell_is_that_cell_and_said(model, cells):
    few = cells[:5].copy()
    few.obs["kind"] = ["one", "rest", "rest", "rest", "rest"]

    with pytest.warns(UserWarning, match=r"1 of 2 groups .* one cell only \(one\)"):
        found = gene_embeddings(model, few, groupby="kind")

    alone = gene_embeddings(model, few[:1])
    np.testing.assert_allclose(found.vectors[0], alone.vectors[0], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"genes": "GEN3"}, r"'GEN3' \(similar: GENE3"),
        ({"groupby": "half"}, "groupby='half' is about cells. Pass adata"),
        ({"layer": "counts"}, "layer='counts' is about cells"),
    ],
)
def test_what_cannot_be_asked_of_the_table_is_refused(model, arguments, match):
    with pytest.raises(ValueError, match=match):
        gene_embeddings(model, **arguments)


def test_groups_that_are_none_are_refused(model, cells):
    with pytest.raises(ValueError, match="Got 'kind'; obs has"):
        gene_embeddings(model, cells, groupby="kind")
    gaps = cells.copy()
    gaps.obs["half"] = gaps.obs["half"].where(np.arange(gaps.n_obs) > 1)
    with pytest.raises(ValueError, match="2 of 300 cells have none in adata.obs"):
        gene_embeddings(model, gaps, groupby="half")


def test_an_untrained_model_is_refused(cells):
    GeneMambaModel.setup_anndata(cells)
    fresh = GeneMambaModel(cells, d_model=8)
    for given in (None, cells):
        with pytest.raises(RuntimeError, match="The model is not trained"):
            gene_embeddings(fresh, given)
