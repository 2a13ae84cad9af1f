"""Read-outs of ranks: from embeddings that were made without the gene, and judged in cells that were left out."""

import numpy as np
import pytest

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._token_parts import visible_part
from genemamba_sc.tl._cells import embedding_of, pass_through
from genemamba_sc.tl.ranks import _hidden_readout
from genemamba_sc.tl.ranks._hidden_readout import HiddenReadout
from genemamba_sc.tl.ranks._masked_ranks import draw_folds
from genemamba_sc.tl.ranks._rank_metrics import correlation, relative_ranks

GENES = np.arange(FIRST_GENE_ID, FIRST_GENE_ID + 40)


@pytest.fixture(scope="module")
def tokens(trained, make_cells) -> Tokens:
    return trained._source(make_cells()).tokens(np.arange(60))


@pytest.fixture(scope="module")
def readout(trained, tokens) -> HiddenReadout:
    return HiddenReadout.of(trained.module, tokens, trained.vocabulary.size, GENES, 3)


def test_each_gene_is_fitted_to_embeddings_that_were_made_without_it(trained, tokens, readout):
    gene = GENES[7]
    folds = draw_folds(tokens, 5, np.random.default_rng(3))
    rows, ranks = [], []
    for cell, n in enumerate(tokens.lengths.tolist()):
        place = np.flatnonzero(tokens.ids[cell, :n] == gene)
        if len(place):
            alone = Tokens(tokens.ids[[cell]], tokens.values[[cell]], tokens.lengths[[cell]])
            visible = visible_part(alone, folds[[cell]] != folds[cell, place[0]])
            assert gene not in visible.ids
            embedding = pass_through(trained.module, visible, embedding_of, 16)
            rows.append([*readout.axes(embedding, np.array([n]))[0], 1.0])
            ranks.append(relative_ranks(n)[place[0]])
    x, y = np.array(rows), np.array(ranks)
    y = y - (y.sum() + 0.5) / (len(y) + 1)
    penalty = np.diag([100.0] * (x.shape[1] - 1) + [1.0])
    expected = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    np.testing.assert_allclose(readout.slopes[gene], expected[:-2], atol=1e-5)
    said = np.empty(len(y))
    for half in (0, 1):
        y[half::2] -= y[half::2].mean()
    for half in (0, 1):
        train = np.arange(len(y)) % 2 != half
        fit = np.linalg.solve(x[train].T @ x[train] + penalty, x[train].T @ y[train])
        said[~train] = x[~train] @ fit
        said[~train] -= said[~train].mean()
    assert readout.foretold[gene] == pytest.approx(correlation(y, said), abs=1e-4)


def test_a_marker_is_foretold_and_a_rare_gene_has_no_read_out(trained, tokens, readout, monkeypatch):
    assert readout.n_cells == 60
    assert np.mean(readout.foretold[GENES[:15]]) > 0.3 > np.nanmean(readout.foretold[GENES[15:]]) + 0.2
    monkeypatch.setattr(_hidden_readout, "LEAST_CELLS", 61)
    none = HiddenReadout.of(trained.module, tokens, trained.vocabulary.size, GENES[:2], 3)
    assert np.isnan(none.foretold).all() and not none.slopes.any()


def test_a_step_is_a_difference_of_places(readout):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4, 16))
    n = np.full(4, 30)
    places = readout.axes(second, n) - readout.axes(first, n)
    np.testing.assert_allclose(readout.steps(second - first), places[:, :-1], atol=1e-8)


def test_noise_is_foretold_by_0_on_average_and_a_signal_by_more():
    rng = np.random.default_rng(0)
    noise, signal = [], []
    for _ in range(600):
        x = np.concatenate([rng.normal(size=(30, 20)), np.ones((30, 1))], axis=1)
        y = rng.normal(size=30)
        noise.append(_hidden_readout._foretold(x, y - y.mean()))
        signal.append(_hidden_readout._foretold(x, x[:, 0]))
    assert abs(np.mean(noise)) < 0.04 and np.mean(signal) > 0.5
