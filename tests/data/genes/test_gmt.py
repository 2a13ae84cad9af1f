"""Gene set files and regulons as they come: gzipped, with empty fields, repeats and lines that are none."""

import gzip

import numpy as np
import pytest

from genemamba_sc import GeneAliases, GeneVocabulary, read_regulon_pairs
from genemamba_sc.data.genes._gmt import read_gmt

VOCABULARY = GeneVocabulary(
    tuple(f"ENSG{i:011d}" for i in range(1, 6)), ("MYC", "TERT", "SPI1", "JUN", ""), np.ones(5), "human"
)


def test_names_and_genes_in_the_order_of_the_file(tmp_path):
    file = tmp_path / "sets.gmt"
    file.write_text(
        "\ufeffFirst\thttps://a.b/c\tMYC\tTERT\tMYC\t\n\nSecond pathway\t\tSPI1,1.0\tJUN,0.5\r\n  \nNone\tR-HSA-1\n",
        encoding="utf-8",
    )

    assert read_gmt(file) == {"First": ["MYC", "TERT"], "Second pathway": ["SPI1", "JUN"], "None": []}


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (read_gmt, "text file"),
        (GeneVocabulary.from_tsv, "table of genes"),
        (GeneAliases.from_tsv, "table of aliases"),
        (lambda path: read_regulon_pairs(path, VOCABULARY), "text file"),
    ],
)
def test_a_file_that_is_not_there_is_told_as_such(tmp_path, read, kind):
    with pytest.raises(FileNotFoundError, match=rf"A {kind} is wanted\. '.*none\.tsv' is not a file\. Give the path"):
        read(tmp_path / "none.tsv")
    with pytest.raises(FileNotFoundError, match=rf"A {kind} is wanted\. '.*' is a folder\. Give the path of one"):
        read(tmp_path)


def test_lines_of_one_name_are_one_set(tmp_path):
    file = tmp_path / "sets.gmt"
    file.write_text("A\tx\tMYC\tJUN\nB\tx\tMYC\nA\ty\tJUN\tSPI1\n", encoding="utf-8")

    assert read_gmt(file) == {"A": ["MYC", "JUN", "SPI1"], "B": ["MYC"]}


def test_a_gzipped_file_is_read_whatever_its_name(tmp_path):
    file = tmp_path / "sets.gmt"
    file.write_bytes(gzip.compress(b"A\tx\tMYC\n"))

    assert read_gmt(file) == {"A": ["MYC"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\tx\tMYC\nMYC TERT SPI1\n", r"separated by tabs; line 2 of '.*sets\.gmt' reads 'MYC TERT SPI1'\. Pass a"),
        ("\tx\tMYC\n", r"line 1 of '.*' reads 'x\\tMYC'"),
        ("", r"has at least one set; '.*sets\.gmt' has none"),
        ("\n \n", r"has at least one set; '.*sets\.gmt' has none"),
    ],
    ids=["no tab", "no name", "empty", "blank lines"],
)
def test_what_is_no_set_is_refused_by_line(text, message, tmp_path):
    file = tmp_path / "sets.gmt"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=message):
        read_gmt(file)


@pytest.mark.parametrize("content", [b"A\tx\t\xff\n", gzip.compress(b"A\tx\tMYC\n", mtime=0)[:-9], b"\x1f\x8b\x00"])
def test_a_damaged_file_is_named(content, tmp_path):
    file = tmp_path / "sets.gmt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"sets\.gmt' is no text file that can be read .*Copy it again"):
        read_gmt(file)


def test_pairs_from_a_table_with_tabs_and_without_header(tmp_path):
    file = tmp_path / "trrust.tsv"
    file.write_text(
        "SPI1\tJUN\tActivation\t1;2\nMYC\tTERT\tActivation\t3\nMYC\tTERT\tRepression\t4\nMYC\tMYC\tUnknown\t5\n"
        "MYC\tNOT1\tUnknown\t6\nNFKB\tMYC\tUnknown\t7\n",
        encoding="utf-8",
    )

    assert read_regulon_pairs(file, VOCABULARY).tolist() == [[2, 3], [4, 5]]


def test_pairs_from_a_gzipped_table_with_commas_quotes_and_header(tmp_path):
    file = tmp_path / "collectri.csv.gz"
    file.write_bytes(gzip.compress(b'"source","target","weight"\n"MYC","TERT",1\n\n"JUN","ENSG00000000005.7",-1\n'))

    assert read_regulon_pairs(file, VOCABULARY).tolist() == [[2, 3], [5, 6]]


def test_pairs_by_older_symbols(tmp_path):
    table = tmp_path / "hgnc.tsv"
    table.write_text(
        "symbol\tensembl_gene_id\talias_symbol\tprev_symbol\nMYC\tENSG00000000001\tc-Myc\t\n", encoding="utf-8"
    )
    file = tmp_path / "pairs.tsv"
    file.write_text("c-Myc\tTERT\n", encoding="utf-8")

    with pytest.raises(ValueError, match="none of the 1 rows"):
        read_regulon_pairs(file, VOCABULARY)
    assert read_regulon_pairs(file, VOCABULARY, aliases=GeneAliases.from_tsv(table)).tolist() == [[2, 3]]

    file.write_text("c-Myc\tTERT\nMYC\tJUN\nMYC\tc-Myc\n", encoding="utf-8")
    assert read_regulon_pairs(file, VOCABULARY, aliases=GeneAliases.from_tsv(table)).tolist() == [[2, 3], [2, 5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Myc\tTert\n",
            r"none of the 1 rows of '.*' has them, the first is \('Myc', 'Tert'\).* are human, such as",
        ),
        ("MYC\n", r"row 1 of '.*pairs' has \['MYC'\]\. Pass a table with these two columns first"),
        ("", "none of the 0 rows of '.*pairs' has them, the first is missing"),
    ],
    ids=["another species", "one column", "empty"],
)
def test_tables_without_pairs_are_refused(text, message, tmp_path):
    file = tmp_path / "pairs"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match=message):
        read_regulon_pairs(file, VOCABULARY)


def test_real_regulons_are_mapped(real_data):
    genes = real_data / "genes"
    vocabulary = GeneVocabulary.from_tsv(genes / "published_vocabulary.tsv.gz")

    trrust = read_regulon_pairs(genes / "trrust_human.tsv", vocabulary)
    collectri = read_regulon_pairs(genes / "collectri_human.csv.gz", vocabulary)

    assert len(trrust) > 8000
    assert len(collectri) > 40_000
    pair = [vocabulary.token_of("SPI1"), vocabulary.token_of("BGLAP")]
    assert (collectri == pair).all(axis=1).sum() == 1
