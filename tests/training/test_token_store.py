"""Tokens without their padding are those that went in."""

import numpy as np
import pytest

from genemamba_sc._constants import PAD_ID
from genemamba_sc.data import Tokens
from genemamba_sc.training._token_store import TokenStore

FIRST = Tokens(
    ids=np.array([[5, 2, 0], [0, 0, 0], [7, 3, 4]], dtype=np.int32),
    values=np.array([[9, 1, 0], [0, 0, 0], [8, 6, 2]], dtype=np.float32),
    lengths=np.array([2, 0, 3], dtype=np.int32),
)
SECOND = Tokens(
    ids=np.array([[6]], dtype=np.int32), values=np.array([[3]], dtype=np.float32), lengths=np.array([1], dtype=np.int32)
)


@pytest.mark.parametrize(("vocab_size", "kind"), [(8, np.uint16), (2**16, np.uint16), (2**16 + 1, np.int32)])
def test_cells_are_kept_without_pads_and_taken_in_any_order(vocab_size: int, kind: type) -> None:
    store = TokenStore.of([FIRST, SECOND], vocab_size)

    assert store.ids.dtype == kind
    assert store.ids.tolist() == [5, 2, 7, 3, 4, 6]
    assert store.values.tolist() == [9, 1, 8, 6, 2, 3]
    assert store.lengths.tolist() == [2, 0, 3, 1]
    taken = store.take(np.array([3, 0, 1, 0]))
    assert taken.ids.tolist() == [[6, PAD_ID], [5, 2], [PAD_ID, PAD_ID], [5, 2]]
    assert taken.values.tolist() == [[3, 0], [9, 1], [0, 0], [9, 1]]
    assert taken.lengths.tolist() == [1, 2, 0, 2]
    assert (taken.ids.dtype, taken.values.dtype, taken.lengths.dtype) == (np.int32, np.float32, np.int32)


def test_the_last_token_of_the_shortest_ids_is_kept() -> None:
    block = Tokens(np.array([[2**16 - 1]], np.int32), np.ones((1, 1), np.float32), np.array([1], np.int32))

    assert TokenStore.of([block], 2**16).take(np.array([0])).ids.tolist() == [[2**16 - 1]]


@pytest.mark.parametrize("rows", [[], [1]])
def test_no_cell_and_a_cell_without_genes_have_one_pad_at_most(rows: list[int]) -> None:
    taken = TokenStore.of([FIRST], 8).take(np.array(rows, dtype=np.int64))

    assert taken.ids.tolist() == [[PAD_ID]] * len(rows)
    assert taken.lengths.tolist() == [0] * len(rows)


def test_rows_count_as_those_of_an_array() -> None:
    store = TokenStore.of([FIRST], 8)

    assert store.take(np.array([-1])).ids.tolist() == [[7, 3, 4]]
    with pytest.raises(IndexError):
        store.take(np.array([3]))
