"""Genes that a user names: found by id or symbol, and the nearest names where they are not."""

import numpy as np
import pytest

from genemamba_sc.data import GeneVocabulary
from genemamba_sc.tl._gene_lists import names_of_tokens, tokens_of_genes

IDS = ("ENSG00000000001", "ENSG00000000002", "ENSG00000000003")


@pytest.fixture
def vocabulary():
    return GeneVocabulary(IDS, ("CD3E", "MS4A1", ""), np.ones(3), "human")


def test_ids_and_symbols_are_found_once_each_in_the_order_given(vocabulary):
    np.testing.assert_array_equal(tokens_of_genes(vocabulary, ["MS4A1", IDS[0], "CD3E", f"{IDS[2]}.4"]), [3, 2, 4])
    np.testing.assert_array_equal(tokens_of_genes(vocabulary, "CD3E"), [2])


def test_a_gene_without_a_symbol_is_called_by_its_id(vocabulary):
    assert names_of_tokens(vocabulary, np.array([4, 2])) == ([IDS[2], IDS[0]], [IDS[2], "CD3E"])


def test_unknown_genes_are_refused_with_the_nearest_names(vocabulary):
    with pytest.raises(ValueError, match=r"vocabulary of 3 genes. It lacks 2 of 3: 'cd3e' \(nearest: 'CD3E'\)"):
        tokens_of_genes(vocabulary, ["cd3e", "MS4A1", "qqqqq"])
    with pytest.raises(ValueError, match=r"'qqqqq' \(nothing is near\). Correct them, or leave them out."):
        tokens_of_genes(vocabulary, ["qqqqq"])


@pytest.mark.usefixtures("unchecked")
def test_what_names_no_gene_is_refused(vocabulary):
    with pytest.raises(ValueError, match="At least one gene is needed. Got none"):
        tokens_of_genes(vocabulary, [])
    with pytest.raises(TypeError, match=r"genes must be names. Got 7. Pass ids or symbols"):
        tokens_of_genes(vocabulary, ["CD3E", 7])
