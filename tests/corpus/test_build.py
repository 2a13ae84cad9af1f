"""From files to a corpus: the same one however it was made."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from genemamba_sc import GeneVocabulary, RankTokenizer
from genemamba_sc.corpus import TokenCorpus, _assembly, _build, _pieces, build_corpus
from genemamba_sc.corpus._assembly import first_of_each
from genemamba_sc.data import Scale, match_genes
from genemamba_sc.data.cells import _evidence
from genemamba_sc.data.genes import _medians
from genemamba_sc.data.tokens._cell_hashes import token_hashes

Cells = Callable[..., AnnData]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_build, "_PIECE_CELLS", 16)
    monkeypatch.setattr(_pieces, "_BLOCK", 7)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tokenized_directly(adata: AnnData, vocabulary: GeneVocabulary, max_len: int) -> list[list[int]]:
    tokens = RankTokenizer(vocabulary, max_len)(adata.X, match_genes(adata.var, vocabulary).token_ids)
    return [ids[:n].tolist() for ids, n in zip(tokens.ids, tokens.lengths)]


def test_a_corpus_holds_the_tokens_of_all_cells_in_order_without_duplicates(
    cell_files: list[Path], make_cells: Cells, tmp_path: Path
):
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    manifest = build_corpus(cell_files, tmp_path / "corpus", vocabulary=vocabulary, max_len=30)
    corpus = TokenCorpus.open(tmp_path / "corpus")
    expected = tokenized_directly(make_cells(), vocabulary, 30)
    expected += tokenized_directly(make_cells(40, seed=1), vocabulary, 30)
    tokens = corpus.tokens(np.arange(corpus.n_cells))
    assert [ids[:n].tolist() for ids, n in zip(tokens.ids, tokens.lengths)] == expected
    assert corpus.vocabulary == vocabulary
    assert [source["cells"] for source in manifest["sources"]] == [
        {"read": 60, "kept": 60, "too_few_genes": 0, "duplicates": 0},
        {"read": 45, "kept": 40, "too_few_genes": 0, "duplicates": 5},
    ]
    assert (manifest["n_cells"], manifest["n_tokens"]) == (100, sum(map(len, expected)))
    assert np.array_equal(corpus.token_hashes, token_hashes(tokens))


def test_values_come_back_as_the_half_octaves_of_the_tokenizer(
    cell_files: list[Path], make_cells: Cells, tmp_path: Path
):
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    build_corpus(cell_files[:1], tmp_path / "corpus", vocabulary=vocabulary)
    stored = TokenCorpus.open(tmp_path / "corpus").tokens(np.arange(60))
    exact = RankTokenizer(vocabulary, 2048)(make_cells().X, match_genes(make_cells().var, vocabulary).token_ids)
    real = exact.values > 0
    assert np.array_equal(stored.ids, exact.ids)
    ratio = stored.values[real] / exact.values[real]
    assert ratio.min() >= 2**-0.25 - 1e-5 and ratio.max() <= 2**0.25 + 1e-5
    assert not stored.values[~real].any()


@pytest.fixture
def raw_file(make_cells: Cells, tmp_path: Path) -> Path:
    """Counts in ``raw``, their logarithms of half of the genes in ``X``: what an analysis leaves."""
    cells = make_cells()
    cells.raw = cells.copy()
    cells = cells[:, :20].copy()
    cells.X = cells.X.log1p()
    cells.write_h5ad(tmp_path / "analysed.h5ad")
    return tmp_path / "analysed.h5ad"


def test_raw_expression_becomes_the_same_corpus_as_counts(
    raw_file: Path, cell_files: list[Path], make_cells: Cells, tmp_path: Path
):
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    raw = build_corpus([raw_file], tmp_path / "raw", vocabulary=vocabulary, use_raw=True)
    counts = build_corpus(cell_files[:1], tmp_path / "counts", vocabulary=vocabulary)
    assert raw["fingerprint"] == counts["fingerprint"]
    assert raw["use_raw"] is True and "use_raw" not in counts


def test_a_stated_scale_is_used_and_kept(cell_files: list[Path], make_cells: Cells, tmp_path: Path):
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    found = build_corpus(cell_files[:1], tmp_path / "found", vocabulary=vocabulary)
    stated = build_corpus(cell_files[:1], tmp_path / "stated", vocabulary=vocabulary, scale="log2")
    assert (stated["scale"], "scale" in found) == ("log2", False)
    assert stated["fingerprint"] != found["fingerprint"]  # read as logarithms, as the user said
    with pytest.raises(FileExistsError, match="other files or settings"):
        build_corpus(cell_files[:1], tmp_path / "found", vocabulary=vocabulary, scale="log2")


def test_the_manifest_says_what_was_read_and_dropped(cell_files: list[Path], make_cells: Cells, tmp_path: Path):
    import hashlib

    vocabulary = GeneVocabulary.from_anndata(make_cells()[:, :30].copy())
    manifest = build_corpus(cell_files[:1], tmp_path / "corpus", vocabulary=vocabulary, max_len=25, min_genes=21)
    data = cell_files[0].read_bytes()
    (source,) = manifest["sources"]
    lengths = [len(cell) for cell in tokenized_directly(make_cells(), vocabulary, 25)]
    counts = make_cells().X
    assert (source["name"], source["size"], source["sha256"]) == (
        "first.h5ad",
        len(data),
        hashlib.sha256(data).hexdigest(),
    )
    assert source["cells"]["too_few_genes"] == sum(n < 21 for n in lengths) > 0
    assert source["cells"]["kept"] == sum(n >= 21 for n in lengths) > 0
    assert (source["genes"]["n_vars"], source["genes"]["n_matched"]) == (40, 30)
    assert source["genes"]["share_of_counts"] == pytest.approx(counts[:, :30].sum() / counts.sum())
    assert source["expression"] == {"kind": "counts", "log_base": None}
    assert manifest["vocabulary_fingerprint"] == vocabulary.fingerprint
    assert manifest["filters"] == {"max_len": 25, "min_genes": 21, "duplicates": "removed"}
    assert manifest == json.loads((tmp_path / "corpus" / "manifest.json").read_text())


def test_without_a_vocabulary_the_genes_of_the_files_are_taken(cell_files: list[Path], tmp_path: Path):
    build_corpus(cell_files, tmp_path / "corpus")
    vocabulary = TokenCorpus.open(tmp_path / "corpus").vocabulary
    pooled = anndata.concat([anndata.read_h5ad(path) for path in cell_files], merge="same", index_unique="-")
    expected = GeneVocabulary.from_anndata(pooled)
    assert (vocabulary.gene_ids, vocabulary.symbols) == (expected.gene_ids, expected.symbols)
    assert np.allclose(vocabulary.medians, expected.medians, rtol=1e-5)


@pytest.mark.parametrize("scale", ["counts", "normalised", "log1p", "log2", "log10", None])
def test_the_genes_of_a_file_are_measured_on_the_scale_that_is_stated(
    scale: Scale | None, make_cells: Cells, tmp_path: Path
):
    cells = make_cells()
    if scale not in ("counts", None):  # values that another scale would fit, too
        cells.X = cells.X.astype(np.float32) * np.float32(0.37)
        cells.X.data += np.random.default_rng(0).random(cells.X.nnz, dtype=np.float32)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        build_corpus([tmp_path / "cells.h5ad"], tmp_path / "corpus", scale=scale)
    found = GeneVocabulary.from_tsv(tmp_path / "corpus" / "genes.tsv")
    assert found == GeneVocabulary.from_anndata(cells, scale=scale)


def test_a_scale_that_is_assumed_is_warned_of_once(make_cells: Cells, tmp_path: Path):
    cells = make_cells()
    cells.X.data = np.log1p(cells.X.data * np.random.default_rng(0).random(cells.X.nnz)).astype(np.float32)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_corpus([tmp_path / "cells.h5ad"], tmp_path / "corpus")
    assert sum("scale of X cannot be told" in str(warning.message) for warning in caught) == 1
    with pytest.warns(UserWarning, match="cannot be told"):
        expected = GeneVocabulary.from_anndata(cells)
    assert GeneVocabulary.from_tsv(tmp_path / "corpus" / "genes.tsv") == expected


@pytest.mark.parametrize("with_vocabulary", [True, False])
def test_a_bad_value_is_named_by_its_file_and_its_row_there(
    with_vocabulary: bool, make_cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cells = make_cells()
    monkeypatch.setattr(_medians, "_BLOCK", 7)
    # Not in the sample that tells the scale.
    monkeypatch.setattr(_evidence, "_spread_rows", lambda n: np.arange(50))
    cells.X = cells.X.toarray()
    cells.X[57, 3] = -1
    cells.write_h5ad(tmp_path / "bad.h5ad")
    vocabulary = GeneVocabulary.from_anndata(make_cells()) if with_vocabulary else None
    with pytest.raises(ValueError, match=r"bad\.h5ad.*: Expression must be finite.*; row 57 has -1\.0 in column 3\."):
        build_corpus([tmp_path / "bad.h5ad"], tmp_path / "corpus", vocabulary=vocabulary)


def test_genes_named_in_different_ways_need_a_vocabulary(cell_files: list[Path], make_cells: Cells, tmp_path: Path):
    other = make_cells()
    other.var_names = other.var["symbol"]
    other.write_h5ad(tmp_path / "symbols.h5ad")
    with pytest.raises(ValueError, match=r"name their genes in different ways .* Pass one vocabulary"):
        build_corpus([cell_files[0], tmp_path / "symbols.h5ad"], tmp_path / "corpus")


@pytest.mark.parametrize("kind", ["zarr", "csc", "dense", "layer", "log1p"])
def test_every_way_to_store_counts_gives_the_same_tokens(
    kind: str, cell_files: list[Path], make_cells: Cells, tmp_path: Path
):
    cells, layer = make_cells(), None
    if kind == "csc":
        cells.X = sparse.csc_matrix(cells.X)
    elif kind == "dense":
        cells.X = cells.X.toarray()
    elif kind == "layer":
        cells.layers["raw"], layer = cells.X.copy(), "raw"
        cells.X = sparse.csr_matrix(np.ones(cells.shape, np.float32))
    elif kind == "log1p":
        import scanpy as sc

        sc.pp.normalize_total(cells, target_sum=1e4)
        sc.pp.log1p(cells)
    path = tmp_path / ("cells.zarr" if kind == "zarr" else "cells.h5ad")
    cells.write_zarr(path) if kind == "zarr" else cells.write_h5ad(path)
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    build_corpus([path], tmp_path / "corpus", vocabulary=vocabulary, layer=layer)
    build_corpus(cell_files[:1], tmp_path / "plain", vocabulary=vocabulary)
    found, expected = (TokenCorpus.open(tmp_path / name) for name in ("corpus", "plain"))
    if kind == "log1p":  # values are rounded on the way through the logarithm: ties may turn
        assert np.array_equal(found.lengths, expected.lengths)
        assert np.mean(found.tokens(np.arange(60)).ids == expected.tokens(np.arange(60)).ids) > 0.95
    else:
        assert np.array_equal(found.token_hashes, expected.token_hashes)


def test_the_corpus_does_not_depend_on_the_number_of_jobs(
    cell_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_pieces, "_BLOCK", 2048)  # as in the other processes
    build_corpus(cell_files, tmp_path / "one", jobs=1)
    build_corpus(cell_files, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("n_calls", range(1, 13))
def test_a_broken_run_goes_on_and_ends_with_the_same_bytes(
    n_calls: int, cell_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Break after so many renames, those of the last part included."""
    build_corpus(cell_files, tmp_path / "whole")
    replace, done = os.replace, []

    def breaking(source: str, target: str) -> None:
        if len(done) >= 2 * n_calls:
            raise KeyboardInterrupt
        replace(source, target)
        done.append(target)

    monkeypatch.setattr(os, "replace", breaking)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(cell_files, tmp_path / "broken")
    with pytest.raises(FileNotFoundError, match="unfinished corpus. Run the same genemamba tokenize command again"):
        TokenCorpus.open(tmp_path / "broken")
    monkeypatch.setattr(os, "replace", replace)
    build_corpus(cell_files, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_killed_at_a_random_moment_goes_on(cell_files: list[Path], tmp_path: Path):
    code = (
        "import sys; from genemamba_sc.corpus import _build, build_corpus; _build._PIECE_CELLS = 4\n"
        "print('ready', flush=True); build_corpus(sys.argv[2:], sys.argv[1])"
    )
    command = [sys.executable, "-c", code]
    files = list(map(str, cell_files))
    subprocess.run([*command, str(tmp_path / "whole"), *files], check=True)
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen([*command, str(tmp_path / "killed"), *files], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(tmp_path / "killed"), *files], check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_finished_corpus_is_not_made_again_and_not_replaced(cell_files: list[Path], tmp_path: Path):
    manifest = build_corpus(cell_files, tmp_path / "corpus")
    before = contents(tmp_path / "corpus")
    assert build_corpus(cell_files, tmp_path / "corpus") == manifest
    with pytest.raises(FileExistsError, match="holds a corpus of other files or settings .* Choose another folder"):
        build_corpus(cell_files, tmp_path / "corpus", max_len=7)
    with pytest.raises(FileExistsError, match="holds a corpus of other files or settings"):
        build_corpus(cell_files[:1], tmp_path / "corpus")
    assert contents(tmp_path / "corpus") == before


@pytest.fixture
def dense_file(make_cells: Cells, tmp_path: Path) -> Path:
    """Stored dense and not compressed, a file keeps its size whatever its values are."""
    cells = make_cells()
    cells.X = cells.X.toarray()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def correct_values(path: Path) -> None:
    """Turn the genes of all cells around, and keep name, size and time of the file."""
    before = path.stat()
    with h5py.File(path, "r+") as file:
        file["X"][...] = file["X"][...][:, ::-1]
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Build a corpus up to the moment when its parts are put together."""

    def build(*arguments: Any, **choices: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(_build, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                build_corpus(*arguments, **choices)

    return build


def test_a_finished_corpus_of_files_with_other_contents_is_refused(dense_file: Path, tmp_path: Path):
    manifest = build_corpus([dense_file], tmp_path / "corpus")
    before = contents(tmp_path / "corpus")
    os.utime(dense_file)  # the same contents, written again
    assert build_corpus([dense_file], tmp_path / "corpus") == manifest
    correct_values(dense_file)
    with pytest.raises(
        FileExistsError,
        match=r"corpus of other files or settings \(content of cells\.h5ad changed; see its manifest\.json\)\. Choose "
        "another folder, or remove this one to make the corpus anew",
    ):
        build_corpus([dense_file], tmp_path / "corpus")
    assert contents(tmp_path / "corpus") == before
    assert build_corpus([dense_file], tmp_path / "anew")["fingerprint"] != manifest["fingerprint"]


def test_a_finished_corpus_of_given_genes_is_not_that_of_the_genes_of_the_files(
    cell_files: list[Path], make_cells: Cells, tmp_path: Path
):
    given = GeneVocabulary.from_anndata(make_cells()[:, :30].copy())
    manifest = build_corpus(cell_files, tmp_path / "given", vocabulary=given)
    assert manifest["genes_of_files"] is False
    with pytest.raises(FileExistsError, match=r"other files or settings \(vocabulary changed"):
        build_corpus(cell_files, tmp_path / "given")
    assert build_corpus(cell_files, tmp_path / "given", vocabulary=given) == manifest

    manifest = build_corpus(cell_files, tmp_path / "own")
    assert manifest["genes_of_files"] is True
    with pytest.raises(FileExistsError, match=r"other files or settings \(vocabulary changed"):
        build_corpus(cell_files, tmp_path / "own", vocabulary=given)
    own = GeneVocabulary.from_tsv(tmp_path / "own" / "genes.tsv")
    assert build_corpus(cell_files, tmp_path / "own", vocabulary=own) == manifest  # the same tokens, however asked for


def test_a_corpus_that_does_not_say_where_its_genes_are_from_is_found(
    cell_files: list[Path], make_cells: Cells, tmp_path: Path
):
    """Earlier versions wrote such manifests."""
    given = GeneVocabulary.from_anndata(make_cells()[:, :30].copy())
    manifest = build_corpus(cell_files, tmp_path / "corpus", vocabulary=given)
    del manifest["genes_of_files"]
    (tmp_path / "corpus" / "manifest.json").write_text(json.dumps(manifest))
    assert build_corpus(cell_files, tmp_path / "corpus") == manifest
    assert build_corpus(cell_files, tmp_path / "corpus", vocabulary=given) == manifest
    with pytest.raises(FileExistsError, match=r"\(vocabulary changed"):
        build_corpus(cell_files, tmp_path / "corpus", vocabulary=GeneVocabulary.from_anndata(make_cells()))


def test_an_unfinished_corpus_of_files_with_other_contents_does_not_go_on(
    dense_file: Path, tmp_path: Path, interrupted: Callable[..., None]
):
    interrupted([dense_file], tmp_path / "corpus")
    before = contents(tmp_path / "corpus")
    correct_values(dense_file)
    with pytest.raises(
        FileExistsError, match=r"unfinished corpus of other settings \(content of cells\.h5ad changed\)\. Give the same"
    ):
        build_corpus([dense_file], tmp_path / "corpus")
    assert contents(tmp_path / "corpus") == before


def test_genes_of_other_contents_are_not_kept(dense_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Break after the genes are written and before the contents are noted."""
    with monkeypatch.context() as patch:
        patch.setattr(_build, "examine", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_corpus([dense_file], tmp_path / "corpus")
    correct_values(dense_file)
    build_corpus([dense_file], tmp_path / "corpus")
    build_corpus([dense_file], tmp_path / "whole")
    assert contents(tmp_path / "corpus") == contents(tmp_path / "whole")


def test_an_unfinished_corpus_does_not_go_on_with_other_genes(
    cell_files: list[Path], make_cells: Cells, tmp_path: Path, interrupted: Callable[..., None]
):
    given = GeneVocabulary.from_anndata(make_cells()[:, :30].copy())
    interrupted(cell_files, tmp_path / "given", vocabulary=given)
    with pytest.raises(FileExistsError, match=r"unfinished corpus of other settings \(vocabulary changed\)"):
        build_corpus(cell_files, tmp_path / "given")
    interrupted(cell_files, tmp_path / "own")
    with pytest.raises(FileExistsError, match=r"unfinished corpus of other settings \(vocabulary changed\)"):
        build_corpus(cell_files, tmp_path / "own", vocabulary=given)


def test_other_settings_do_not_go_on_in_an_unfinished_corpus(
    cell_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(_build, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_corpus(cell_files, tmp_path / "corpus")
    with pytest.raises(FileExistsError, match=r"unfinished corpus of other settings \(filters changed\)"):
        build_corpus(cell_files, tmp_path / "corpus", min_genes=5)
    (tmp_path / "corpus" / ".unfinished" / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json is not readable JSON .* Remove the folder to start anew"):
        build_corpus(cell_files, tmp_path / "corpus")


@pytest.mark.parametrize(
    "name", ["genes.tsv", "source-00000.json", *(f"piece-00001-00000.{e}" for e in ("npy", "arrow", "json"))]
)
def test_a_damaged_part_of_an_unfinished_corpus_is_made_again(
    name: str, cell_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    build_corpus(cell_files, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(_build, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_corpus(cell_files, tmp_path / "corpus")
    path = tmp_path / "corpus" / ".unfinished" / name
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        build_corpus(cell_files, tmp_path / "corpus")
    assert contents(tmp_path / "corpus") == contents(tmp_path / "whole")
    assert ("piece-00001-00000. They are made again" in str([w.message for w in told])) is name.startswith("piece")


def test_a_part_that_is_damaged_after_it_took_its_place_is_refused(
    cell_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(_assembly, "_describe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build_corpus(cell_files, tmp_path / "corpus")
    whole = sorted((tmp_path / "corpus").glob("data-*.arrow"))
    content = bytearray(whole[0].read_bytes())
    content[len(content) // 2] ^= 1
    whole[0].write_bytes(content)
    with pytest.raises(
        ValueError, match=r"data-00000-of-.* must be the part .* It is damaged. Remove .*corpus to build"
    ):
        build_corpus(cell_files, tmp_path / "corpus")


def test_foreign_folders_are_left_alone(cell_files: list[Path], tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match="exists and holds no corpus, so it is left alone"):
        build_corpus(cell_files, tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"all of it"}


def test_what_cannot_be_read_is_refused_by_name_before_any_cell_is_tokenised(
    cell_files: list[Path], make_cells: Cells, tmp_path: Path
):
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    scaled = make_cells()
    scaled.X = sparse.csr_matrix(scaled.X - 1.5 * (scaled.X > 0).astype(np.float32))
    scaled.write_h5ad(tmp_path / "scaled.h5ad")
    mouse = make_cells()
    mouse.var_names = [f"ENSMUSG{i:011d}" for i in range(40)]
    mouse.write_h5ad(tmp_path / "mouse.h5ad")
    (tmp_path / "text.h5ad").write_text("no cells")
    for name, told in (
        ("scaled.h5ad", r"scaled\.h5ad: Expression must not be negative"),
        ("mouse.h5ad", r"mouse\.h5ad: The genes must be in the vocabulary"),
        ("text.h5ad", r"text\.h5ad cannot be read as h5ad"),
    ):
        with pytest.raises(ValueError, match=told):
            build_corpus([cell_files[0], tmp_path / name], tmp_path / f"from {name}", vocabulary=vocabulary)
        assert not list((tmp_path / f"from {name}").rglob("*.arrow"))
    with pytest.raises(FileNotFoundError, match="none.h5ad does not exist"):
        build_corpus([tmp_path / "none.h5ad"], tmp_path / "corpus")
    with pytest.raises(ValueError, match=r"got 'raw', the layers are: none"):
        build_corpus(cell_files, tmp_path / "corpus", vocabulary=vocabulary, layer="raw")


@pytest.mark.parametrize("kind", [str, Path])
def test_one_path_is_a_list_of_one(kind: Callable[[Path], str | Path], cell_files: list[Path], tmp_path: Path):
    one = build_corpus(kind(cell_files[0]), tmp_path / "one")
    assert one["fingerprint"] == build_corpus(cell_files[:1], tmp_path / "list")["fingerprint"]


@pytest.mark.usefixtures("unchecked")
def test_cells_in_memory_are_refused_with_the_way_out(cell_files: list[Path], make_cells: Cells, tmp_path: Path):
    for files in (make_cells(), [cell_files[0], make_cells()]):
        with pytest.raises(TypeError, match=r"files on disk.*Got AnnData\. Write cells with adata\.write_h5ad\(path\)"):
            build_corpus(files, tmp_path / "corpus")


def test_arguments_out_of_range_are_refused(cell_files: list[Path], tmp_path: Path):
    with pytest.raises(ValueError, match="at least one file of cells. Got none"):
        build_corpus([], tmp_path / "corpus")
    with pytest.raises(ValueError, match="min_genes must not exceed max_len=5. Got 6"):
        build_corpus(cell_files, tmp_path / "corpus", max_len=5, min_genes=6)
    with pytest.raises(ValueError, match="jobs must be at least 1. Got 0"):
        build_corpus(cell_files, tmp_path / "corpus", jobs=0)


def test_a_corpus_without_cells_is_refused(cell_files: list[Path], tmp_path: Path):
    with pytest.raises(ValueError, match="A corpus needs cells; of 105 none has 41 genes"):
        build_corpus(cell_files, tmp_path / "corpus", min_genes=41)
    assert not (tmp_path / "corpus").exists()  # so that the corrected call is not one of other settings
    assert build_corpus(cell_files, tmp_path / "corpus", min_genes=5)["n_cells"] > 0


def test_files_that_were_refused_do_not_refuse_the_corrected_call(dense_file: Path, tmp_path: Path):
    with pytest.raises((KeyError, ValueError), match="nowhere"):
        build_corpus([dense_file], tmp_path / "corpus", layer="nowhere")
    build_corpus([dense_file], tmp_path / "corpus")
    build_corpus([dense_file], tmp_path / "whole")
    assert contents(tmp_path / "corpus") == contents(tmp_path / "whole")


def test_the_first_of_each_hash_stays():
    kept = first_of_each([np.array([5, 7, 5], np.uint64), np.array([], np.uint64), np.array([9, 7], np.uint64)])
    assert [mask.tolist() for mask in kept] == [[True, True, False], [], [True, False]]


def test_progress_counts_cells(cell_files: list[Path], tmp_path: Path):
    told: list[tuple[int, int]] = []
    build_corpus(cell_files, tmp_path / "corpus", on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (105, 105)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_corpus_that_another_process_writes_is_left_alone(cell_files: list[Path], tmp_path: Path):
    from filelock import FileLock

    with FileLock(tmp_path / ".corpus.lock"):
        with pytest.raises(FileExistsError, match=r"The corpus .* must have one writer at a time"):
            build_corpus(cell_files, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    assert build_corpus(cell_files, tmp_path / "corpus")["n_cells"] == 100
    assert not (tmp_path / ".corpus.lock").exists()
