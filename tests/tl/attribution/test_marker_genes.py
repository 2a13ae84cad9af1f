"""The genes behind the score of a type: order and numbers by hand."""

import numpy as np
import pytest
import torch

from genemamba_sc import tl


@pytest.fixture
def known(fit, make_cells):
    """A model whose weights are set: gene k adds to type k alone, gene 3 to all types alike."""
    model = fit(make_cells(), max_epochs=0)
    with torch.no_grad():
        model.module.cell_type_head.markers.zero_()
        for kind in range(3):
            model.module.cell_type_head.markers[2 + kind, kind] = 3.0
        model.module.cell_type_head.markers[5] = 100.0
    return model


def test_genes_are_ordered_by_what_they_add_at_their_median_beside_the_other_types(known):
    table = tl.marker_genes(known, n=1)
    assert list(table.columns) == ["cell_type", "gene_id", "symbol", "weight", "contribution"]
    assert list(table.cell_type) == known.cell_types
    assert list(table.gene_id) == list(known.vocabulary.gene_ids[:3])
    np.testing.assert_allclose(table.weight, 2.0)
    np.testing.assert_allclose(table.contribution, 2 * np.log1p(known.vocabulary.medians[:3]))


def test_no_more_genes_are_listed_than_there_are(known):
    assert len(tl.marker_genes(known, n=20_000)) == 3 * known.vocabulary.n_genes


def test_the_markers_of_a_type_are_found(trained):
    table = tl.marker_genes(trained, n=3)
    assert set(table.gene_id[table.cell_type == "T cell"]) <= {f"ENSG{i:011d}" for i in range(1, 6)}


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_asked_is_refused(trained, fit, make_cells):
    with pytest.raises(ValueError, match="n must be at least 1. Got 0"):
        tl.marker_genes(trained, n=0)
    with pytest.raises(TypeError, match="A GeneMambaModel is needed. Got str"):
        tl.marker_genes("mini")
    with pytest.raises(ValueError, match="set up without labels and knows no cell types"):
        tl.marker_genes(fit(make_cells(), setup={}, max_epochs=0))
