"""A table of pairs: by each method what it says it is, and refused where it cannot be."""

import warnings

import numpy as np
import pytest
import scanpy as sc
from scipy.stats import spearmanr

from genemamba_sc.tl import gene_correlation

GENES = [f"GENE{i}" for i in (0, 1, 15, 90)]
COLUMNS = [0, 1, 15, 90]


def log_values(cells):
    copy = cells.copy()
    sc.pp.normalize_total(copy, target_sum=1e4)
    sc.pp.log1p(copy)
    return copy.X.toarray().astype(np.float64)


def test_pearson_and_spearman_are_those_of_log_normalised_values(model, cells):
    values = log_values(cells)[:, COLUMNS]

    pearson = gene_correlation(model, GENES, cells, method="pearson")

    assert pearson.index.tolist() == pearson.columns.tolist() == GENES
    np.testing.assert_allclose(pearson, np.corrcoef(values.T), atol=1e-5)
    spearman = gene_correlation(model, GENES, cells, method="spearman")
    # Ranks are of single precision here and of double there: a handful of ties differ.
    np.testing.assert_allclose(spearman, spearmanr(values).statistic, atol=5e-3)


def test_explained_correlates_what_the_embedding_explains(model, cells):
    latent = model.get_latent_representation(cells, key_added=None)
    design = np.column_stack([np.ones(len(latent)), latent])
    values = log_values(cells)
    fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]

    found = gene_correlation(model, GENES, cells, method="explained")

    np.testing.assert_allclose(found, np.corrcoef(fitted[:, COLUMNS].T), atol=2e-3)
    np.testing.assert_array_equal(found, gene_correlation(model, GENES, cells))  # the default of such a model


def test_static_is_the_cosine_in_the_table_with_cells_and_without(model, cells):
    table = model.get_gene_embeddings().to_numpy()[COLUMNS]
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)

    np.testing.assert_allclose(gene_correlation(model, GENES), unit @ unit.T, atol=1e-5)
    np.testing.assert_allclose(gene_correlation(model, GENES, cells, method="static"), unit @ unit.T, atol=1e-5)


@pytest.mark.parametrize("method", ["combined", "explained", "contextual", "static", "pearson", "spearman"])
def test_every_method_relates_a_planted_group(model, cells, method):
    found = gene_correlation(model, GENES, cells, method=method)

    assert np.isfinite(found.to_numpy()).all()
    np.testing.assert_allclose(found, found.T, atol=1e-5)
    others = [found.loc["GENE0", gene] for gene in ("GENE15", "GENE90")]
    assert found.loc["GENE0", "GENE1"] > max(others)


def test_a_gene_that_is_rare_in_the_cells_is_refused(model, cells):
    with pytest.raises(ValueError, match="min_cells=301 cells must express .* GENE0 in "):
        gene_correlation(model, GENES, cells, min_cells=301)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"method": "pearson"}, "Without cells .* Got 'pearson'"),
        ({"genes": ["GENE0", "GENE00"]}, r"'GENE00' \(similar"),
        ({"genes": ["GENE0", "GENE0"]}, "named once"),
    ],
)
def test_wrong_questions_are_refused(model, arguments, match):
    with pytest.raises(ValueError, match=match):
        gene_correlation(model, **{"genes": GENES, **arguments})


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_method_is_refused(model, cells):
    with pytest.raises(ValueError, match="method must be one of .* Got 'cosine'"):
        gene_correlation(model, GENES, cells, method="cosine")


def test_explained_is_pearson_where_the_embedding_explains_everything_and_that_is_told(model, cells):
    few = cells[:12].copy()
    with pytest.warns(UserWarning, match="12 cells have 11, which explain everything: that is Pearson's"):
        found = gene_correlation(model, GENES, few, method="explained", min_cells=1)
    pearson = gene_correlation(model, GENES, few, method="pearson", min_cells=1)
    np.testing.assert_allclose(found, pearson, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gene_correlation(model, GENES, cells[:30].copy(), method="explained", min_cells=1)


def test_too_few_cells_are_refused(model, cells):
    with pytest.raises(ValueError, match="at least 3 cells. Got 1"):
        gene_correlation(model, GENES, cells[:1], min_cells=1)


def test_too_many_genes_for_a_table_are_refused(model, monkeypatch):
    from genemamba_sc.tl.relations import _gene_correlation

    monkeypatch.setattr(_gene_correlation, "_MOST_GENES", 3)
    with pytest.raises(ValueError, match="at most 3 genes. Got 4. Name fewer, or take gm.tl.gene_network"):
        gene_correlation(model, GENES)
