"""Effects added up over blocks of cells: means by group, and NaN where nothing was perturbed."""

import numpy as np
import pytest

from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.tl.perturbation._effect_sums import EffectSums, warn_if_absent

GENES = np.array([FIRST_GENE_ID, FIRST_GENE_ID + 7])


def test_means_are_those_of_the_cells_of_a_group_that_have_the_gene(trained, make_cells):
    adata = make_cells()
    counts = adata.X.toarray()
    counts[:, 7] = 0
    adata.X = counts
    groups = np.arange(60) % 3
    tokens = trained._source(adata).tokens(np.arange(60))

    def measure(cells):
        numbers = np.asarray(cells.tokens.lengths)
        return lambda changes: np.stack([numbers[changes.rows], changes.genes], axis=1).astype(float)

    totals = EffectSums(trained.module, GENES, 3, 2, measure)
    for part in (np.arange(0, 25), np.arange(25, 60)):
        totals.add(trained._source(adata).tokens(part), groups[part], "delete", 0)
    has = counts[:, 0] > 0
    assert totals.counts.tolist() == [[int(has[groups == g].sum()) for g in range(3)], [0, 0, 0]]
    means = totals.means()
    expected = [tokens.lengths[has & (groups == g)].mean() for g in range(3)]
    np.testing.assert_allclose(means[0], np.stack([expected, np.full(3, GENES[0])], axis=1))
    assert np.isnan(means[1]).all()
    assert trained.module.training is False
    with pytest.warns(UserWarning, match="1 of 2 genes are expressed in none of these cells, such as GENE7: no eff"):
        warn_if_absent(trained, GENES, totals)
