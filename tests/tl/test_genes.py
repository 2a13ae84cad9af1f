"""Names of genes: found as elsewhere in the package, offered where they are not, unique where they are shown."""

import numpy as np
import pytest

from genemamba_sc import GeneAliases, GeneMambaModel, GeneVocabulary, tl
from genemamba_sc.tl._genes import find_genes, gene_labels, ids_and_symbols, known_genes


class Model(GeneMambaModel):
    """What the functions read of a model."""

    vocabulary = None

    def __init__(self, aliases=None):
        ids = ("ENSG00000000001", "ENSG00000000002", "ENSG00000000003", "ENSG00000000004", "X")
        self.vocabulary = GeneVocabulary(ids, ("CD3E", "CD3D", "TWIN", "TWIN", ""), np.ones(5), "human")
        self.gene_aliases = aliases


@pytest.fixture
def aliases(tmp_path) -> GeneAliases:
    table = tmp_path / "hgnc.tsv"
    table.write_text(
        "symbol\tensembl_gene_id\talias_symbol\tprev_symbol\nCD3E\tENSG00000000001\tT3E|LEU4\t\nCD3D\tENSG00000000002\tT3D\tOLD3D\n"
    )
    return GeneAliases.from_tsv(table)


# beartype would refuse the stand-in.
pytestmark = pytest.mark.usefixtures("unchecked")


def test_ids_versions_and_symbols_are_found_in_the_asked_order():
    assert find_genes(Model(), ["CD3D", "ENSG00000000001.7", "X", "ENSG00000000004"]).tolist() == [1, 0, 4, 3]
    assert find_genes(Model(), "CD3E").tolist() == [0]


def test_aliases_are_found_beside_newer_names_of_other_genes(aliases):
    assert find_genes(Model(aliases), ["T3E", "CD3D"]).tolist() == [0, 1]
    assert find_genes(Model(aliases), ["OLD3D", "LEU4"]).tolist() == [1, 0]


def test_an_alias_and_the_name_in_use_are_one_gene(aliases):
    with pytest.raises(ValueError, match="named once. Got 'CD3E' and 'T3E', which are one gene"):
        find_genes(Model(aliases), ["CD3E", "T3E"])


def test_an_unknown_name_gets_similar_ones_whatever_its_case():
    with pytest.raises(ValueError, match=r"5 human genes. Not in it: 'cd3e' \(similar: CD3E, CD3D\)"):
        find_genes(Model(), ["CD3D", "cd3e"])
    with pytest.raises(ValueError, match=r"'zzzzzz' \(nothing similar\)"):
        find_genes(Model(), "zzzzzz")


def test_twenty_thousand_unknown_names_get_one_message():
    names = [f"gene {i}" for i in range(20_000)]
    with pytest.raises(ValueError, match="'gene 0'.*'gene 2'.* and 19,997 more"):
        find_genes(Model(), names)


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [([], ValueError, "empty list"), (["CD3E", 3], TypeError, "Got 3"), (["CD3E", "CD3E"], ValueError, "named once")],
)
def test_what_names_no_genes_is_refused(names, error, match):
    with pytest.raises(error, match=match):
        find_genes(Model(), names)


def test_a_symbol_of_several_genes_is_refused_and_their_ids_are_taken(tmp_path):
    refused = r"Got 'TWIN', the symbol of 2 genes .*: \['ENSG00000000003', 'ENSG00000000004'\]\. Name one of these ids"
    for names in ("TWIN", ["CD3E", "TWIN"], ["TWIN", "ENSG00000000004"]):
        with pytest.raises(ValueError, match=refused):
            find_genes(Model(), names)
    assert find_genes(Model(), ["ENSG00000000004", "ENSG00000000003"]).tolist() == [3, 2]
    assert known_genes(Model(), ["CD3D", "TWIN", "ENSG00000000003"]) == ["CD3D", "ENSG00000000003"]
    # The table of symbols says which of them is approved.
    table = tmp_path / "hgnc.tsv"
    table.write_text("symbol\tensembl_gene_id\talias_symbol\tprev_symbol\nTWIN\tENSG00000000004\t\t\n")
    assert find_genes(Model(GeneAliases.from_tsv(table)), "TWIN").tolist() == [3]


def test_names_may_be_numpy_texts_and_what_is_no_list_is_told_by_its_type(cells):
    with pytest.raises(ValueError, match=r"Not in it: 'zzz' \(nothing similar\)"):
        find_genes(Model(), np.array(["CD3E", "zzz"]))
    with pytest.raises(TypeError, match=r"named by a list of texts\. Got AnnData\. Pass symbols"):
        find_genes(Model(), cells)


def test_labels_are_unique():
    assert gene_labels(Model().vocabulary) == ["CD3E", "CD3D", "ENSG00000000003", "ENSG00000000004", "X"]


def test_a_gene_without_a_symbol_is_called_by_its_id():
    ids = ("ENSG00000000001", "ENSG00000000002", "ENSG00000000003")
    vocabulary = GeneVocabulary(ids, ("CD3E", "MS4A1", ""), np.ones(3), "human")
    assert ids_and_symbols(vocabulary, np.array([4, 2])) == ([ids[2], ids[0]], [ids[2], "CD3E"])


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_model_is_refused_by_every_tool(model, cells):
    network = tl.gene_network(model, cells)
    for wrong in (None, cells):
        for ask in (
            lambda first: tl.gene_embeddings(first),
            lambda first: tl.gene_embeddings(first, cells),
            lambda first: tl.nearest_genes(first, "GENE0"),
            lambda first: tl.gene_correlation(first, ["GENE0"]),
            lambda first: tl.gene_network(first, cells),
            lambda first: tl.gene_programs(first, network, cells),
            lambda first: tl.perturb(first, cells, ["GENE0"]),
            lambda first: tl.perturb_together(first, cells, {"a": ["GENE0"]}),
            lambda first: tl.attribute(first, cells),
            lambda first: tl.reconstruct_ranks(first, cells),
            lambda first: tl.marker_genes(first),
        ):
            with pytest.raises(TypeError, match=f"A GeneMambaModel is needed. Got {type(wrong).__name__}"):
                ask(wrong)


def test_genes_that_the_model_knows_are_each_kept_once():
    assert known_genes(Model(), ["CD3D", "zzzzzz", "ENSG00000000001.7", "CD3E"]) == ["CD3D", "ENSG00000000001.7"]
    assert known_genes(Model(), ["zzzzzz"]) == known_genes(Model(), []) == []
