"""Ranks of other genes when a gene is perturbed: by a loop over cells, beside matched genes, and what is refused."""

import dataclasses

import numpy as np
import pytest

from genemamba_sc import tl
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import Tokens, take_tokens
from genemamba_sc.tl._cells import embedding_of, pass_through
from genemamba_sc.tl.perturbation._controls import Expression
from genemamba_sc.tl.ranks import _rank_effects
from genemamba_sc.tl.ranks._rank_steps import fit_ranks

GENES = [f"ENSG{i:011d}" for i in range(1, 41)]


@pytest.fixture(scope="module")
def deleted(trained, make_cells) -> tl.RankEffects:
    return tl.rank_effects(trained, make_cells(), GENES[:10], targets=GENES[:12], n_controls=6)


def changes_by_loop(trained, adata, gene: int, targets: np.ndarray) -> np.ndarray:
    """Mean change of read ranks when a gene is deleted, cell by cell."""
    source = trained._source(adata)
    readout = fit_ranks(trained, source, targets, 0)
    tokens, changes = source.tokens(np.arange(adata.n_obs)), []
    for cell in np.flatnonzero((tokens.ids == gene).any(axis=1)):
        one = take_tokens(tokens, np.array([cell]))
        kept = one.ids != gene
        less = Tokens(one.ids[kept][None], one.values[kept][None], one.lengths - 1)
        before, after = (pass_through(trained.module, t, embedding_of, 16) for t in (one, less))
        n = one.lengths  # the number of genes of the cell is known, as when a gene is hidden
        places = readout.axes(after, n) - readout.axes(before, n)
        changes.append(readout.slopes[targets] @ places[0, :-1])
    return np.mean(changes, axis=0)


def test_changes_are_those_of_a_loop_over_cells(trained, make_cells, deleted):
    targets = np.arange(FIRST_GENE_ID, FIRST_GENE_ID + 12)
    expected = changes_by_loop(trained, make_cells(), FIRST_GENE_ID + 2, targets)
    expected[2] = np.nan  # a gene and itself
    np.testing.assert_allclose(deleted.change[2], expected, atol=1e-5)
    assert deleted.n_cells[2] == (make_cells().X[:, 2].toarray() > 0).sum()
    assert deleted.n_reference == 60


def test_deleting_a_marker_lowers_the_markers_of_its_type_and_lifts_those_of_others(deleted):
    own, other = deleted.change[:5, :5], deleted.change[:5, 5:10]
    assert np.nanmean(own) < -0.005 < 0.0 < np.nanmean(other)
    assert np.nanmean(own) < np.nanmean(deleted.control_change[:5, :5]) - 0.005


def test_controls_are_matched_genes_and_p_is_the_rank_among_them(trained, make_cells, deleted):
    adata = make_cells()
    expression = Expression.empty(1, trained.vocabulary.size)
    expression.add(trained._source(adata).tokens(np.arange(60)), np.zeros(60, int), trained.vocabulary)
    wanted = np.arange(FIRST_GENE_ID, FIRST_GENE_ID + 10)
    ids = [GENES[token - FIRST_GENE_ID] for token in expression.matched(wanted, 6)[4, 0]]

    controls = tl.rank_effects(trained, adata, ids, targets=GENES[:12], n_controls=0)

    np.testing.assert_allclose(deleted.control_change[4], np.nanmean(controls.change, axis=0), atol=1e-6)
    size = np.nanmean(np.abs(controls.change), axis=0)
    np.testing.assert_allclose(deleted.control_size[4], size, atol=1e-6)
    assert (size > np.abs(deleted.control_change[4]) + 1e-4).any()  # signs cancel in the mean
    shown = deleted.compared(GENES[4])["mean size of matched genes"].to_numpy()[5:]
    np.testing.assert_allclose(shown, size[5:] * np.sign(deleted.change[4, 5:]), atol=1e-6)
    n = (~np.isnan(controls.change)).sum(axis=0)
    stronger = (np.abs(controls.change) >= np.abs(deleted.change[4])).sum(axis=0)
    expected = (1 + stronger) / (1 + n)
    expected[4] = np.nan  # matched genes move the gene, but it does not move itself
    np.testing.assert_allclose(deleted.p[4], expected)
    assert np.isnan(controls.p).all()


def test_the_table_has_a_row_per_gene_and_target(deleted):
    table = deleted.to_frame()
    assert list(table) == [
        "gene_id", "symbol", "target_id", "target", "n_cells", "change", "control_change", "control_size", "p",
        "foretold",
    ]  # fmt: skip
    row = table.iloc[3 * 12 + 5]
    assert (row.gene_id, row.target_id) == (GENES[3], GENES[5])
    assert (row.change, row.p, row.foretold) == (deleted.change[3, 5], deleted.p[3, 5], deleted.foretold[5])
    assert deleted.compared(GENES[3]).loc["GENE5", "effect"] == deleted.change[3, 5]
    lines = repr(deleted).splitlines()
    assert lines[1] == "  perturbation  delete, one gene at a time"
    size, control, p = (np.nanmedian(x) for x in (np.abs(deleted.change), deleted.control_size, deleted.p))
    assert lines[5] == f"  rank change   median size {size:.2g}; of matched genes {control:.2g}; median p {p:.2g}"
    assert deleted.plot(gene=GENES[3]).get_xlabel() == "change of the relative rank (GENE3, delete)"


def test_a_gene_is_chosen_by_id_or_symbol(deleted):
    named = dataclasses.replace(deleted, symbols=tuple("ABCDDFGHIJ"))
    assert named.compared(GENES[3]).equals(deleted.compared(GENES[3]))
    assert named.compared("B").index.name == "change of the relative rank (B, delete)"
    assert named.plot(gene=GENES[4]).get_xlabel() == f"change of the relative rank ({GENES[4]}, delete)"
    with pytest.raises(ValueError, match="gene must be one gene. Got 'D', the symbol of 2"):
        named.plot(gene="D")


def test_without_targets_all_genes_are_read_that_ten_cells_have(trained, make_cells):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[9:, 3] = 0
    adata.X = counts
    found = tl.rank_effects(trained, adata, GENES[:1], n_controls=0)
    assert found.target_ids == tuple(gene for gene, n in zip(GENES, (np.asarray(counts) > 0).sum(axis=0)) if n >= 10)
    assert GENES[3] not in found.target_ids and len(found.target_ids) > 30


def test_the_top_reaches_every_cell_and_lifts_the_markers_of_its_type(trained, make_cells):
    top = tl.rank_effects(trained, make_cells(), GENES[:2], targets=GENES[:10], kind="top", n_controls=0)
    assert top.n_cells.tolist() == [60, 60]
    assert np.nanmean(top.change[:, :5]) > 0 > np.nanmean(top.change[:, 5:])


def test_what_cannot_be_read_is_told(trained, make_cells):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[9:, 3], counts[:, 4] = 0, 0
    adata.X = counts
    with pytest.warns(UserWarning, match=r"1 of 2 targets are not read, such as GENE3: their effects are NaN"):
        found = tl.rank_effects(trained, adata, GENES[:1], targets=[GENES[3], GENES[5]], n_controls=2)
    assert np.isnan(found.change).tolist() == [[True, False]]
    # A gene that ten cells have, of which one has too few genes to be read: it is no target, as none were named.
    counts = make_cells().X.toarray()
    counts[10:, 3], counts[0] = 0, np.where(np.arange(counts.shape[1]) == 3, 5, 0)
    counts[1:10, 3] = 5
    adata.X = counts
    unnamed = tl.rank_effects(trained, adata, GENES[:1], n_controls=0)
    assert GENES[3] not in unnamed.target_ids and len(unnamed.target_ids) > 30
    assert np.isnan(unnamed.change[0]).tolist() == [gene == GENES[0] for gene in unnamed.target_ids]
    counts = make_cells().X.toarray()
    counts[9:, 3], counts[:, 4] = 0, 0
    adata.X = counts
    with pytest.warns(UserWarning, match=r"1 of 1 genes are expressed in none of these cells, such as GENE4"):
        absent = tl.rank_effects(trained, adata, GENES[4], targets=GENES[:2], n_controls=2)
    assert np.isnan(absent.change).all() and np.isnan(absent.p).all() and absent.n_cells.tolist() == [0]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"genes": []}, ValueError, "At least one gene is needed"),
        ({"genes": ["GEN"]}, ValueError, "Not in it: 'GEN'"),
        ({"targets": ["GEN"]}, ValueError, "Not in it: 'GEN'"),
        ({"targets": []}, ValueError, "At least one gene is needed"),
        ({"targets": [GENES[0]] * 2}, ValueError, "Each gene can be named once"),
        ({"genes": 3}, TypeError, "Genes are named by a list of texts. Got int"),
        ({"kind": "double"}, ValueError, "kind must be one of"),
        ({"kind": "shift"}, ValueError, "kind='shift' needs a number of places"),
        ({"n_controls": -1}, ValueError, "n_controls must be at least 0"),
        ({"seed": 0.5}, TypeError, "seed must be a whole number"),
        ({"indices": []}, ValueError, "At least one cell is needed"),
        ({"indices": [0, 1], "targets": None}, ValueError, "No gene is in as many of the cells asked for"),
        ({"adata": 3}, TypeError, "Cells are an AnnData. Got int"),
        ({"layer": "counts"}, ValueError, "layer"),
    ],
)
def test_wrong_arguments_are_refused(trained, make_cells, arguments, error, match):
    asked = {"adata": make_cells(), "genes": GENES[:2], **arguments}
    with pytest.raises(error, match=match):
        tl.rank_effects(trained, **asked)


def test_too_few_cells_and_too_many_pairs_are_refused(trained, make_cells, monkeypatch):
    few = make_cells()[:9].copy()
    with pytest.raises(ValueError, match="Ranks are read from at least 10 cells of ten genes .* Got 9. Pass more"):
        tl.rank_effects(trained, few, GENES[:1], targets=GENES[1:3])
    monkeypatch.setattr(_rank_effects, "_MOST_PAIRS", 7)
    with pytest.raises(ValueError, match="at most 7 pairs. Got 2 genes and 4 targets. Name fewer .*gene_network"):
        tl.rank_effects(trained, make_cells(), GENES[:2], targets=GENES[:4])


def test_a_model_without_labels_and_one_without_training(fit, make_cells):
    model = fit(make_cells(), setup={}, max_epochs=0)
    assert np.isfinite(tl.rank_effects(model, None, GENES[:1], targets=GENES[1:3], n_controls=2).change).all()
    monkey = pytest.MonkeyPatch()
    monkey.setattr(type(model), "is_trained", False)
    with pytest.raises(RuntimeError, match="not trained"):
        tl.rank_effects(model, None, GENES[:1])
    monkey.undo()
