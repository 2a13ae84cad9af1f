"""Gene names: what they are, and which token they match."""

import numpy as np
import pandas as pd
import pytest

from genemamba_sc.data.genes._gene_ids import GeneAliases, GeneRecord, match_genes
from genemamba_sc.data.genes._gene_names import guess_species, strip_version
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


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "hgnc.tsv"
    path.write_text(
        "symbol\tensembl_gene_id\talias_symbol\tprev_symbol\n"
        f"CD3E\t{CD3E}\tT3E|SHARED|BOTH\tOLD3E\n"
        f"CD99\t{CD99}\tSHARED|ENSA\tMIC2|BOTH\n"
        f"ENSA\t{ENSA}\tALPHA\tWAS|OLD1\n"
        "OTHER\t\tONCE\tWAS\n"
    )
    return GeneAliases.from_tsv(path)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("ENSG00000141510", "ENSG00000141510"),
            ("ENSG00000141510.17", "ENSG00000141510"),
            ("ENSMUSG00000059552.14", "ENSMUSG00000059552"),
            ("ENSDARG00000035559", "ENSDARG00000035559"),
            ("ENSG00000182378.15_PAR_Y", "ENSG00000182378"),
            ("ENSGR0000182378.2", "ENSGR0000182378"),
            ("ENSA", None),
            ("ENST00000269305", None),
            ("ENSP00000269305.4", None),
            ("ENSG0000014151", None),
            ("xENSG00000141510", None),
            ("RP11-206L10.2", None),
            ("", None),
        ],
    )
    def test_strip_version(self, name, expected):
        assert strip_version(name) == expected

    @pytest.mark.parametrize(
        ("names", "species"),
        [
            (["ENSMUSG00000059552", "ENSMUSG00000059553.1", "Cd3e"], "mouse"),
            (["ENSRNOG00000010756"], "rat"),
            (["ENSDARG00000035559"], "zebrafish"),
            (["ENSXYZG00000035559"], "species of ENSXYZG"),
            (["CD3E", "C1orf112", "HLA-DRB1", "RP11-206L10.2"], "human"),
            (["Cd3e", "Gm10036", "H2-Aa", "1700001C02Rik", "Xist"], "mouse or rat"),
            (["cd3e", "nkx2.5"], "unknown"),
            (["0", "1"], "unknown"),
            ([], "unknown"),
        ],
        ids=["mouse ids", "rat", "zebrafish", "rare", "human", "mouse symbols", "lower case", "numbers", "none"],
    )
    def test_species(self, names, species):
        assert guess_species(names) == species


class TestMatch:
    @pytest.mark.parametrize(
        ("names", "tokens", "kind", "rules"),
        [
            ([CD3E, "ENSG00000999999"], [2, 0], "ensembl", {"id": 1}),
            ([CD3E + ".15", CD99 + ".20"], [2, 4], "ensembl_versioned", {"id without version": 2}),
            (["CD99", "CD3E", "XYZ"], [4, 2, 0], "symbol", {"symbol": 2}),
            (["ENSA", "CD3E"], [3, 2], "symbol", {"symbol": 2}),
            ([ENSA, "CD3E"], [3, 2], "mixed", {"id": 1, "symbol": 1}),
            (["Cd3e", "cd3e", "cd99"], [0, 0, 0], "symbol", {}),
            ([CD99_Y + ".1", CD99 + ".9_PAR_Y"], [5, 4], "ensembl_versioned", {"id without version": 2}),
        ],
        ids=["ids", "versions", "symbols", "ENSA is a symbol", "mixed", "case is kept", "PAR genes"],
    )
    def test_by_the_vocabulary(self, names, tokens, kind, rules):
        match = match_genes(var(names), HUMAN)
        np.testing.assert_array_equal(match.token_ids, np.array(tokens, dtype=np.int32))
        assert match.token_ids.dtype == np.int32
        assert (match.id_kind, match.matched_by, match.source) == (kind, rules, "var_names")
        assert match.unmatched == tuple(name for name, token in zip(names, tokens) if not token)
        assert (match.n_vars, match.n_matched) == (len(names), len(names) - len(match.unmatched))

    def test_a_par_gene_on_y_falls_back_to_its_gene(self):
        assert match_genes(var([CD99_Y]), make([CD99])).token_ids.tolist() == [2]

    @pytest.mark.parametrize(
        "column",
        [["CD3E", None, "ENSA"], pd.Categorical(["CD3E", None, "ENSA"]), [b"CD3E", np.nan, " ENSA "]],
        ids=["text", "categories", "bytes and spaces"],
    )
    def test_by_a_column(self, column):
        match = match_genes(var(["0", "1", "2"], symbol=column), HUMAN, gene_id_key="symbol")
        assert match.token_ids.tolist() == [2, 0, 3]
        assert match.source == "symbol"

    def test_names_that_are_no_text(self):
        assert match_genes(pd.DataFrame(index=[0, 1]), HUMAN).unmatched == ("0", "1")

    def test_a_missing_column_names_those_there_are(self):
        with pytest.raises(ValueError, match="got 'ensembl', the columns are: 'gene', 'n'. Pass one of these"):
            match_genes(var(["CD3E"], gene=["a"], n=[1]), HUMAN, gene_id_key="ensembl")

    def test_columns_of_one_gene_are_reported(self):
        match = match_genes(var(["CD3E", "CD99", CD3E + ".2", "CD3E"]), HUMAN)
        assert match.token_ids.tolist() == [2, 4, 2, 2]
        assert match.duplicates == {CD3E: ("CD3E", CD3E + ".2", "CD3E")}

    def test_order_of_columns_does_not_matter(self, table):
        names = ["MIC2", "CD99", "T3E", "ENSA", "nothing"]
        there, back = (match_genes(var(n), HUMAN, aliases=table).token_ids for n in (names, names[::-1]))
        np.testing.assert_array_equal(there, back[::-1])
        assert there.tolist() == [0, 4, 2, 3, 0]

    def test_a_shared_symbol_takes_the_first_gene_unless_a_table_settles_it(self, table):
        vocabulary = make(["ENSG00000000001", CD3E], ["CD3E", "CD3E"])
        plain = match_genes(var(["CD3E"]), vocabulary)
        assert (plain.token_ids.tolist(), plain.guessed) == ([2], ("CD3E",))
        settled = match_genes(var(["CD3E"]), vocabulary, aliases=table)
        assert (settled.token_ids.tolist(), settled.guessed) == ([3], ())


class TestAliases:
    def test_approved_before_previous_before_alias(self, table):
        assert table.resolve("ENSA") == GeneRecord("ENSA", ENSA, "approved")  # also an alias of CD99
        assert table.resolve("BOTH") == GeneRecord("CD99", CD99, "previous")  # also an alias of CD3E
        assert table.resolve("T3E") == GeneRecord("CD3E", CD3E, "alias")
        assert table.resolve(CD3E + ".3") == GeneRecord("CD3E", CD3E, "approved")
        assert table.resolve("t3e") is None

    def test_names_of_several_genes_are_never_used(self, table):
        assert table.ambiguous == ("SHARED", "WAS")
        assert table.resolve("SHARED") is None
        assert table.resolve("WAS") is None
        assert len(table) == 11

    def test_other_column_names(self, tmp_path):
        path = tmp_path / "mouse.tsv"
        path.write_text("name\tid\tsyn\told\nCd3e\tENSMUSG00000032093\tCD3;T3e\t\n")
        read = GeneAliases.from_tsv(path, symbol="name", ensembl_id="id", alias="syn", previous="old", separator=";")
        assert read.resolve("T3e") == GeneRecord("Cd3e", "ENSMUSG00000032093", "alias")

    def test_a_missing_column_is_refused(self, tmp_path):
        path = tmp_path / "mouse.tsv"
        path.write_text("symbol\tid\talias_symbol\tprev_symbol\n")
        with pytest.raises(ValueError, match=r"lacks \['ensembl_gene_id'\], it has .*Name its columns"):
            GeneAliases.from_tsv(path)

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"symbol\tid\nA\tB\nA\tB\tC\n"])
    def test_a_damaged_table_is_named(self, tmp_path, content):
        path = tmp_path / "mouse.tsv"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"mouse\.tsv' is no table of aliases that can be read"):
            GeneAliases.from_tsv(path)

    @pytest.mark.parametrize(
        ("names", "tokens", "kind"),
        [
            (["OLD3E", "MIC2", "OLD1"], [2, 4, 3], "alias"),
            (["T3E", "ALPHA", "CD99"], [2, 3, 4], "alias"),
            (["T3E", "CD3E"], [0, 2], "symbol"),
            (["OLD3E", CD3E], [0, 2], "mixed"),
            (["T3E", "OLD3E"], [0, 2], "alias"),
            (["SHARED", "ONCE"], [0, 0], "symbol"),
        ],
        ids=["previous", "aliases", "symbol wins", "id wins", "previous wins", "ambiguous or no token"],
    )
    def test_fill_gaps_only(self, table, names, tokens, kind):
        match = match_genes(var(names), HUMAN, aliases=table)
        assert match.token_ids.tolist() == tokens
        assert match.id_kind == kind

    def test_symbols_match_a_vocabulary_of_ids(self, table):
        assert match_genes(var(["CD3E", "MIC2"]), make([CD99, CD3E]), aliases=table).token_ids.tolist() == [3, 2]

    def test_ids_match_a_vocabulary_of_symbols(self, table):
        assert match_genes(var([CD3E, CD99 + ".1"]), SYMBOLS, aliases=table).token_ids.tolist() == [2, 3]


# ------------------------------------------------------------- names without identity, names as R writes them


@pytest.mark.parametrize("first", [0, 1])
def test_row_numbers_are_no_names(first: int):
    var = pd.DataFrame(
        {"symbol": ["A", "B", "C", "D"], "n_cells": [1, 2, 3, 4], "chromosome": ["1", "1", "1", "2"]},
        index=[str(i) for i in range(first, first + 4)],
    )
    vocabulary = GeneVocabulary(("A", "B", "C", "D"), ("",) * 4, np.ones(4), "unknown")
    message = rf"only the numbers of the rows \({first} to {first + 3}\).*gene_id_key=.*hold text: 'symbol'\."
    with pytest.raises(ValueError, match=message):
        match_genes(var, vocabulary)
    assert match_genes(var, vocabulary, gene_id_key="symbol").token_ids.tolist() == [2, 3, 4, 5]


def test_numbers_that_are_not_those_of_the_rows_may_be_names():
    vocabulary = GeneVocabulary(("920", "930", "940"), ("",) * 3, np.ones(3), "unknown")
    assert match_genes(pd.DataFrame(index=["930", "920", "940"]), vocabulary).token_ids.tolist() == [3, 2, 4]


def test_symbols_as_r_writes_them_are_known():
    symbols = ("HLA-A", "NKX2-1", "7SK", "HLA-B", "A-1", "A_1", "A.1")
    ids = tuple(f"ENSG{i:011d}" for i in range(7))
    vocabulary = GeneVocabulary(ids, symbols, np.ones(7), "human")
    names = ["HLA.A", "NKX2.1", "X7SK", "HLA-B", "HLA.B", "A.1", "B.1", "XIST"]
    match = match_genes(pd.DataFrame(index=names), vocabulary)
    # HLA-B is there by its own name already; A.1 is a symbol itself.
    assert match.token_ids.tolist() == [2, 3, 4, 5, 0, 8, 0, 0]
    assert match.matched_by == {"symbol as R writes it": 3, "symbol": 2}


def test_two_columns_of_one_name_are_refused():
    var = pd.DataFrame([["A", "B"], ["C", "D"]], columns=["symbol", "symbol"], index=["ENSG1", "ENSG2"])
    vocabulary = GeneVocabulary(("A", "C"), ("",) * 2, np.ones(2), "unknown")
    with pytest.raises(ValueError, match=r"'symbol' must name one column of adata.var; it has 2"):
        match_genes(var, vocabulary, gene_id_key="symbol")


def test_a_reference_that_r_wrote_knows_the_symbols():
    symbols = ("HLA.A", "X7SK", "B.1", "C.1", "GAPDH", "D.1")
    vocabulary = GeneVocabulary(symbols, ("",) * 6, np.ones(6), "human")
    names = ["HLA-A", "7SK", "B-1", "B/1", "C-1", "C.1", "GAPDH", "D_1", "D-1"]
    match = match_genes(pd.DataFrame(index=names), vocabulary)
    # Two names would be B.1, and C.1 is there itself.
    assert match.token_ids.tolist() == [2, 3, 0, 0, 0, 5, 6, 0, 7]
    assert match.matched_by == {"symbol as R writes it": 3, "id": 2}


def test_a_spelling_of_r_that_two_symbols_share_names_neither():
    vocabulary = GeneVocabulary(("ENSG00000000001", "ENSG00000000002"), ("A-1", "A/1"), np.ones(2), "human")
    assert match_genes(pd.DataFrame(index=["A.1", "B"]), vocabulary).token_ids.tolist() == [0, 0]
