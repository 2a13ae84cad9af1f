"""Lists of genes: every name that the vocabulary or the table knows is found, whatever else is in the list."""

import numpy as np
import pytest

from genemamba_sc import GeneAliases, GeneVocabulary
from genemamba_sc.data.genes._gene_lists import find_tokens

VOCABULARY = GeneVocabulary(
    ("ENSG00000000001", "ENSG00000000002", "ENSG00000000003"), ("MYC", "HLA-A", "TERT"), np.ones(3), "human"
)
MYC, HLA_A, TERT, UNKNOWN = 2, 3, 4, 0


@pytest.fixture
def aliases(tmp_path) -> GeneAliases:
    table = tmp_path / "hgnc.tsv"
    table.write_text(
        "symbol\tensembl_gene_id\talias_symbol\tprev_symbol\n"
        "MYC\tENSG00000000001\tc-Myc\tOLDMYC\nTERT\tENSG00000000003\tTP2\tEST2\n",
        encoding="utf-8",
    )
    return GeneAliases.from_tsv(table)


def test_older_names_are_found_beside_the_name_in_use_and_each_other(aliases: GeneAliases):
    names = ["c-Myc", "MYC", "OLDMYC", "TP2", "EST2", "nobody", "ENSG00000000001.4"]

    assert find_tokens(names, VOCABULARY, aliases).tolist() == [MYC, MYC, MYC, TERT, TERT, UNKNOWN, MYC]
    assert find_tokens(names, VOCABULARY, None).tolist() == [UNKNOWN, MYC, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, MYC]


def test_a_name_as_r_writes_it_is_found_beside_the_symbol():
    assert find_tokens(["HLA.A", "HLA-A"], VOCABULARY, None).tolist() == [HLA_A, HLA_A]


def test_names_may_repeat_be_missing_or_be_none_at_all(aliases: GeneAliases):
    assert find_tokens(["TERT", "", "nan", "TERT"], VOCABULARY, aliases).tolist() == [TERT, UNKNOWN, UNKNOWN, TERT]
    assert find_tokens([], VOCABULARY, aliases).tolist() == []


def test_numbers_that_no_gene_has_are_unknown():
    assert find_tokens(["MYC", "1", "2", "3"], VOCABULARY, None).tolist() == [MYC, UNKNOWN, UNKNOWN, UNKNOWN]
