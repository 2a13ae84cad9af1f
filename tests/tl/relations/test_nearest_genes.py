"""The genes most like one gene: in order, without itself, from the table or from cells."""

import numpy as np
import pytest

from genemamba_sc import GeneMambaModel
from genemamba_sc.tl import gene_correlation, nearest_genes


def test_they_are_the_highest_of_the_table_in_order(model):
    found = nearest_genes(model, "GENE12", n=5)

    names = [f"GENE{i}" for i in range(120)]
    row = gene_correlation(model, names).loc["GENE12"].drop("GENE12").sort_values(ascending=False, kind="stable")
    assert found.genes == tuple(row.index[:5])
    np.testing.assert_allclose(found.score, row[:5], atol=1e-6)
    assert (found.gene, found.method) == ("GENE12", "static")
    assert found.to_frame().columns.tolist() == ["gene", "gene_id", "score"]
    assert found.gene_ids[0] == f"ENSG{int(found.genes[0].removeprefix('GENE')) + 1:011d}"


@pytest.mark.parametrize("method", [None, "combined", "pearson"])
def test_in_cells_they_are_of_the_planted_group(model, cells, group_of, method):
    found = nearest_genes(model, "ENSG00000000013", cells, n=9, method=method)

    assert {group_of(gene) for gene in found.genes} == {1}
    assert found.method == (method or "explained")


def test_there_are_no_more_than_there_are(model):
    assert len(nearest_genes(model, "GENE0", n=1000).genes) == 119


def test_weights_that_ship_know_the_receptor_of_t_cells():
    model = GeneMambaModel.from_pretrained("mini", accelerator="cpu")
    assert {"CD3D", "CD3G"} <= set(nearest_genes(model, "CD3E", n=3).genes)
    with pytest.raises(ValueError, match=r"'Cd3e' \(similar: CD3E"):
        nearest_genes(model, "Cd3e")


def test_a_gene_without_a_vector_is_refused(model, cells):
    import torch

    weight = model.module.encoder.embeddings.weight
    kept = weight[2].detach().clone()
    with torch.no_grad():
        weight[2] = 0
    try:
        for given in (None, cells):
            with pytest.raises(ValueError, match="'GENE0' has none"):
                nearest_genes(model, "GENE0", given, n=3, method="static")
    finally:
        with torch.no_grad():
            weight[2] = kept


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("gene", "n", "error"), [("GENE0", 0, ValueError), ("GENE0", 2.5, TypeError), (["GENE0", "GENE1"], 3, TypeError)]
)
def test_wrong_arguments_are_refused(model, gene, n, error):
    with pytest.raises(error, match="Got"):
        nearest_genes(model, gene, n=n)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "argument", [{"layer": "counts"}, {"gene_id_key": "ids"}, {"scale": "log"}, {"min_cells": -3}, {"min_cells": "a"}]
)
def test_without_cells_what_is_about_cells_is_refused(model, argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=f"{name}={value!r} is about cells. Pass adata"):
        nearest_genes(model, "GENE0", **argument)
    with pytest.raises(ValueError, match=f"{name}={value!r} is about cells. Pass adata"):
        gene_correlation(model, ["GENE0", "GENE1"], **argument)
