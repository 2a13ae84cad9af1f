"""Cells by their hashes, and the file that carries them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._cell_hashes import (
    CellHashes,
    near_hashes,
    read_cell_hashes,
    token_hashes,
    write_cell_hashes,
)


def tokens_of(*cells: list[int]) -> Tokens:
    width = max(1, *(len(cell) for cell in cells))
    ids = np.array([cell + [1] * (width - len(cell)) for cell in cells], dtype=np.int32)
    return Tokens(ids, np.zeros(ids.shape, np.float32), np.array([len(cell) for cell in cells], np.int32))


def test_the_hash_is_that_of_the_ids_in_their_order_whatever_is_padded():
    found = token_hashes(tokens_of([5, 3, 2], [3, 5], [5, 3, 2, 9]))
    digest = hashlib.blake2b(np.array([5, 3, 2], "<i4").tobytes(), digest_size=8).digest()
    assert found.dtype == np.uint64
    assert found[0] == int.from_bytes(digest, "little")
    assert found[0] == token_hashes(tokens_of([5, 3, 2]))[0]
    assert len(set(found.tolist())) == 3


def test_the_near_hash_forgives_a_cut_an_order_and_some_missing_genes():
    cell = np.random.default_rng(0).permutation(np.arange(2, 2000))[:300].tolist()
    mild = [cell[1], cell[0], *cell[2:]]
    near = near_hashes(tokens_of(cell, cell[:64], mild, cell[100:]))
    assert near[0] == near[1] == near[2] != near[3]
    kept = [near_hashes(tokens_of(cell[:i] + cell[i + 1 :]))[0] == near[0] for i in range(64)]
    assert sum(kept) >= 50  # of 64 genes, 8 were chosen


def test_short_cells_have_near_hashes_of_their_own():
    near = near_hashes(tokens_of([2], [3], [], [2, 3]))
    assert len(set(near.tolist())) == 4


def hashes() -> CellHashes:
    exact, near = np.array([7, 2**64 - 1, 3], np.uint64), np.array([1, 2, 2**63], np.uint64)
    return CellHashes.of(exact, near, 50, np.array([1, 0, 1]), ("first.h5ad", "second.h5ad"))


def test_hashes_tell_nothing_of_the_order_of_the_cells():
    cells = hashes()
    assert cells.exact.tolist() == [3, 7, 2**64 - 1]
    assert cells.near.tolist() == [2**63, 1, 2]
    assert (cells.source.tolist(), cells.source.dtype, len(cells)) == ([1, 1, 0], np.uint8, 3)


def test_hashes_of_tokens_are_those_of_the_corpus():
    tokens = tokens_of([5, 3, 2], [9, 8])
    cells = CellHashes.from_tokens(tokens, 3)
    assert cells.exact.tolist() == sorted(token_hashes(tokens).tolist())
    assert set(cells.near.tolist()) == set(near_hashes(tokens).tolist())
    assert (cells.max_len, cells.sources, cells.source.tolist()) == (3, (), [0, 0])


def test_what_is_written_is_what_is_read_and_equal_hashes_are_equal_files(tmp_path: Path):
    for name in ("one", "two"):
        write_cell_hashes(tmp_path / name, hashes())
    read = read_cell_hashes(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for name in ("exact", "near", "source"):
        assert np.array_equal(getattr(read, name), getattr(hashes(), name))
        assert getattr(read, name).dtype == getattr(hashes(), name).dtype
    assert (read.max_len, read.sources) == (50, ("first.h5ad", "second.h5ad"))


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    save_file({"exact": np.zeros(2, np.uint64)}, tmp_path / "other")
    (tmp_path / "damaged").write_bytes(b"nothing")
    for name in ("other", "damaged"):
        with pytest.raises(ValueError, match=rf"{name} holds no hashes of cells .* of another kind\. Copy it"):
            read_cell_hashes(tmp_path / name)


def test_arrays_that_do_not_belong_together_are_refused():
    three, two = np.zeros(3, np.uint64), np.zeros(2, np.uint64)
    with pytest.raises(ValueError, match=r"one value per cell\. Got \[3, 2, 3\]\. Take all of the same cells"):
        CellHashes(three, two, 5, np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match=r"one of the 1 sources\. Got number 1\. Count them from 0, and name them all"):
        CellHashes(three, three, 5, np.array([0, 1, 0], np.uint8), ("one",))


def test_a_cell_of_no_source_and_a_length_that_is_none_are_named(tmp_path: Path):
    path = tmp_path / "cells.safetensors"
    arrays = {name: np.zeros(2, np.uint64) for name in ("exact", "near")} | {"source": np.array([0, 9], np.uint8)}
    for facts in (
        '{"max_len": 5, "sources": ["a"]}',
        '{"max_len": Infinity, "sources": []}',
        "[" * 5000,
        '{"max_len": "x"}',
    ):
        save_file(arrays, path, metadata={"cells": facts})
        with pytest.raises(ValueError, match=r"cells\.safetensors holds no hashes of cells \(.*Copy it again"):
            read_cell_hashes(path)
