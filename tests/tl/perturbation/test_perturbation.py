"""Genes perturbed in cells: means by group, controls, and what is refused."""

import numpy as np
import pytest
import torch

from genemamba_sc import GeneAliases, tl
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import Tokens, to_batch
from genemamba_sc.data.tokens._token_parts import visible_part
from genemamba_sc.tl.perturbation._controls import Expression

GENES = [f"ENSG{i:011d}" for i in range(1, 11)]


@pytest.fixture(scope="module")
def deleted(trained, make_cells):
    return tl.perturb(trained, make_cells(), GENES, groupby="cell_type", n_controls=8)


def encode(model, tokens):
    batch = to_batch(tokens)
    with torch.inference_mode():
        read = model.module.eval().inference(batch["token_ids"], batch["token_values"], batch["lengths"])
        logits = model.module.generative(read["context"], batch["token_ids"], batch["token_values"])
    scores = logits["cell_type_logits"] / model.calibration_.temperature
    return read["cell"].numpy(), scores.softmax(dim=1).numpy()


def test_effects_are_the_means_over_the_cells_of_a_group_that_have_the_gene(trained, make_cells, deleted):
    adata = make_cells()
    gene = trained.vocabulary.token_of(GENES[2])
    cells = adata[adata.obs["cell_type"] == "monocyte"]
    all_tokens = trained._source(cells.copy()).tokens(np.arange(cells.n_obs))
    cosine, distance, change = [], [], []
    for row in range(cells.n_obs):
        ids, values = (array[row, : all_tokens.lengths[row]] for array in (all_tokens.ids, all_tokens.values))
        if gene not in ids:
            continue
        kept = ids != gene
        one = [
            Tokens(i[None], v[None], np.array([len(i)], np.int32))
            for i, v in ((ids, values), (ids[kept], values[kept]))
        ]
        (z, p), (z_after, p_after) = (encode(trained, tokens) for tokens in one)
        cosine.append(1 - (z * z_after).sum() / np.linalg.norm(z) / np.linalg.norm(z_after))
        distance.append(np.linalg.norm(z - z_after))
        change.append(p_after[0] - p[0])
    group = deleted.groups.index("monocyte")
    assert deleted.n_cells[2, group] == len(cosine)
    assert deleted.cosine_shift[2, group] == pytest.approx(np.mean(cosine), abs=1e-5)
    assert deleted.l2_shift[2, group] == pytest.approx(np.mean(distance), abs=1e-4)
    np.testing.assert_allclose(deleted.type_change[2, group], np.mean(change, axis=0), atol=1e-5)


def test_deleting_the_markers_of_a_type_lowers_its_probability_more_than_controls_do(deleted):
    # Genes 0 to 4 are those of T cells, 5 to 9 those of B cells; see make_cells.
    for name, rows in (("T cell", slice(0, 5)), ("B cell", slice(5, 10))):
        group, kind = deleted.groups.index(name), deleted.cell_types.index(name)
        change, control = deleted.type_change[rows, group, kind], deleted.control_type_change[rows, group, kind]
        assert (change < 0).all()
        assert change.mean() < control.mean()
        assert deleted.lowers_more[rows, group, kind].mean() > 0.8


def test_probabilities_are_those_of_the_predictions(trained, make_cells, monkeypatch):
    monkeypatch.setattr(type(trained.calibration_), "temperature", 3.0)
    adata = make_cells()
    has = np.flatnonzero(adata.X[:, 0].toarray())
    tokens = trained._source(adata).tokens(has)
    without = visible_part(tokens, tokens.ids != trained.vocabulary.token_of(GENES[0]))
    np.testing.assert_allclose(
        encode(trained, tokens)[1], trained.predict_celltype(adata, soft=True).to_numpy()[has], atol=1e-6
    )

    single = tl.perturb(trained, adata, GENES[:1], n_controls=0)
    both = tl.perturb_together(trained, adata, {"one": GENES[:1]}, n_controls=0)

    expected = (encode(trained, without)[1] - encode(trained, tokens)[1]).mean(axis=0)
    np.testing.assert_allclose(single.type_change[0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(both.type_change[0], expected, atol=1e-6)
    np.testing.assert_allclose(both.additive_type_change[0], expected, atol=1e-6)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("types", ["B cell", ["B cell"], 0, 1])
def test_types_are_asked_for_by_true_false_or_none(trained, types):
    for ask in (
        lambda: tl.perturb(trained, None, GENES[:1], types=types),
        lambda: tl.perturb_together(trained, None, {"a": GENES[:1]}, types=types),
    ):
        with pytest.raises(TypeError, match="types says whether .* Pass True, False or None"):
            ask()


def test_the_changes_of_the_types_add_up_to_zero(deleted):
    np.testing.assert_allclose(deleted.type_change.sum(axis=2), 0, atol=1e-6)


def test_the_table_has_a_row_per_gene_and_group(deleted):
    table = deleted.to_frame()
    assert len(table) == 30
    assert list(table.columns[:9]) == [
        "gene_id", "symbol", "group", "n_cells", "cosine_shift", "l2_shift", "control_cosine_shift", "n_controls",
        "p_cosine",
    ]  # fmt: skip
    effects = ("change", "control_change", "control_size", "p_change", "lowers_more")
    assert set(table.columns[9:]) == {f"{effect}:{name}" for effect in effects for name in deleted.groups}
    row = table[(table.gene_id == GENES[3]) & (table.group == "T cell")].iloc[0]
    place = 3, deleted.groups.index("T cell")
    assert (row.cosine_shift, row.p_cosine, row.n_controls) == (deleted.cosine_shift[place], deleted.p_cosine[place], 8)


def test_planted_markers_move_the_probability_of_their_type_more_than_all_controls(deleted):
    group, kind = deleted.groups.index("B cell"), deleted.cell_types.index("B cell")
    assert deleted.p_types[5:, group, kind].tolist() == [1 / 9] * 5


def test_p_is_the_rank_among_the_effects_of_the_controls(trained, make_cells, deleted):
    adata = make_cells()
    cells = adata[adata.obs["cell_type"] == "B cell"].copy()
    expression = Expression.empty(1, trained.vocabulary.size)
    tokens = trained._source(cells).tokens(np.arange(cells.n_obs))
    expression.add(tokens, np.zeros(cells.n_obs, int), trained.vocabulary)
    wanted = np.array([trained.vocabulary.token_of(gene) for gene in GENES])
    ids = [trained.vocabulary.gene_ids[token - FIRST_GENE_ID] for token in expression.matched(wanted, 8)[5, 0]]

    found = tl.perturb(trained, cells, ids, n_controls=0)
    controls, types = found.cosine_shift[:, 0], found.type_change[:, 0]

    place = 5, deleted.groups.index("B cell")
    assert deleted.control_cosine_shift[place] == pytest.approx(controls.mean(), rel=1e-4)
    assert (types < 0).any() and (types > 0).any()
    np.testing.assert_allclose(deleted.control_type_change[place], types.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(deleted.control_type_size[place], np.abs(types).mean(axis=0), atol=1e-5)
    stronger = int((controls >= deleted.cosine_shift[place]).sum())
    assert 0 < stronger < 8
    assert deleted.p_cosine[place] == (1 + stronger) / 9


def test_blocks_and_the_number_of_genes_change_nothing(trained, make_cells, deleted, monkeypatch):
    monkeypatch.setattr("genemamba_sc.tl._cells._BLOCK_CELLS", 7)
    monkeypatch.setattr("genemamba_sc.tl.perturbation._changes._AT_ONCE", 5)
    few = tl.perturb(trained, make_cells(), GENES[2:4], groupby="cell_type", n_controls=0)
    np.testing.assert_array_equal(few.n_cells, deleted.n_cells[2:4])
    np.testing.assert_allclose(few.cosine_shift, deleted.cosine_shift[2:4], atol=1e-6)
    np.testing.assert_allclose(few.type_change, deleted.type_change[2:4], atol=1e-6)
    assert np.isnan(few.p_cosine).all()
    assert not few.n_controls.any()


def test_the_top_reaches_every_cell_and_a_shift_those_that_have_the_gene(trained, make_cells):
    adata = make_cells()
    top = tl.perturb(trained, adata, GENES[:2], kind="top", n_controls=0)
    assert top.n_cells.tolist() == [[60], [60]]
    assert top.type_change[0, 0, top.cell_types.index("T cell")] > 0
    down = tl.perturb(trained, adata, GENES[:1], kind="shift", shift=-30, n_controls=0)
    assert down.n_cells[0, 0] == (adata.X[:, 0] > 0).sum()
    assert down.cosine_shift[0, 0] > 0


def test_many_more_genes_than_cells_have_is_no_trouble(trained, make_cells):
    found = tl.perturb(trained, make_cells(), list(trained.vocabulary.gene_ids), n_controls=3)
    assert found.n_cells.shape == (trained.vocabulary.n_genes, 1)
    # All genes are on the list, so they serve as each other's controls.
    assert (found.n_controls[found.n_cells > 0] == 3).all()


def test_a_gene_that_no_cell_has_is_told_and_has_no_effect(trained, make_cells):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[:, 4] = 0
    adata.X = counts
    with pytest.warns(UserWarning, match="1 of 2 genes are expressed in none of these cells, such as GENE4: no eff"):
        found = tl.perturb(trained, adata, [GENES[4], GENES[5]], n_controls=2)
    assert np.isnan(found.cosine_shift).tolist() == [[True], [False]]
    assert (found.n_cells[0, 0], found.n_controls[0, 0]) == (0, 0)


def test_a_cell_without_genes_is_left_as_it_is(trained, make_cells):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[0] = 0
    adata.X = counts
    assert tl.perturb(trained, adata, GENES[:1], kind="top", n_controls=0).n_cells.tolist() == [[59]]


def test_indices_choose_the_cells(trained, make_cells):
    adata = make_cells()
    rows = np.flatnonzero(adata.obs["cell_type"] == "B cell")
    some = tl.perturb(trained, adata, GENES[:3], indices=rows, n_controls=0)
    groups = tl.perturb(trained, adata, GENES[:3], groupby="cell_type", n_controls=0)
    np.testing.assert_allclose(some.l2_shift[:, 0], groups.l2_shift[:, groups.groups.index("B cell")], atol=1e-6)


def test_a_model_without_labels_has_effects_on_the_embedding_only(fit, make_cells):
    model = fit(make_cells(), setup={}, max_epochs=0)
    found = tl.perturb(model, None, GENES[:2], n_controls=2)
    assert found.cell_types == ()
    assert (found.cosine_shift > 0).all()
    with pytest.raises(ValueError, match="This model was set up without labels and knows no cell types"):
        tl.perturb(model, None, GENES[:2], types=True)


def test_every_cell_that_is_asked_for_needs_a_group(trained, make_cells):
    adata = make_cells()
    adata.obs.loc["cell7", "cell_type"] = None
    with pytest.raises(ValueError, match="Every cell needs a group. 1 of 60 cells have none in adata.obs"):
        tl.perturb(trained, adata, GENES[:1], groupby="cell_type")
    with pytest.warns(UserWarning, match=r"2 of 3 groups .* one cell only \(B cell, monocyte\)"):
        found = tl.perturb(
            trained, adata, GENES[:1], kind="top", groupby="cell_type", indices=[3, 4, 5, 6], n_controls=0
        )
    assert found.groups == ("B cell", "T cell", "monocyte")
    assert found.n_cells.tolist() == [[1, 2, 1]]


def test_layers_names_and_older_symbols_are_read_by_all(trained, make_cells, monkeypatch, tmp_path):
    """Cells whose counts and ids lie elsewhere give the same, and a gene is found by an alias."""
    adata, moved = make_cells(), make_cells()
    moved.layers["counts"], moved.var["ids"] = moved.X.copy(), moved.var_names
    moved.X = -moved.X
    moved.var_names = [f"g{i}" for i in range(moved.n_vars)]
    where = {"layer": "counts", "gene_id_key": "ids", "scale": "counts"}

    whole, same = (tl.perturb(trained, c, GENES[:2], n_controls=0, **w) for c, w in ((adata, {}), (moved, where)))
    np.testing.assert_array_equal(same.l2_shift, whole.l2_shift)
    sets = {"a": GENES[:2]}
    whole, same = (tl.perturb_together(trained, c, sets, n_controls=0, **w) for c, w in ((adata, {}), (moved, where)))
    np.testing.assert_array_equal(same.l2_shift, whole.l2_shift)
    whole, same = (tl.attribute(trained, c, method="occlusion", **w) for c, w in ((adata, {}), (moved, where)))
    np.testing.assert_array_equal(same.scores.toarray(), whole.scores.toarray())
    whole, same = (tl.reconstruct_ranks(trained, c, n_cells=5, **w) for c, w in ((adata, {}), (moved, where)))
    np.testing.assert_array_equal(same.spearman, whole.spearman)

    table = tmp_path / "aliases.tsv"
    table.write_text(f"symbol\tensembl_gene_id\talias_symbol\tprev_symbol\nGENE0\t{GENES[0]}\tOLD\t\n")
    monkeypatch.setattr(trained, "gene_aliases", GeneAliases.from_tsv(table))
    assert tl.perturb(trained, adata, ["OLD"], n_controls=0).gene_ids == (GENES[0],)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "double"}, ValueError, "kind must be one of .* Got 'double'. Choose one of them."),
        ({"kind": "shift"}, ValueError, "kind='shift' needs a number of places"),
        ({"shift": 3}, ValueError, "no other kind takes one. Got kind='delete', shift=3"),
        ({"kind": "shift", "shift": 1.5}, TypeError, "shift must be a whole number. Got 1.5"),
        ({"groupby": "cluster"}, ValueError, "groupby must name one column of adata.obs. Got 'cluster'"),
        ({"indices": []}, ValueError, "At least one cell is needed. Got none"),
        ({"n_controls": -1}, ValueError, "n_controls must be at least 0. Got -1"),
        ({"genes": ["CD3"]}, ValueError, "Not in it: 'CD3'"),
        ({"genes": None}, TypeError, "Genes are named by a list of texts. Got NoneType"),
        ({"genes": 5}, TypeError, "Genes are named by a list of texts. Got int"),
        ({"genes": GENES[:1] * 2}, ValueError, "Each gene can be named once"),
        ({"groupby": ["cell_type"]}, ValueError, r"groupby must name one column of adata.obs. Got \['cell_type'\]"),
        ({"adata": "cells.h5ad"}, TypeError, "Cells are an AnnData. Got str"),
        ({"genes": []}, ValueError, "At least one gene is needed"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_refused(trained, arguments, error, message):
    with pytest.raises(error, match=message):
        tl.perturb(trained, **{"genes": GENES[:1], **arguments})
