"""Columns that are no gene expression: known by what the file says of them, or by their names; left out of all sums."""

import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba_sc import GeneMambaModel, GeneVocabulary, check_genes
from genemamba_sc.data import match_genes, open_matrix, query_source
from genemamba_sc.data.cells._feature_types import other_features

GENES = [f"ENSG{i:011d}" for i in range(3)]
COUNTS = np.array([[1, 2, 3, 500, 900], [4, 0, 1, 700, 800]], dtype=np.float32)
VOCABULARY = GeneVocabulary(tuple(GENES), ("CD19", "CD3E", "ACTB"), np.ones(3), "human")


def cells(kinds: list[str] | None, names: list[str] | None = None) -> AnnData:
    var = pd.DataFrame(index=names or [*GENES, "CD19", "CD3"])
    if kinds is not None:
        var["feature_types"] = kinds
    return AnnData(sparse.csr_matrix(COUNTS), obs=pd.DataFrame(index=["a", "b"]), var=var)


CITE = ["Gene Expression"] * 3 + ["Antibody Capture"] * 2


def test_an_antibody_named_like_a_gene_adds_nothing_to_it():
    with pytest.warns(UserWarning, match=r"2 of 5 columns are not gene expression \(2 Antibody Capture\)"):
        with_antibodies = query_source(cells(CITE), VOCABULARY, 8, {}).tokens(np.arange(2))
    genes_alone = query_source(cells(None)[:, :3].copy(), VOCABULARY, 8, {}).tokens(np.arange(2))
    assert with_antibodies.ids.tolist() == genes_alone.ids.tolist() == [[4, 3, 2], [2, 4, 1]]
    assert np.array_equal(with_antibodies.values, genes_alone.values)


def test_a_vocabulary_has_no_antibodies():
    with pytest.warns(UserWarning, match="2 Antibody Capture"):
        vocabulary = GeneVocabulary.from_anndata(cells(CITE))
    assert vocabulary.gene_ids == tuple(GENES)


def test_the_report_on_genes_says_what_was_left_out():
    with pytest.warns(UserWarning, match="2 Antibody Capture"):
        report = check_genes(cells(CITE), VOCABULARY)
    assert report.left_out == {"Antibody Capture": 2}
    assert report.share_of_counts == 1.0
    assert "No gene expression   2 Antibody Capture: left out" in str(report).splitlines()


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(None, id="no such column"),
        pytest.param(["Gene Expression"] * 5, id="genes only"),
        pytest.param(["highly variable"] * 5, id="a column of that name with another meaning"),
    ],
)
def test_without_other_features_nothing_is_left_out(kinds: list[str] | None):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert open_matrix(cells(kinds), None).left_out == {}


def test_controls_spike_ins_and_peaks_are_known_by_their_names():
    names = [
        "CD19",
        "NegControlProbe_00042",
        "BLANK_0006",
        "ERCC-00002",
        "chr1:10109-10357",
        "Blank-3",
        "AC1.5",
        "NEGR1",
    ]
    other, counts = other_features(pd.DataFrame(index=names))
    assert other.tolist() == [False, True, True, True, True, True, False, False]
    assert counts == {"control probes, spike-ins or peaks": 5}


def test_spike_ins_are_known_among_what_the_file_calls_genes():
    kinds = ["Gene Expression", "Gene Expression", "Antibody Capture", "nan"]
    var = pd.DataFrame({"feature_types": kinds}, index=["CD19", "ERCC-00002", "CD3", "Blank-3"])
    other, counts = other_features(var)
    assert other.tolist() == [False, True, True, True]
    assert counts == {"Antibody Capture": 1, "control probes, spike-ins or peaks": 2}


def test_an_antibody_is_no_gene_that_matches():
    adata = cells(CITE, ["X", "Y", "Z", "CD19", "CD3"])
    match = match_genes(adata.var, VOCABULARY)
    assert match.token_ids.tolist() == [0] * 5
    assert (match.n_vars, match.n_matched, match.matched_by, match.unmatched) == (3, 0, {}, ("X", "Y", "Z"))
    reading = [
        lambda: check_genes(adata, VOCABULARY),
        lambda: query_source(adata, VOCABULARY, 8, {}),
        lambda: GeneMambaModel.setup_anndata(adata, vocabulary=VOCABULARY),
    ]
    for read in reading:
        with (
            pytest.warns(UserWarning, match="2 Antibody Capture"),
            pytest.raises(ValueError, match="0 of 3 names in var_names are"),
        ):
            read()


def test_the_report_counts_genes_alone():
    adata = cells(["Antibody Capture", "Gene Expression", "Gene Expression", "Gene Expression", "nan"])
    adata.var_names = ["CD3", *GENES[1:], "NEAT1", "MALAT1"]
    with pytest.warns(UserWarning, match="1 Antibody Capture"):
        report = check_genes(adata, VOCABULARY, warn_below=0)
    assert (report.n_vars, report.n_matched, report.matched_by) == (4, 2, {"id": 2})
    assert report.examples == ("MALAT1", "NEAT1")


def test_a_file_of_antibodies_alone_is_refused():
    with pytest.raises(
        ValueError, match=r"feature_types of adata\.var tells of none \(5 Antibody Capture\).*gex_only=True"
    ):
        GeneVocabulary.from_anndata(cells(["Antibody Capture"] * 5))


def test_kinds_in_two_columns_of_one_name_are_refused():
    adata = cells(CITE)
    adata.var = pd.concat([adata.var, adata.var], axis=1)
    with pytest.raises(ValueError, match=r"'feature_types' must name one column of adata.var; it has 2 of that name"):
        other_features(adata.var)
