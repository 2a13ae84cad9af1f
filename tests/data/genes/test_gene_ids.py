"""Gene names: what is reported, what is refused, with the way out."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genemamba_sc.data.cells._evidence import _spread_rows
from genemamba_sc.data.genes._gene_ids import GeneAliases, check_genes, match_genes, warn_if_few_genes
from genemamba_sc.data.genes._vocabulary import GeneVocabulary

CD3E, ENSA, CD99, CD99_Y = "ENSG00000198851", "ENSG00000143420", "ENSG00000002586", "ENSGR0000002586"


def make(gene_ids, symbols=None, species="human"):
    symbols = [""] * len(gene_ids) if symbols is None else symbols
    return GeneVocabulary(tuple(gene_ids), tuple(symbols), np.ones(len(gene_ids)), species)


# Tokens 2, 3, 4, 5.
HUMAN = make([CD3E, ENSA, CD99, CD99_Y], ["CD3E", "ENSA", "CD99", ""])
SYMBOLS = make(["CD3E", "CD99", "ENSA"], ["CD3E", "CD99", "ENSA"])


def var(names, **columns):
    return pd.DataFrame(columns, index=names)


def cells(names, counts=None, **columns):
    counts = np.ones((2, len(names))) if counts is None else np.array(counts)
    return ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)), var=var(names, **columns))


class TestReport:
    def test_all_of_it(self):
        adata = cells(["CD3E", "XIST", "CD99", "MALAT1", "CD3E"], [[1, 1, 2, 4, 0], [2, 0, 0, 0, 2]])
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            report = check_genes(adata, HUMAN)
        assert (report.n_vars, report.n_matched, report.share_of_genes) == (5, 3, 0.6)
        assert report.share_of_counts == pytest.approx(7 / 12)
        assert report.examples == ("MALAT1", "XIST")
        assert str(report).splitlines() == [
            "Genes with a token   3 of 5 (60.0%), with 58.3% of the counts",
            "Names                var_names: symbol, human; found 3 by symbol",
            "Vocabulary           4 genes, human",
            "Values               counts: all values are whole numbers up to 4 in 2 cells: counts",
            f"Several columns      on 1 genes (counts are added), such as {CD3E}: CD3E, CD3E",
            "Without a token      2, such as MALAT1, XIST",
            "Advice               Some symbols may be older ones: pass aliases=GeneAliases.from_tsv(path), or set the "
            "gene_aliases of a trained model, with a table of aliases and previous symbols (HGNC offers one for human "
            "genes).",
        ]

    def test_nothing_amiss_needs_no_advice(self):
        assert check_genes(cells([CD3E, ENSA]), HUMAN).advice == ()

    def test_few_counts_warn(self):
        adata = cells(["CD3E", "MALAT1"], [[1, 9], [2, 8]])
        with pytest.warns(UserWarning, match=r"Only 15.0% of the counts .*less than warn_below=50%.*\n.*1 of 2"):
            check_genes(adata, HUMAN)

    def test_the_threshold_can_be_lowered(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            report = check_genes(cells(["CD3E", "MALAT1"], [[1, 9], [2, 8]]), HUMAN, warn_below=0.1)
        assert report.share_of_counts == pytest.approx(0.15)

    def test_counts_of_a_layer(self):
        adata = cells(["CD3E", "XIST"], [[1, 1], [2, 2]])
        adata.layers["counts"] = sparse.csr_matrix(np.array([[3, 1], [3, 1]], dtype=np.float32))
        assert check_genes(adata, HUMAN, layer="counts").share_of_counts == 0.75

    def test_a_shared_symbol_is_told(self):
        report = check_genes(cells(["CD3E"]), make(["ENSG00000000001", CD3E], ["CD3E", "CD3E"]))
        assert "share a symbol, such as 'CD3E' (1 names). The first was taken" in report.advice[0]

    def test_a_name_of_weights_is_no_vocabulary(self, unchecked):
        with pytest.raises(
            TypeError, match=r"must be a GeneVocabulary\. Got str\. Pass model\.vocabulary, or gm\.read_"
        ):
            check_genes(ad.AnnData(np.ones((1, 1))), "mini")

    def test_nothing_is_written(self):
        adata = cells(["CD3E", "XIST"])
        before = adata.copy()
        check_genes(adata, HUMAN)
        pd.testing.assert_frame_equal(adata.var, before.var)
        np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())
        assert dict(adata.uns) == {}

    def test_a_share_above_one_is_refused(self):
        with pytest.raises(ValueError, match="from 0 to 1; got 50. Pass 0 for no warning"):
            check_genes(cells(["CD3E"]), HUMAN, warn_below=50)


NUMBERS = ["7157", "916", "4267"]
MOUSE = ["Cd3e", "Cd99", "Ensa"]


@pytest.mark.parametrize(
    ("vocabulary", "names", "columns", "message"),
    [
        (HUMAN, NUMBERS, {"gene": ["CD3E", "CD99", "X"]}, "Pass gene_id_key='gene': there 2 of 3 names match"),
        (HUMAN, NUMBERS, {}, "names are numbers .of rows, or Entrez ids."),
        (SYMBOLS, [CD3E, CD99], {"symbol": ["CD3E", "CD99"]}, "Pass gene_id_key='symbol': there 2 of 2"),
        (SYMBOLS, [CD3E, CD99], {}, "holds symbols and no Ensembl ids: name a column of symbols"),
        (make([CD3E]), ["CD3E"], {}, "holds ids without symbols: name a column of Ensembl ids"),
        (HUMAN, MOUSE, {}, "look like mouse or rat genes, the vocabulary holds human genes.*orthologues"),
        (HUMAN, ["ENSMUSG00000032093"], {}, "look like mouse genes, the vocabulary holds human genes"),
        (make(["Cd3e"], ["Cd3e"], "mouse"), ["CD3E", "CD4"], {}, "look like human genes, the vocabulary holds mouse"),
        (HUMAN, ["cd3e", "cd99"], {}, "Upper and lower case count in symbols"),
        (HUMAN, ["ENST00000361763.9"], {}, "transcripts or proteins: add the counts"),
        (HUMAN, ["GRCh38_CD3E", "GRCh38_CD99"], {}, "begin with a genome, such as 'GRCh38_CD3E'"),
        (HUMAN, [f"CD3E_{CD3E}"], {}, "hold an Ensembl id inside a longer text, such as 'CD3E_ENSG00000198851'"),
    ],
    ids=[
        "another column", "numbers", "symbols in a column", "ids against symbols", "symbols against ids",
        "mouse symbols", "mouse ids", "human against mouse", "lower case", "transcripts", "genome prefix",
        "joined names",
    ],
)  # fmt: skip
def test_no_match_is_refused_with_the_way_out(vocabulary, names, columns, message):
    with pytest.raises(ValueError, match=rf"0 of {len(names)} names in var_names are. They look like '.*{message}"):
        check_genes(cells(names, **columns), vocabulary)


def test_the_way_out_can_be_the_var_names():
    adata = cells(["CD3E", "CD99"], other=["a", "b"])
    with pytest.raises(
        ValueError,
        match=r"Pass gene_id_key=None .adata.var_names.: there 2 of 2 names match, in other 0.*"
        r"adata.var\['other'\] = adata.var_names",
    ):
        check_genes(adata, HUMAN, gene_id_key="other")


def test_the_way_out_works():
    adata = cells([CD3E, "ENSG00000999999"], symbol=["CD3E", "XIST"])
    assert match_genes(adata.var, SYMBOLS, gene_id_key="symbol").token_ids.tolist() == [2, 0]
    assert match_genes(adata.var, HUMAN, gene_id_key="symbol").token_ids.tolist() == [2, 0]
    assert match_genes(adata.var, HUMAN).token_ids.tolist() == [2, 0]


def test_chance_matches_with_another_species_are_refused():
    mouse = [f"Gene{i}" for i in range(39)]
    with pytest.raises(ValueError, match="1 of 40 names in var_names are.*mouse or rat genes"):
        check_genes(cells([*mouse, "CD3E"]), HUMAN)


def test_a_better_column_is_advised_when_some_genes_match():
    adata = cells(["CD3E", "T3", "MIC2"], ensembl=[CD3E, ENSA, CD99])
    report = check_genes(adata, HUMAN, warn_below=0)
    assert report.advice[0] == (
        "Pass gene_id_key='ensembl': there 3 of 3 names match, in var_names 1. For the query of a trained model, put "
        "them where it looks: adata.var_names = adata.var['ensembl']."
    )


def test_a_few_ids_among_symbols_do_not_hide_that_the_kinds_differ():
    report = check_genes(cells([CD3E, CD99, ENSA]), make(["CD3E", "CD99", ENSA], ["CD3E", "CD99", ENSA]), warn_below=0)
    assert "The vocabulary holds symbols and 1 Ensembl ids: name a column of symbols" in report.advice[0]


@pytest.fixture(scope="module")
def published(real_data):
    return GeneVocabulary.from_tsv(real_data / "genes" / "published_vocabulary.tsv.gz")


@pytest.fixture(scope="module")
def hgnc(real_data):
    return GeneAliases.from_tsv(real_data / "genes" / "hgnc_protein_coding.tsv.gz")


class TestRealData:
    def test_pbmc3k_symbols(self, real_data, published, hgnc):
        adata = ad.read_h5ad(real_data / "cells" / "pbmc3k.h5ad")
        plain = check_genes(adata, published)
        assert (plain.n_vars, plain.n_matched, plain.id_kind, plain.species) == (13_714, 11_172, "symbol", "human")
        assert plain.share_of_counts == pytest.approx(0.931, abs=5e-4)
        assert check_genes(adata, published, aliases=hgnc).share_of_counts > 0.96

    def test_symbols_and_ids_name_the_same_genes(self, real_data, published, hgnc):
        adata = ad.read_h5ad(real_data / "cells" / "zheng_sorted.h5ad")
        truth = match_genes(adata.var, published, gene_id_key="ensembl").token_ids
        found = match_genes(adata.var, published, aliases=hgnc).token_ids
        counts = np.asarray(adata.X.sum(0)).ravel()
        assert counts[found == truth].sum() / counts.sum() > 0.99

    def test_symbols_against_ids_alone(self, real_data):
        vocabulary = GeneVocabulary.from_tokenizer_json(real_data / "published" / "gene_tokenizer.json")
        adata = ad.read_h5ad(real_data / "cells" / "zheng_sorted.h5ad", backed="r")
        with pytest.raises(ValueError, match="Pass gene_id_key='ensembl': there 13,907 of 16,791 names match"):
            check_genes(adata, vocabulary)


def test_a_query_with_few_of_the_genes_warns():
    genes = tuple(f"ENSG{i:011d}" for i in range(8))
    vocabulary = GeneVocabulary(genes, ("",) * 8, np.ones(8), "human")
    one, two = (match_genes(pd.DataFrame(index=list(genes[:n])), vocabulary) for n in (1, 2))
    message = r"has 1 of the 8 genes of the model \(less than 25%\).*pass all genes instead"
    with pytest.warns(UserWarning, match=message):
        warn_if_few_genes(one, vocabulary)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warn_if_few_genes(two, vocabulary)


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
@pytest.mark.parametrize(
    "read",
    [lambda adata: check_genes(adata, SYMBOLS), GeneVocabulary.from_anndata],
    ids=["check_genes", "a vocabulary"],
)
def test_values_that_no_sample_shows_are_refused(read, value):
    counts = np.ones((2400, 3), dtype=np.float32)
    row = int(np.setdiff1d(np.arange(2400), _spread_rows(2400))[0])
    counts[row, 2] = value
    adata = cells(["CD3E", "CD99", "ENSA"], counts)
    with pytest.raises(ValueError, match=rf"finite and not negative; row {row} has {value} in column 2"):
        read(adata)
