"""Opening a corpus: our own folder, and one of Hugging Face datasets."""

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from genemamba_sc import GeneVocabulary
from genemamba_sc._digests import sha256_of
from genemamba_sc.corpus import TokenCorpus, build_corpus
from genemamba_sc.corpus._shards import read_batches
from genemamba_sc.data.tokens._cell_hashes import token_hashes
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig

# As Genecorpus-30M: token ids in the order of rank, and their number.
CELLS = [[7, 2, 5], [3], [9, 8, 7, 6, 5, 4, 3, 2], [4, 6]]
LISTS = pa.list_(pa.int64())


@pytest.fixture
def vocabulary() -> GeneVocabulary:
    names = [f"ENSG{i:011d}" for i in range(1, 9)]
    return GeneVocabulary(tuple(names), tuple("" for _ in names), np.ones(8), "human")


def write_dataset(folder: Path, cells: list[list[int]], kind: pa.DataType = LISTS, n_files: int = 2):
    """Write what Dataset.save_to_disk writes: Arrow streams, and a state that lists them."""
    folder.mkdir()
    names = []
    for number, part in enumerate(np.array_split(np.arange(len(cells)), n_files)):
        table = pa.table(
            {
                "input_ids": pa.array([cells[i] for i in part], kind),
                "length": pa.array([len(cells[i]) for i in part], pa.int16()),
            }
        )
        names.append(f"data-{number:05d}-of-{n_files:05d}.arrow")
        with pa.OSFile(str(folder / names[-1]), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names], "_fingerprint": "f00d"})
    )
    (folder / "dataset_info.json").write_text("{}")


@pytest.mark.parametrize("kind", [LISTS, pa.list_(pa.int32()), pa.large_list(pa.uint16())], ids=str)
def test_a_dataset_with_token_ids_is_a_corpus(kind: pa.DataType, vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "genecorpus", CELLS, kind)
    corpus = TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)
    assert (corpus.n_cells, corpus.lengths.tolist(), corpus.has_values) == (4, [3, 1, 8, 2], False)
    tokens = corpus.tokens(np.array([3, 0, 3]))
    assert tokens.ids.tolist() == [[4, 6, 1], [7, 2, 5], [4, 6, 1]]
    assert tokens.lengths.tolist() == [2, 3, 2]
    assert not tokens.values.any()
    assert (corpus.manifest["n_cells"], corpus.manifest["n_tokens"]) == (4, 14)


def test_tokens_without_values_have_the_weight_one(vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "genecorpus", CELLS)
    corpus = TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)
    tokens = corpus.tokens(np.arange(4))
    encoder = BiMambaEncoder(EncoderConfig(vocab_size=vocabulary.size, d_model=16, headdim=16)).eval()
    import torch

    ids, lengths = torch.from_numpy(tokens.ids.astype(np.int64)), torch.from_numpy(tokens.lengths.astype(np.int64))
    stored = encoder(ids, torch.from_numpy(tokens.values), lengths).cell
    assert torch.equal(stored, encoder(ids, None, lengths).cell)


def test_a_cut_takes_the_highest_tokens(vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "genecorpus", CELLS)
    corpus = TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)
    assert corpus.tokens(np.array([2, 1]), max_len=2).ids.tolist() == [[9, 8], [3, 1]]


def test_our_corpus_is_a_dataset(cell_files: list[Path], tmp_path: Path):
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    build_corpus(cell_files, tmp_path / "corpus")
    corpus = TokenCorpus.open(tmp_path / "corpus")
    dataset = datasets.load_from_disk(str(tmp_path / "corpus"))
    assert len(dataset) == corpus.n_cells
    tokens = corpus.tokens(np.array([17]))
    assert dataset[17]["input_ids"] == tokens.ids[0].tolist()
    assert dataset[17]["length"] == tokens.lengths[0]


def test_a_copy_in_another_process_reads_the_same(cell_files: list[Path], tmp_path: Path):
    build_corpus(cell_files, tmp_path / "corpus")
    corpus = TokenCorpus.open(tmp_path / "corpus")
    data = pickle.dumps(corpus)
    copy = pickle.loads(data)
    cells = np.array([90, 3, 41])
    assert np.array_equal(copy.tokens(cells).ids, corpus.tokens(cells).ids)
    assert copy.identity() == corpus.identity()
    assert len(data) < 20_000  # the files are opened again, not sent


def test_no_cells_give_no_tokens(cell_files: list[Path], tmp_path: Path):
    build_corpus(cell_files, tmp_path / "corpus")
    tokens = TokenCorpus.open(tmp_path / "corpus").tokens(np.array([], dtype=np.int64))
    assert (tokens.ids.shape, len(tokens.lengths)) == ((0, 1), 0)


def test_cells_and_tokens_out_of_range_are_refused(vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "good", CELLS)
    corpus = TokenCorpus.open(tmp_path / "good", vocabulary=vocabulary)
    for cells, told in (([4], "0 to 3; got 4 to 4"), ([-1, 2], "0 to 3; got -1 to 2")):
        with pytest.raises(IndexError, match=told):
            corpus.tokens(np.array(cells))
    for wrong, told in ((0, "2 to 9; got 0 to 9"), (10, "2 to 9; got 2 to 10")):
        write_dataset(tmp_path / f"bad {wrong}", [*CELLS, [wrong]])
        with pytest.raises(ValueError, match=f"must be genes of the vocabulary, {told}. Pass the vocabulary it was"):
            TokenCorpus.open(tmp_path / f"bad {wrong}", vocabulary=vocabulary)


def test_what_is_no_corpus_is_refused(vocabulary: GeneVocabulary, cell_files: list[Path], tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"is not a corpus: it has neither manifest.json nor state.json"):
        TokenCorpus.open(tmp_path)
    write_dataset(tmp_path / "genecorpus", CELLS)
    with pytest.raises(ValueError, match="holds token ids without their genes. Pass the vocabulary"):
        TokenCorpus.open(tmp_path / "genecorpus")
    write_dataset(tmp_path / "text", CELLS, pa.list_(pa.float32()))
    with pytest.raises(ValueError, match="has a column 'input_ids' with a list of token ids for each cell"):
        TokenCorpus.open(tmp_path / "text", vocabulary=vocabulary)
    (tmp_path / "genecorpus" / "data-00001-of-00002.arrow").write_bytes(b"not arrow at all")
    with pytest.raises(ValueError, match="is not a complete Arrow file .* Copy the corpus again"):
        TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)
    (tmp_path / "genecorpus" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(FileNotFoundError, match="is missing, which state.json names"):
        TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)


@pytest.mark.parametrize("content", ["[", "null", "{}", '{"_data_files": [1]}', '{"_data_files": [{"filename": 2}]}'])
def test_a_damaged_state_of_a_dataset_is_named(content: str, vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "genecorpus", CELLS)
    (tmp_path / "genecorpus" / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"state\.json (is not readable|must h|lacks).* Copy it again"):
        TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"], ids=["too long", "a letter that no name has"])
def test_a_file_that_cannot_be_named_so_is_refused(name: str, vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "genecorpus", CELLS)
    (tmp_path / "genecorpus" / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    with pytest.raises(ValueError, match=r"state\.json of .* must name files\. Got 'a"):
        TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)


def test_columns_that_are_something_else_are_named(vocabulary: GeneVocabulary, cell_files: list[Path], tmp_path: Path):
    build_corpus(cell_files, tmp_path / "corpus")
    path = min((tmp_path / "corpus").glob("*.arrow"))
    table = pa.ipc.open_stream(path.read_bytes()).read_all()
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    for column, values, told in (
        ("value_bins", table["row"], "'value_bins' with a list of bins, of one byte each"),
        ("value_bins", table["input_ids"], "'value_bins' with a list of bins, of one byte each"),
        ("input_ids", pa.array([[2, None]] * len(table)), "'input_ids' with a list of token ids for each cell"),
        ("source", pa.array(["a"] * len(table)), "one whole number for each cell in the column 'source'. Got 'string'"),
        ("token_hash", pa.array([None] * len(table), pa.uint64()), "in the column 'token_hash'. Got 'uint64'"),
        (
            "source",
            pa.array([7] * len(table), pa.int32()),
            "corpus: Every cell is from one of the 2 sources",
        ),
    ):
        changed = table.set_column(table.schema.names.index(column), column, values)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, changed.schema) as writer:
            writer.write_table(changed)
        manifest["shards"][0] |= {"size": path.stat().st_size, "sha256": sha256_of(path)}
        (tmp_path / "corpus" / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match=told):
            TokenCorpus.open(tmp_path / "corpus").cell_hashes(np.arange(100))


def test_a_damaged_corpus_is_refused(vocabulary: GeneVocabulary, cell_files: list[Path], tmp_path: Path):
    build_corpus(cell_files, tmp_path / "corpus")
    with pytest.raises(ValueError, match="differs from the one passed. Leave out the vocabulary"):
        TokenCorpus.open(tmp_path / "corpus", vocabulary=vocabulary)
    manifest = tmp_path / "corpus" / "manifest.json"
    text = manifest.read_text()
    shard = tmp_path / "corpus" / json.loads(text)["shards"][0]["file"]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(FileNotFoundError, match=r"is missing or does not have the \d+ bytes that manifest.json says"):
        TokenCorpus.open(tmp_path / "corpus")
    for content, told in (
        ("{", "is not readable JSON"),
        ('{"format": "other"}', "does not describe a corpus of tokens"),
        (text.replace('"format_version": 1', '"format_version": 2'), "has format version 2; this package reads 1"),
        (text.replace('"n_cells": 100', '"n_cells": "many"', 1), r"manifest\.json must have a whole .* as n_cells"),
        (text.replace('"max_len"', '"most"'), r"manifest\.json lacks filters\.max_len"),
        (text.replace('"shards": [', '"shards": [7, '), r"manifest\.json must hold a JSON object in shards\[0\]"),
        (text.replace('"sources"', '"of"'), r"manifest\.json lacks sources"),
    ):
        manifest.write_text(content)
        with pytest.raises(ValueError, match=told):
            TokenCorpus.open(tmp_path / "corpus")


def test_a_foreign_corpus_has_no_hashes(vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "genecorpus", CELLS)
    corpus = TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)
    with pytest.raises(ValueError, match="stores no hashes of its cells. Compute them with"):
        _ = corpus.token_hashes


def test_hashes_of_chosen_cells_know_their_file_and_where_cells_were_cut(cell_files: list[Path], tmp_path: Path):
    build_corpus(cell_files, tmp_path / "corpus", max_len=20)
    corpus = TokenCorpus.open(tmp_path / "corpus")
    chosen = np.array([70, 3, 59, 60])
    cells = corpus.cell_hashes(chosen)
    order = np.argsort(corpus.token_hashes[chosen])
    assert cells.exact.tolist() == corpus.token_hashes[chosen][order].tolist()
    assert cells.near.tolist() == corpus.near_hashes[chosen][order].tolist()
    assert cells.source.tolist() == np.array([1, 0, 0, 1])[order].tolist()
    assert (cells.max_len, cells.sources) == (20, ("first.h5ad", "second.h5ad"))


def test_hashes_of_a_foreign_corpus_are_computed(vocabulary: GeneVocabulary, tmp_path: Path):
    write_dataset(tmp_path / "genecorpus", CELLS)
    corpus = TokenCorpus.open(tmp_path / "genecorpus", vocabulary=vocabulary)
    rows = np.array([2, 0])
    cells = corpus.cell_hashes(rows)
    assert cells.exact.tolist() == sorted(token_hashes(corpus.tokens(rows)).tolist())
    assert (cells.max_len, cells.sources) == (int(corpus.lengths.max()), ())


# ------------------------------------------------------------- damaged files


def change_a_token(shard: Path) -> None:
    """Change one token id of the first cell, and nothing else."""
    ids = next(iter(read_batches(shard))).column("input_ids").values.to_numpy()
    content, first = bytearray(shard.read_bytes()), ids.tobytes()
    place = content.index(first)
    content[place] ^= 1
    shard.write_bytes(content)


def test_a_changed_token_is_found_when_its_cell_is_read(cell_files: list[Path], tmp_path: Path):
    manifest = build_corpus(cell_files, tmp_path / "corpus")
    change_a_token(tmp_path / "corpus" / manifest["shards"][0]["file"])

    corpus = TokenCorpus.open(tmp_path / "corpus")

    with pytest.raises(ValueError, match=r"data-00000-of-00002\.arrow must have the SHA-256 that manifest\.json says"):
        corpus.tokens(np.array([0]))
    last = corpus.tokens(np.array([corpus.n_cells - 1]))  # in the other shard, which is whole
    assert last.lengths[0] > 0


def test_a_corpus_without_digests_is_of_an_older_version_and_has_the_same_identity(
    cell_files: list[Path], tmp_path: Path
):
    build_corpus(cell_files, tmp_path / "corpus")
    new = TokenCorpus.open(tmp_path / "corpus")
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    for shard in manifest["shards"]:
        assert len(shard.pop("sha256")) == 64
    (tmp_path / "corpus" / "manifest.json").write_text(json.dumps(manifest))

    old = TokenCorpus.open(tmp_path / "corpus")

    assert old.identity() == new.identity()
    assert np.array_equal(old.tokens(np.array([0])).ids, new.tokens(np.array([0])).ids)


def test_a_corpus_of_more_or_fewer_cells_than_it_says_is_refused(cell_files: list[Path], tmp_path: Path):
    manifest = build_corpus(cell_files, tmp_path / "corpus")
    (tmp_path / "corpus" / "manifest.json").write_text(json.dumps({**manifest, "n_cells": manifest["n_cells"] + 1}))

    with pytest.raises(ValueError, match=r"must hold the 101 cells that manifest\.json says\. Got 100\."):
        TokenCorpus.open(tmp_path / "corpus")


@pytest.mark.parametrize("offsets", [[0, 5, 3, 6], [0, 2, 4, 700]], ids=["backwards", "beyond the values"])
def test_lists_outside_the_values_are_refused(offsets: list[int], vocabulary: GeneVocabulary, tmp_path: Path):
    folder = tmp_path / "genecorpus"
    write_dataset(folder, CELLS, n_files=1)
    shard = folder / "data-00000-of-00001.arrow"
    table = pa.record_batch([pa.array([[2, 3], [4, 5], [6, 7]], LISTS)], ["input_ids"])
    with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_batch(table)
    right, wrong = (np.array(numbers, dtype=np.int32).tobytes() for numbers in ([0, 2, 4, 6], offsets))
    assert shard.read_bytes().count(right) == 1
    shard.write_bytes(shard.read_bytes().replace(right, wrong))

    with pytest.raises(ValueError, match="must follow each other within its .* values|larger than values array"):
        TokenCorpus.open(folder, vocabulary=vocabulary)


def test_a_link_or_a_name_outside_the_folder_is_refused(vocabulary: GeneVocabulary, tmp_path: Path):
    folder = tmp_path / "genecorpus"
    write_dataset(folder, CELLS, n_files=1)
    shard = folder / "data-00000-of-00001.arrow"
    shard.rename(tmp_path / "elsewhere.arrow")
    shard.symlink_to(tmp_path / "elsewhere.arrow")
    with pytest.raises(ValueError, match="must be a regular file"):
        TokenCorpus.open(folder, vocabulary=vocabulary)

    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../elsewhere.arrow"}]}))
    with pytest.raises(ValueError, match=r"must lie in it\. state\.json names"):
        TokenCorpus.open(folder, vocabulary=vocabulary)
