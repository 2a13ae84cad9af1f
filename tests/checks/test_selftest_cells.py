"""Cells beside a checkpoint: written once, the same everywhere, and only for these weights."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse

from genemamba_sc import EncoderConfig, GeneVocabulary, Pretrained, read_pretrained, write_pretrained
from genemamba_sc.checks._selftest_cells import (
    _is_fit,
    embed_tokens,
    read_reference_cells,
    tokens_of,
    write_reference_cells,
)
from genemamba_sc.data import Tokens, query_source
from genemamba_sc.nn import BiMambaEncoder

Cells = Callable[..., AnnData]
CPU = torch.device("cpu")


@pytest.fixture
def folder(make_cells: Cells, tmp_path: Path) -> Path:
    vocabulary = GeneVocabulary.from_anndata(make_cells())
    config = EncoderConfig(vocab_size=vocabulary.size, d_model=8, n_layer=2, headdim=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = dict(BiMambaEncoder(config).state_dict())
    write_pretrained(tmp_path / "mini", Pretrained(config, encoder, {}, vocabulary, 30, {}, [], "mini"))
    return tmp_path / "mini"


@pytest.fixture
def columns(make_cells: Cells, folder: Path) -> np.ndarray:
    return query_source(make_cells(), read_pretrained(folder).vocabulary, 30, {}).columns


def test_what_is_written_is_what_is_read(folder: Path, make_cells: Cells, columns: np.ndarray):
    counts = make_cells().X
    assert write_reference_cells(folder, counts, columns, 4) == folder / "selftest.safetensors"
    first = (folder / "selftest.safetensors").read_bytes()
    write_reference_cells(folder, counts, columns, 4)
    assert (folder / "selftest.safetensors").read_bytes() == first
    cells = read_reference_cells(folder)
    assert (cells.ids.shape[0], cells.lengths.shape, cells.embeddings.shape) == (4, (4,), (4, 8))
    pretrained = read_pretrained(folder)
    tokens = tokens_of(pretrained, cells.expression, cells.columns)
    assert np.array_equal(tokens.ids, cells.ids) and np.array_equal(tokens.lengths, cells.lengths)
    own = embed_tokens(pretrained, tokens, CPU, "chunked", torch.float64)
    np.testing.assert_allclose(cells.embeddings, own.numpy(), rtol=1e-5, atol=1e-6)


def test_nobodys_random_numbers_are_drawn(folder: Path, make_cells: Cells, columns: np.ndarray):
    before = torch.get_rng_state()
    write_reference_cells(folder, make_cells().X, columns, 4)
    assert torch.equal(before, torch.get_rng_state())


def test_cells_on_the_edge_of_a_bin_are_not_taken():
    values = np.array([[1.1, 0.0], [np.sqrt(2), 1.1], [2.00001, 1.1], [0.0, 0.0]], dtype=np.float32)
    tokens = Tokens(np.full((4, 2), 2, np.int32), values, np.array([1, 2, 2, 0], np.int32))
    assert _is_fit(tokens).tolist() == [True, False, False, False]


def test_too_few_cells_are_refused(folder: Path, make_cells: Cells, columns: np.ndarray):
    with pytest.raises(ValueError, match=r"5 cells are to be kept\. Got 0 fit ones\. Pass more cells, or keep fewer"):
        write_reference_cells(folder, sparse.csr_matrix((9, 40), dtype=np.float32), columns, 5)
    assert "selftest.safetensors" not in os.listdir(folder)


def test_a_file_of_other_weights_or_damaged_is_refused(folder: Path, make_cells: Cells, columns: np.ndarray):
    with pytest.raises(FileNotFoundError, match=r"no selftest\.safetensors lies beside the weights"):
        read_reference_cells(folder)
    path = write_reference_cells(folder, make_cells().X, columns, 4)
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    with pytest.raises(ValueError, match=r"selftest\.safetensors is damaged .* Copy it again"):
        read_reference_cells(folder)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"is damaged \(its arrays are not those that were written\)\. Copy it again"):
        read_reference_cells(folder)
    path.write_bytes(whole)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"belongs to other weights than those beside it\. Write it again"):
        read_reference_cells(folder)


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"lengths": np.array([9, 9, 9, 99], np.int32)}, "a cell is longer than its tokens"),
        ({"starts": np.array([0, 5, 3, 4, 9], np.int32)}, "its cells do not follow one another"),
        ({"values": np.ones(3, np.float32)}, "its genes are not as many as their values"),
        ({"embeddings": np.full((4, 8), np.nan, np.float32)}, "values that are not finite"),
        ({"embeddings": np.ones((3, 8), np.float32)}, "different numbers of cells"),
        ({"genes": np.ones(3, np.float64)}, "genes is float64 with 1 axes"),
    ],
)
def test_arrays_of_a_file_without_a_digest_must_fit_one_another(
    changed: dict[str, np.ndarray], told: str, folder: Path, make_cells: Cells, columns: np.ndarray
):
    path = write_reference_cells(folder, make_cells().X, columns, 4)
    with safe_open(path, framework="numpy") as stream:
        arrays = {name: stream.get_tensor(name) for name in stream.keys()}
        facts = json.loads(stream.metadata()["selftest"])
    del facts["arrays_sha256"]
    save_file(arrays, path, metadata={"selftest": json.dumps(facts)})
    read_reference_cells(folder)
    save_file(arrays | changed, path, metadata={"selftest": json.dumps(facts)})
    with pytest.raises(ValueError, match=rf"selftest\.safetensors is damaged \(.*{told}"):
        read_reference_cells(folder)


def test_a_checkpoint_with_these_files_is_replaced_on_request(folder: Path, make_cells: Cells, columns: np.ndarray):
    write_reference_cells(folder, make_cells().X, columns, 4)
    write_pretrained(folder, read_pretrained(folder), overwrite=True)
    assert "selftest.safetensors" not in os.listdir(folder)  # it was of the weights before
