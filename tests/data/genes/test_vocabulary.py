"""The vocabulary: token ids, medians, identity."""

import pickle

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genemamba_sc.data.genes._vocabulary import GeneVocabulary

IDS = ("ENSG00000000003", "ENSG00000000005", "ENSG00000198851")


def vocabulary(**changed):
    parts = {
        "gene_ids": IDS,
        "symbols": ("TSPAN6", "", "CD3E"),
        "medians": np.array([2.0, 0.1, 4.0]),
        "species": "human",
    }
    return GeneVocabulary(**{**parts, **changed})


def cells(counts, var_names, **columns):
    return ad.AnnData(sparse.csr_matrix(np.array(counts, dtype=np.float32)), var=pd.DataFrame(columns, index=var_names))


class TestTokenIds:
    def test_special_tokens_surround_the_genes(self):
        v = vocabulary()
        assert (v.n_genes, v.size) == (3, 7)
        assert (v.unk_id, v.pad_id, v.cls_id, v.mask_id) == (0, 1, 5, 6)
        np.testing.assert_array_equal(v.token_medians, [1.0, 1.0, 2.0, 0.1, 4.0, 1.0, 1.0])

    @pytest.mark.parametrize(
        ("gene", "token"),
        [("ENSG00000000005", 3), ("ENSG00000198851.15", 4), ("CD3E", 4), ("TSPAN6", 2)],
        ids=["id", "id with version", "symbol", "another symbol"],
    )
    def test_a_gene_is_found_by(self, gene, token):
        assert vocabulary().token_of(gene) == token

    def test_a_symbol_in_another_case_is_refused_with_the_right_one(self):
        with pytest.raises(KeyError, match=r"3 human genes; got 'Cd3e'. Did you mean 'CD3E'\?"):
            vocabulary().token_of("Cd3e")

    def test_an_unknown_symbol_does_not_hit_the_gene_without_one(self):
        with pytest.raises(KeyError, match="got ''. Look among vocabulary.gene_ids"):
            vocabulary().token_of("")

    def test_the_first_of_several_genes_has_the_symbol(self):
        assert vocabulary(symbols=("A", "A", "A")).token_of("A") == 2


class TestSymbols:
    @pytest.mark.parametrize("column", ["symbol", "gene_symbols", "gene_symbol", "feature_name", "gene_name"])
    def test_stand_beside_ensembl_ids_under_usual_names(self, column):
        adata = cells([[1, 2]], [IDS[0], f"{IDS[2]}.7"], **{column: ["TSPAN6", "CD3E"]})
        found = GeneVocabulary.from_anndata(adata)
        assert (found.gene_ids, found.symbols) == ((IDS[0], IDS[2]), ("TSPAN6", "CD3E"))
        assert found.fingerprint == GeneVocabulary.from_anndata(cells([[1, 2]], [IDS[0], IDS[2]])).fingerprint

    def test_the_first_of_several_columns_and_the_one_that_is_named_count(self):
        adata = cells([[1]], [IDS[2]], gene_name=["T3E"], symbol=["CD3E"], other=["CD3-EPSILON"])
        assert GeneVocabulary.from_anndata(adata).symbols == ("CD3E",)
        assert GeneVocabulary.from_anndata(adata, symbol_key="other").symbols == ("CD3-EPSILON",)

    def test_a_later_column_fills_the_gaps_of_an_earlier_one_whatever_the_case_of_its_name(self):
        adata = cells(
            [[1, 2]], [IDS[0], IDS[2]], symbol=[None, np.nan], Gene_Symbols=["TSPAN6", ""], GENE_NAME=["x", "CD3E"]
        )
        assert GeneVocabulary.from_anndata(adata).symbols == ("TSPAN6", "CD3E")

    def test_an_index_of_symbols_is_believed_before_a_column(self):
        adata = cells([[1, 2]], ["TSPAN6", "CD3E"], ids=[IDS[0], IDS[2]], feature_name=["x", "y"])
        assert GeneVocabulary.from_anndata(adata).symbols == ("CD3E", "TSPAN6")
        assert GeneVocabulary.from_anndata(adata, gene_id_key="ids").symbols == ("TSPAN6", "CD3E")


class TestIdentity:
    def test_equal_content_is_equal(self):
        assert vocabulary() == vocabulary(symbols=("", "", ""), species="unknown")
        assert hash(vocabulary()) == hash(vocabulary())

    @pytest.mark.parametrize(
        "changed",
        [{"medians": np.array([2.0, 0.1, 4.0000001])}, {"gene_ids": (IDS[1], IDS[0], IDS[2])}],
        ids=["another median", "another order"],
    )
    def test_what_changes_tokens_changes_the_fingerprint(self, changed):
        assert vocabulary() != vocabulary(**changed)

    def test_medians_cannot_be_changed_afterwards(self):
        mine = np.array([2.0, 0.1, 4.0])
        v = vocabulary(medians=mine)
        mine[0] = 99.0
        assert v.medians[0] == 2.0
        with pytest.raises(ValueError, match="read-only"):
            v.medians[0] = 1.0

    def test_survives_the_way_to_a_worker(self):
        v = vocabulary()
        assert v.token_of("CD3E") == 4  # caches are filled
        assert pickle.loads(pickle.dumps(v)) == v


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gene_ids": (), "symbols": (), "medians": np.ones(0)}, "needs genes; got none"),
        ({"symbols": ("A",)}, "got 3 ids, 1 symbols, 3 medians"),
        ({"medians": np.array([1.0, 0.0, 1.0])}, "positive number; ENSG00000000005 has 0.0 .1 such genes"),
        ({"medians": np.array([1.0, 1.0, np.nan])}, "positive number; ENSG00000198851 has nan"),
        ({"gene_ids": ("A", "B", "A")}, "unique; 'A' occurs more than once"),
        ({"gene_ids": ("A", "", "B")}, "name without tab or line end.*got ''"),
        ({"gene_ids": ("A", "[MASK]", "B")}, r"no special token.*got '\[MASK\]'"),
        ({"gene_ids": ("A", "ENSG00000198851.15", "B")}, "carries no version.*Write 'ENSG00000198851'"),
    ],
    ids=["no gene", "lengths", "median 0", "median nan", "twice", "empty", "special", "version"],
)
def test_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        vocabulary(**changed)


class TestFromAnndata:
    # Totals 10, 20, 0, 5.
    COUNTS = [[2, 0, 8], [4, 6, 10], [0, 0, 0], [5, 0, 0]]

    def test_medians_of_non_zero_counts_per_10_000(self):
        v = GeneVocabulary.from_anndata(cells(self.COUNTS, ["C", "A", "B"]))
        assert v.gene_ids == ("A", "B", "C")
        assert v.symbols == ("A", "B", "C")
        # A: 3000. B: 8000, 5000. C: 2000, 2000, 10000.
        np.testing.assert_allclose(v.medians, [3000.0, 6500.0, 2000.0], rtol=1e-6)

    def test_log1p_is_undone_first(self):
        rng = np.random.default_rng(0)
        counts = cells(rng.poisson(3.0, (60, 5)), list("ABCDE"))
        logged = counts.copy()
        totals = np.asarray(counts.X.sum(1))
        logged.X = sparse.csr_matrix(np.log1p(counts.X.toarray() / totals * 1e4).astype(np.float32))
        logged.uns["log1p"] = {"base": None}
        expected = GeneVocabulary.from_anndata(counts).medians
        np.testing.assert_allclose(GeneVocabulary.from_anndata(logged).medians, expected, rtol=1e-4)

    def test_versions_go_and_columns_of_one_gene_are_added(self):
        names = ["ENSG00000000005.2", "ENSG00000000003", "ENSG00000000005.3"]
        v = GeneVocabulary.from_anndata(cells(self.COUNTS, names))
        assert v.gene_ids == ("ENSG00000000003", "ENSG00000000005")
        assert v.symbols == ("", "")
        assert v.species == "human"
        # ...03: 3000. ...05: 10000, 14/20, 10000.
        np.testing.assert_allclose(v.medians, [3000.0, 10000.0], rtol=1e-6)

    def test_genes_without_name_count_towards_the_total_only(self):
        adata = cells(self.COUNTS, ["x", "y", "z"], ids=["B", None, "A"])
        v = GeneVocabulary.from_anndata(adata, gene_id_key="ids")
        assert (v.gene_ids, v.symbols) == (("A", "B"), ("z", "x"))
        np.testing.assert_allclose(v.medians, [6500.0, 2000.0], rtol=1e-6)

    def test_genes_that_no_chosen_cell_expresses_are_left_out(self):
        v = GeneVocabulary.from_anndata(cells(self.COUNTS, ["C", "A", "B"]), indices=np.array([3, 0]))
        assert v.gene_ids == ("B", "C")
        np.testing.assert_allclose(v.medians, [8000.0, 6000.0], rtol=1e-6)

    def test_layer_and_symbol_column(self):
        adata = cells(self.COUNTS, ["C", "A", "B"], name=["c1", "a1", "b1"])
        adata.layers["counts"], adata.X = adata.X.copy(), adata.X * -1
        v = GeneVocabulary.from_anndata(adata, layer="counts", symbol_key="name")
        assert (v.gene_ids, v.symbols) == (("A", "B", "C"), ("a1", "b1", "c1"))
        assert v.medians[0] == 3000.0

    def test_order_of_var_and_blocks_change_nothing(self, monkeypatch):
        rng = np.random.default_rng(1)
        adata = cells(rng.poisson(1.0, (50, 6)), list("FBDACE"))
        whole = GeneVocabulary.from_anndata(adata)
        monkeypatch.setattr("genemamba_sc.data.genes._medians._BLOCK", 7)
        assert GeneVocabulary.from_anndata(adata[:, [3, 1, 5, 0, 2, 4]].copy()) == whole

    def test_many_cells_are_thinned_evenly(self):
        counts = [[1, 1]] * 4 + [[3, 1]]
        v = GeneVocabulary.from_anndata(cells(counts, ["A", "B"]), max_cells=3)  # cells 0, 2, 4
        np.testing.assert_allclose(v.medians, [5000.0, 5000.0])
        v = GeneVocabulary.from_anndata(cells(counts, ["A", "B"]), max_cells=2)  # cells 0, 4
        np.testing.assert_allclose(v.medians, [6250.0, 3750.0])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"gene_id_key": "ensembl"}, "gene_id_key must name a column of adata.var; got 'ensembl'.*'ids'"),
            ({"symbol_key": "name"}, "symbol_key must name a column of adata.var; got 'name'"),
            ({"layer": "raw"}, "layer must name one of adata.layers; got 'raw'.*none"),
            ({"gene_id_key": "ids"}, "needs named genes and cells; got 0 names and 4 cells"),
            ({"indices": np.array([2])}, "the 1 cells have no count in any named gene"),
            ({"max_cells": 0}, "max_cells is at least 1; got 0"),
        ],
        ids=["id column", "symbol column", "layer", "no names", "empty cells", "max_cells"],
    )
    def test_refused(self, arguments, message):
        adata = cells(self.COUNTS, ["C", "A", "B"], ids=[None, "nan", ""])
        with pytest.raises(ValueError, match=message):
            GeneVocabulary.from_anndata(adata, **arguments)
