"""Which cells were in a pretraining corpus: found where they are, and nothing claimed where nothing is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch
from anndata import AnnData

from genemamba_sc import (
    ContaminationReport,
    EncoderConfig,
    GeneMambaModel,
    GeneVocabulary,
    Pretrained,
    check_contamination,
    write_pretrained,
)
from genemamba_sc.checks._contamination import _subject, chance_of_near
from genemamba_sc.data import query_source
from genemamba_sc.data.tokens._cell_hashes import CellHashes
from genemamba_sc.nn import BiMambaEncoder

Cells = Callable[..., AnnData]
N_GENES, MAX_LEN = 400, 100


def numbers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


@pytest.fixture(scope="module")
def corpus(make_cells: Cells) -> AnnData:
    """A hundred cells of two sets; genes enough for 64 of them to tell cells apart."""
    parts = [make_cells(60, N_GENES), make_cells(40, N_GENES, seed=1)]
    return anndata.concat(parts, merge="same", keys=["a", "b"], index_unique="-")


@pytest.fixture(scope="module")
def weights(corpus: AnnData) -> Pretrained:
    """Weights of a model that reads 10 tokens; the hashes are of 100."""
    vocabulary = GeneVocabulary.from_anndata(corpus)
    config = EncoderConfig(vocab_size=vocabulary.size, d_model=8, headdim=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = dict(BiMambaEncoder(config).state_dict())
    tokens = query_source(corpus, vocabulary, MAX_LEN, {}).tokens(np.arange(corpus.n_obs))
    cells = CellHashes.from_tokens(tokens, MAX_LEN, np.repeat([0, 1], [60, 40]), ("one", "two"))
    return Pretrained(config, encoder, {}, vocabulary, 10, {}, [], "mini", cells)


@pytest.fixture(scope="module")
def folder(weights: Pretrained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "mini"
    write_pretrained(folder, weights)
    return folder


def test_cells_of_the_corpus_are_found_among_others(weights: Pretrained, corpus: AnnData, make_cells: Cells):
    query = anndata.concat([make_cells(20, N_GENES, seed=5), corpus[50:70]], merge="same")[:, ::-1].copy()
    report = check_contamination(query, weights)
    there = np.repeat([False, True], 20)
    assert (report.n_cells, report.n_corpus, report.origin) == (40, 100, "mini")
    assert report.exact.tolist() == report.near.tolist() == there.tolist()
    assert (report.exact_share, report.near_share) == (0.5, 0.5)
    assert report.source.tolist() == [-1] * 20 + [0] * 10 + [1] * 10
    assert report.sets == {"one": 10, "two": 10}
    frame = report.to_frame(query.obs_names)
    assert frame.columns.tolist() == ["exact", "near", "source"]
    assert frame.index.equals(query.obs_names)
    assert frame["exact"].tolist() == there.tolist()
    assert frame["source"].tolist() == [None] * 20 + ["one"] * 10 + ["two"] * 10


def test_a_cell_in_another_order_is_near_and_one_without_genes_is_neither(weights: Pretrained, corpus: AnnData):
    query = corpus[:3].copy()
    query.X = query.X.toarray()
    first = query.X[0].argmax()
    query.X[0, first] = 500  # the same genes; others first
    query.X[2] = 0
    report = check_contamination(query, weights)
    assert report.exact.tolist() == [False, True, False]
    assert report.near.tolist() == [True, True, False]
    assert report.empty.tolist() == [False, False, True]
    assert "without a known gene         1  nothing can be said of them" in str(report)


def test_model_folder_and_weights_say_the_same(weights: Pretrained, folder: Path, corpus: AnnData, tmp_path: Path):
    model = GeneMambaModel.from_pretrained(folder, accelerator="cpu")
    model.save(tmp_path / "saved")
    model.save_pretrained(tmp_path / "again")
    loaded = GeneMambaModel.load(tmp_path / "saved", adata=False, accelerator="cpu")
    for subject in (weights, folder, str(folder), model, loaded, tmp_path / "again"):
        report = check_contamination(corpus[:5].copy(), subject)
        assert report.exact.tolist() == [True] * 5
        assert report.sets == {"one": 5}
        assert not report.trained_further


def test_the_layer_is_that_of_the_model_or_the_one_named(folder: Path, corpus: AnnData):
    query = corpus[:5].copy()
    query.layers["counts"], query.X = query.X, query.X * 0
    assert check_contamination(query, folder, layer="counts").exact.all()
    model = GeneMambaModel.from_pretrained(folder, accelerator="cpu")
    model.registry_["setup_args"]["layer"] = "counts"
    assert check_contamination(query, model).exact.all()


def test_a_fine_tuned_model_says_so_and_its_weights_send_to_the_base(
    folder: Path, corpus: AnnData, make_cells: Cells, tmp_path: Path
):
    cells = make_cells(60, N_GENES, seed=9)
    GeneMambaModel.setup_anndata(cells, labels_key="cell_type")
    model = GeneMambaModel.from_pretrained(folder, cells, accelerator="cpu")
    model.train(max_epochs=1, accelerator="cpu", enable_progress_bar=False)
    report = check_contamination(corpus, model)
    assert report.trained_further and report.exact.all()
    assert "trained on other cells since; those are not looked for" in str(report)
    model.save_pretrained(tmp_path / "tuned")
    with pytest.raises(ValueError, match=r"which brings none\. They were trained further from mini: check against"):
        check_contamination(corpus, tmp_path / "tuned")


def test_what_brings_no_hashes_is_refused_with_the_way_out(
    weights: Pretrained, corpus: AnnData, trained: GeneMambaModel
):
    with pytest.raises(ValueError, match=r"in cells\.safetensors.*Got mini, which brings none\. Ask whoever published"):
        check_contamination(corpus, replace(weights, cells=None))
    with pytest.raises(ValueError, match=r"this model started from none\. Give one made by .*from_pretrained"):
        check_contamination(corpus, trained)
    with pytest.raises(TypeError, match=r"or a folder or name of such\. Got int\. Pass one of these"):
        _subject(3, None)  # the annotation of check_contamination is checked in tests
    with pytest.raises(FileNotFoundError, match="Got 'no such', which is none of these"):
        check_contamination(corpus, "no such")


def test_chance_is_the_share_of_cells_that_another_one_looks_like():
    exact, near = numbers(1, 2, 3, 4, 4), numbers(7, 7, 8, 9, 9)
    assert chance_of_near(CellHashes.of(exact, near, 5)) == 2 / 4  # the same tokens twice are one cell
    assert chance_of_near(CellHashes.of(numbers(), numbers(), 5)) == 0.0


def make_report(**changes: object) -> ContaminationReport:
    exact, near, empty = (np.array(m, bool) for m in ([1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]))
    fields = {"origin": "mini", "n_corpus": 1000, "chance": 0.1, "source": np.array([1, 0, -1, -1])}
    return ContaminationReport(**{**fields, "exact": exact, "near": near, "empty": empty, **changes})


def test_a_report_reads_well():
    text = str(make_report(sources=("a", "b")))
    assert text.splitlines()[:6] == [
        "4 cells against the 1,000 on which mini was pretrained",
        "  the same tokens              1   25.00%",
        "  the same near hash           2   50.00%  (by chance: at most about 0.3)",
        "    in a: 1",
        "    in b: 1",
        "  without a known gene         1  nothing can be said of them",
    ]
    assert "misses nearly every cell where half of the others are gone" in text


def test_a_report_says_how_many_genes_it_had_to_go_by():
    assert "genes of these weights" not in str(make_report())
    many, few = (str(make_report(n_genes=2000, n_genes_known=n)) for n in (1000, 999))
    assert "The query has 1,000 of the 2,000 genes of these weights." in many
    warning = "These are few: a cell that was in the corpus with more genes would hardly be found."
    assert warning in few and warning not in many


def test_a_large_number_by_chance_is_written_out():
    empty = np.zeros(4, bool)
    assert "(by chance: at most about 1,200)" in str(make_report(chance=300.0, empty=empty))


def test_names_must_be_those_of_the_cells():
    with pytest.raises(ValueError, match=r"report is of 4 cells\. Got 2 names\. Pass the obs_names of the AnnData"):
        make_report().to_frame(anndata.AnnData(np.zeros((2, 1))).obs_names)


def test_the_same_cells_in_a_file_with_other_genes(real_data: Path):
    corpus, other = (anndata.read_h5ad(real_data / "cells" / f"{n}.h5ad") for n in ("pbmc3k", "immune_3studies"))
    vocabulary = GeneVocabulary.from_tsv(real_data / "genes" / "published_vocabulary.tsv.gz")
    config = EncoderConfig(vocab_size=vocabulary.size, d_model=2, n_layer=0)
    with torch.random.fork_rng(devices=[]):
        encoder = dict(BiMambaEncoder(config).state_dict())
    tokens = query_source(corpus, vocabulary, 2048, {}).tokens(np.arange(corpus.n_obs))
    weights = Pretrained(config, encoder, {}, vocabulary, 2048, {}, [], "w", CellHashes.from_tokens(tokens, 2048))
    report = check_contamination(other, weights)
    same = (other.obs["batch"] == "pbmc3k").to_numpy()
    assert report.exact.sum() == 0
    assert (report.n_genes, report.n_genes_known) == (
        vocabulary.n_genes,
        int(other.var_names.isin(vocabulary.symbols).sum()),
    )
    assert 0.5 < report.near[same].mean() < 0.8
    assert report.near[~same].sum() == 0
