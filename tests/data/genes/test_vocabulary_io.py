"""Vocabularies in files: tables, dictionaries, tokenizer JSON."""

import gzip
import json
import os
import warnings

import numpy as np
import pytest

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


def tokenizer_file(path, vocab, **more):
    path.write_text(json.dumps({"model": {"type": "WordLevel", "vocab": vocab}, **more}))
    return path


class TestTables:
    @pytest.mark.parametrize("name", ["genes.tsv", "genes.tsv.gz"])
    def test_round_trip(self, tmp_path, name):
        v = vocabulary(species="mouse or rat", medians=np.array([1 / 3, 0.1, 4.0]))
        v.to_tsv(tmp_path / name)
        again = GeneVocabulary.from_tsv(tmp_path / name)
        assert again == v
        assert (again.symbols, again.species) == (v.symbols, "mouse or rat")
        assert os.listdir(tmp_path) == [name]

    def test_every_digit_of_a_median_comes_back_and_pandas_deprecates_nothing(self, tmp_path):
        medians = np.random.default_rng(0).lognormal(size=500)
        ids = tuple(f"ENSG{i:011d}" for i in range(500))
        v = vocabulary(gene_ids=ids, symbols=("",) * 500, medians=medians)
        v.to_tsv(tmp_path / "genes.tsv")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = GeneVocabulary.from_tsv(tmp_path / "genes.tsv")
        assert again.medians.tolist() == medians.tolist()

    def test_what_is_written(self, tmp_path):
        vocabulary().to_tsv(tmp_path / "genes.tsv.gz")
        assert gzip.decompress((tmp_path / "genes.tsv.gz").read_bytes()).decode().splitlines() == [
            f"# species=human fingerprint={vocabulary().fingerprint}",
            "token_id\tensembl_id\tsymbol\tnonzero_median",
            "2\tENSG00000000003\tTSPAN6\t2.0",
            "3\tENSG00000000005\t\t0.1",
            "4\tENSG00000198851\tCD3E\t4.0",
        ]

    def test_a_failed_write_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "genes.tsv"
        path.write_text("old")
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            vocabulary().to_tsv(path)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["genes.tsv"]

    def test_a_table_without_header_line(self, tmp_path):
        path = tmp_path / "genes.tsv"
        path.write_text(
            "ensembl_id\tsymbol\tnonzero_median\ttoken_id\nENSMUSG00000000001\tNA\t2.5\t3\nENSMUSG00000000002\t\t1\t2\n"
        )
        v = GeneVocabulary.from_tsv(path)
        assert v.gene_ids == ("ENSMUSG00000000002", "ENSMUSG00000000001")
        assert v.symbols == ("", "NA")
        assert v.species == "mouse"
        np.testing.assert_array_equal(v.medians, [1.0, 2.5])

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("\tsymbol\t", "\tname\t", r"needs the columns .* lacks \['symbol'\]"),
            ("4\tENSG", "5\tENSG", "2, 3, ... without gap or repeat; .* has 5 in place of 4"),
            ("\t2.0", "\t2.5", "those of the stored fingerprint; .*genes.tsv says"),
            ("\t2.0", "\ttwo", r"genes\.tsv' is no table of genes .*'two'.*Copy it again, or correct it"),
            ("\t2.0", "\t2.0\tfurther", r"genes\.tsv' is no table of genes that can be read"),
            ("\n3\t", "\nthree\t", r"genes\.tsv' is no table of genes that can be read \("),
            ("\t2.0", "\t-2.0", r"genes\.tsv: A non-zero median is a positive number"),
            (IDS[1], IDS[0], r"genes\.tsv: Gene ids are unique"),
        ],
        ids=["column", "gap", "changed", "no number", "a field more", "no token", "negative", "repeated"],
    )
    def test_refused(self, tmp_path, old, new, message):
        path = tmp_path / "genes.tsv"
        vocabulary().to_tsv(path)
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(ValueError, match=message):
            GeneVocabulary.from_tsv(path)

    @pytest.mark.parametrize("name", ["genes.tsv", "genes.tsv.gz"])
    @pytest.mark.parametrize("content", [b"\xff\xfe", gzip.compress(b"token_id\n" * 99, mtime=0)[:-9], b""])
    def test_what_is_no_text_is_refused_by_name(self, tmp_path, name, content):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"genes\.tsv.* (is no table of genes|lacks)"):
            GeneVocabulary.from_tsv(path)


class TestDict:
    def test_round_trip_through_json(self):
        v = vocabulary(medians=np.array([1 / 3, 0.1, 4.0]))
        again = GeneVocabulary.from_dict(json.loads(json.dumps(v.to_dict())))
        assert (again, again.symbols, again.species) == (v, v.symbols, v.species)

    def test_a_changed_dict_is_refused(self):
        state = vocabulary().to_dict()
        state["medians"][1] = 7.0
        with pytest.raises(ValueError, match="the stored vocabulary says"):
            GeneVocabulary.from_dict(state)

    def test_a_cut_dict_is_refused(self):
        with pytest.raises(ValueError, match=r"\['medians', 'species'\] are missing"):
            GeneVocabulary.from_dict({"gene_ids": ["A"], "symbols": [""]})


class TestTokenizerJson:
    GOOD = {"[UNK]": 0, "[PAD]": 1, "ENSG00000000003": 2, "ENSG00000000005": 3}

    def test_genes_in_the_order_of_their_ids(self, tmp_path):
        path = tokenizer_file(tmp_path / "t.json", dict(reversed(self.GOOD.items())))
        v = GeneVocabulary.from_tokenizer_json(path)
        assert v.gene_ids == ("ENSG00000000003", "ENSG00000000005")
        assert (v.symbols, v.species) == (("", ""), "human")
        np.testing.assert_array_equal(v.medians, [1.0, 1.0])

    def test_medians_and_symbols_from_a_table(self, tmp_path):
        table = tmp_path / "medians.tsv"
        table.write_text(
            "ensembl_id\tnonzero_median\tsymbol\nENSG00000000005\t3.5\tTNMD\nX\t1\tX\nENSG00000000003\t2\tTSPAN6\n"
        )
        v = GeneVocabulary.from_tokenizer_json(tokenizer_file(tmp_path / "t.json", self.GOOD), medians=table)
        assert v.symbols == ("TSPAN6", "TNMD")
        np.testing.assert_array_equal(v.medians, [2.0, 3.5])

    def test_special_tokens_behind_the_genes_are_no_genes(self, tmp_path):
        added = [{"id": 4, "content": "[CLS]", "special": True}]
        path = tokenizer_file(tmp_path / "t.json", self.GOOD, added_tokens=added)
        v = GeneVocabulary.from_tokenizer_json(path)
        assert (v.n_genes, v.cls_id) == (2, 4)

    @pytest.mark.parametrize(
        ("vocab", "message"),
        [
            ({"[UNK]": 1, "[PAD]": 0, "A": 2}, r"\[UNK\] must have id 0; .* it has 1"),
            ({"[UNK]": 0, "<pad>": 1, "A": 2}, r"\[PAD\] must have id 1; .* it has None"),
            ({"[UNK]": 0, "[PAD]": 1, "A": 3}, "without gap or repeat; .* 'A' has 3 in place of 2"),
            ({"[UNK]": 0, "[PAD]": 1, "A": 2, "B": 2}, "'B' has 2 in place of 3"),
            ({"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "A": 3}, r"come after all genes.*\[2\] of 4"),
            (["A"], "no such map"),
            ({"[UNK]": 0, "[PAD]": 1, "A": "2"}, r"t\.json must have a whole number .* as model\.vocab\.A\. Got '2'"),
            ({"[UNK]": 0, "[PAD]": 1, "": 2}, r"t\.json: A gene id is a name"),
        ],
        ids=["swapped", "no pad", "gap", "repeat", "cls before genes", "no vocabulary", "text", "no name"],
    )
    def test_refused(self, tmp_path, vocab, message):
        with pytest.raises(ValueError, match=message):
            GeneVocabulary.from_tokenizer_json(tokenizer_file(tmp_path / "t.json", vocab))

    @pytest.mark.parametrize("added", [5, [5], [{"content": "[CLS]", "id": "4"}], [{"id": 4}]])
    def test_wrong_further_tokens_are_refused_by_field(self, tmp_path, added):
        path = tokenizer_file(tmp_path / "t.json", self.GOOD, added_tokens=added)
        with pytest.raises(ValueError, match=r"t\.json (must h|lacks).*added_tokens"):
            GeneVocabulary.from_tokenizer_json(path)

    def test_a_tokenizer_that_is_no_json_is_named(self, tmp_path):
        (tmp_path / "t.json").write_text("{")
        with pytest.raises(ValueError, match=r"t\.json is not readable JSON .*Copy it again"):
            GeneVocabulary.from_tokenizer_json(tmp_path / "t.json")

    def test_a_gene_without_median_is_refused(self, tmp_path):
        table = tmp_path / "medians.tsv"
        table.write_text("ensembl_id\tnonzero_median\nENSG00000000003\t2\n")
        path = tokenizer_file(tmp_path / "t.json", self.GOOD)
        with pytest.raises(ValueError, match="lacks 1 of 2, such as .'ENSG00000000005'"):
            GeneVocabulary.from_tokenizer_json(path, medians=table)


def test_the_published_vocabulary(real_data, tmp_path):
    table = real_data / "genes" / "published_vocabulary.tsv.gz"
    v = GeneVocabulary.from_tokenizer_json(real_data / "published" / "gene_tokenizer.json", medians=table)
    assert (v.n_genes, v.size, v.cls_id, v.mask_id, v.species) == (25_424, 25_428, 25_426, 25_427, "human")
    assert v.token_of("TSPAN6") == 2
    assert v.token_of("ENSGR0000002586") == 25_407
    assert GeneVocabulary.from_tsv(table) == v
    v.to_tsv(tmp_path / "again.tsv.gz")
    assert GeneVocabulary.from_tsv(tmp_path / "again.tsv.gz") == v
