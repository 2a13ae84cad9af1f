"""Sets of genes perturbed together, beside the sum of their single effects."""

import numpy as np
import pytest

from genemamba_sc import tl
from genemamba_sc.data import Tokens
from genemamba_sc.tl._cells import embedding_of, pass_through
from genemamba_sc.tl.perturbation._controls import Expression
from genemamba_sc.tl.perturbation._joint_perturbation import changed

GENES = [f"ENSG{i:011d}" for i in range(1, 11)]


def test_a_set_leaves_the_list_or_stands_first_in_its_order():
    ids, values = np.array([[5, 6, 7], [6, 1, 1]], np.int32), np.array([[3, 2, 1], [4, 0, 0]], np.float32)
    tokens = Tokens(ids, values, np.array([3, 1], np.int32))
    gone = changed(tokens, np.array([5, 7]), "delete")
    assert (gone.ids.tolist(), gone.values.tolist(), gone.lengths.tolist()) == ([[6], [6]], [[2], [4]], [1, 1])
    top = changed(tokens, np.array([7, 9]), "top")
    assert top.ids.tolist() == [[7, 9, 5, 6], [7, 9, 6, 1]]
    assert top.values.tolist() == [[3, 3, 3, 2], [4, 4, 4, 0]]
    assert top.lengths.tolist() == [4, 3]


@pytest.fixture(scope="module")
def deleted(trained, make_cells):
    sets = {"one": GENES[:1], "T": GENES[:5], "B": GENES[5:]}
    return tl.perturb_together(trained, make_cells(), sets, n_controls=4)


def test_a_set_of_one_gene_is_that_gene_and_adds_up_exactly(trained, make_cells, deleted):
    single = tl.perturb(trained, make_cells(), GENES[:1], n_controls=0)
    assert deleted.n_cells[0] == single.n_cells[0, 0]
    assert deleted.l2_shift[0] == pytest.approx(single.l2_shift[0, 0], abs=1e-5)
    assert deleted.additive_error[0] == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(deleted.type_change[0], single.type_change[0, 0], atol=1e-6)
    np.testing.assert_allclose(deleted.additive_type_change[0], single.type_change[0, 0], atol=1e-6)


def shifts_of(model, adata, genes):
    """Shift of each cell that has one of the genes when they are gone, cell by cell."""
    vectors = []
    tokens = model._source(adata).tokens(np.arange(adata.n_obs))
    for row, n in enumerate(tokens.lengths):
        ids, values = tokens.ids[row, :n], tokens.values[row, :n]
        stays = ~np.isin(ids, genes)
        if not stays.all():
            kept = [(ids, values), (ids[stays], values[stays])]
            whole, less = (
                pass_through(
                    model.module,
                    Tokens(i[None], v[None], np.array([len(i)], np.int32)),
                    embedding_of,
                    model.module.encoder_config.d_model,
                )[0]
                for i, v in kept
            )
            vectors.append(less.astype(float) - whole)
    return np.array(vectors)


def test_controls_and_errors_are_those_of_a_loop_over_cells(trained, make_cells, deleted):
    adata = make_cells()
    tokens = [trained.vocabulary.token_of(gene) for gene in GENES[:5]]
    expression = Expression.empty(1, trained.vocabulary.size)
    source = trained._source(adata)
    expression.add(source.tokens(np.arange(60)), np.zeros(60, int), trained.vocabulary)
    controls = [
        np.linalg.norm(shifts_of(trained, adata, genes), axis=1).mean()
        for genes in expression.matched_sets(np.array(tokens), 4)
    ]
    own = shifts_of(trained, adata, tokens)
    assert len(controls) == 4
    assert deleted.control_l2_shift[1] == pytest.approx(np.mean(controls), rel=1e-4)
    assert deleted.mean_error[1] == pytest.approx(np.linalg.norm(own - own.mean(axis=0), axis=1).mean(), rel=1e-4)
    # The planted markers of T cells do more than every control set.
    assert deleted.l2_shift[1] > max(controls)
    assert deleted.p_l2[1] == 1 / 5


def test_without_enough_other_genes_there_are_no_controls(trained, make_cells):
    found = tl.perturb_together(trained, make_cells(), {"most": list(trained.vocabulary.gene_ids[:25])}, n_controls=2)
    assert found.l2_shift[0] > 0
    assert np.isnan([found.control_l2_shift[0], found.p_l2[0]]).all()


def test_a_larger_set_does_more_and_does_not_add_up(deleted):
    assert deleted.l2_shift[1] > deleted.l2_shift[0]
    assert deleted.additive_error[1] > 1e-3
    assert deleted.type_change[1, deleted.cell_types.index("T cell")] < -0.02


def test_the_table_has_a_row_per_set(deleted):
    table = deleted.to_frame()
    assert list(table.index) == ["one", "T", "B"]
    assert list(table.n_genes) == [1, 5, 5]
    assert table.loc["T", "change:T cell"] == deleted.type_change[1, deleted.cell_types.index("T cell")]


def test_a_set_that_no_cell_has_changes_nothing(trained, make_cells):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[:, :2] = 0
    adata.X = counts
    with pytest.warns(UserWarning, match="1 of 2 sets have no gene that these cells express, such as 'absent': no eff"):
        found = tl.perturb_together(trained, adata, {"absent": GENES[:2], "T": GENES[2:4]}, n_controls=2)
    assert found.n_cells[0] == 0 < found.n_cells[1]
    assert np.isnan([found.l2_shift[0], found.additive_error[0], found.mean_error[0], found.p_l2[0]]).all()


def test_the_top_reaches_every_cell(trained, make_cells):
    found = tl.perturb_together(trained, make_cells(), {"T": GENES[:3]}, kind="top", n_controls=0, types=False)
    assert found.n_cells.tolist() == [60]
    assert found.cell_types == ()
    assert found.type_change.shape == (1, 0)
    assert np.isnan(found.p_l2[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sets": {}}, r"Sets of genes are needed. Got {}. Pass sets="),
        ({"sets": ["CD3E"]}, r"Sets of genes are needed. Got \['CD3E'\]"),
        ({"sets": {1: GENES[:1], "1": GENES[1:2]}}, "name of its own, as text. Got '1' more than once. Rename"),
        ({"sets": {"T": []}}, "Set 'T': At least one gene is needed"),
        ({"sets": {"B": GENES[:1], "T": ["GEN"]}}, "Set 'T': Genes must be in the model's vocabulary"),
        ({"kind": "shift"}, "kind must be one of .* Got 'shift'"),
        ({"indices": []}, "At least one cell is needed. Got none"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused(trained, arguments, message):
    with pytest.raises(ValueError, match=message):
        tl.perturb_together(trained, **{"sets": {"T": GENES[:2]}, **arguments})
