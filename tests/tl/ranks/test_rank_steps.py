"""Cells that ranks are read from: drawn by the seed, never more than the limit, none of few genes."""

import numpy as np
import pytest

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.tl.ranks import _rank_steps
from genemamba_sc.tl.ranks._rank_steps import add_steps, fit_ranks

GENES = np.arange(FIRST_GENE_ID, FIRST_GENE_ID + 6)


def test_reference_cells_are_limited_and_drawn_by_the_seed(trained, make_cells, monkeypatch):
    source = trained._source(make_cells())
    assert fit_ranks(trained, source, GENES, 0).n_cells == 60
    monkeypatch.setattr(_rank_steps, "_MOST_REFERENCE", 40)
    first, again, other = (fit_ranks(trained, source, GENES, seed) for seed in (0, 0, 1))
    assert first.n_cells == 40
    np.testing.assert_array_equal(first.slopes, again.slopes)
    assert np.abs(first.slopes - other.slopes).max() > 1e-4


def test_cells_of_few_genes_are_told(trained, make_cells):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[:3, 5:] = 0
    adata.X = counts
    with pytest.warns(UserWarning, match="3 of 60 cells have fewer than 10 genes"):
        assert fit_ranks(trained, trained._source(adata), GENES, 0).n_cells == 57


def test_steps_add_up_over_cells(trained, make_cells):
    source = trained._source(make_cells())
    readout = fit_ranks(trained, source, GENES, 0)
    whole = add_steps(trained, source, np.arange(60), GENES, readout, "top", 0)
    parts = [add_steps(trained, source, rows, GENES, readout, "top", 0) for rows in np.split(np.arange(60), [17])]
    np.testing.assert_allclose(whole.sums, parts[0].sums + parts[1].sums, atol=1e-4)
    assert whole.counts.tolist() == [[60]] * 6
