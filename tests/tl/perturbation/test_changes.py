"""What perturbations do to the list of genes of a cell: every list by hand."""

import numpy as np
import pytest

from genemamba_sc.data import Tokens
from genemamba_sc.tl.perturbation._changes import changes_of

# Cell 0: genes 5 6 7 with values 3 2 1. Cell 1: gene 6 with value 4. Cell 2: none.
TOKENS = Tokens(
    np.array([[5, 6, 7], [6, 1, 1], [1, 1, 1]], np.int32),
    np.array([[3, 2, 1], [4, 0, 0], [0, 0, 0]], np.float32),
    np.array([3, 1, 0], np.int32),
)


def lists(kind, genes, shift=0, width=9):
    """(cell, gene) -> the list afterwards, as pairs of gene and value."""
    found = {}
    for changes in changes_of(TOKENS, np.array(genes), kind, shift):
        after = changes.applied(TOKENS, width)
        for i, (row, gene) in enumerate(zip(changes.rows, changes.genes)):
            n = after.lengths[i]
            assert (after.ids[i, n:] == 1).all()
            assert not after.values[i, n:].any()
            found[int(row), int(gene)] = list(zip(after.ids[i, :n].tolist(), after.values[i, :n].tolist()))
    return found


def test_a_deleted_gene_is_gone_from_the_cells_that_have_it():
    assert lists("delete", [6, 9]) == {(0, 6): [(5, 3), (7, 1)], (1, 6): []}


def test_a_gene_at_the_top_takes_the_largest_value_and_is_put_in_where_it_was_not():
    assert lists("top", [7, 6]) == {
        (0, 7): [(7, 3), (5, 3), (6, 2)],
        (0, 6): [(6, 3), (5, 3), (7, 1)],
        (1, 7): [(7, 4), (6, 4)],
        (1, 6): [(6, 4)],
    }


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (1, [(5, 3), (7, 2), (6, 2)]),
        (2, [(7, 3), (5, 3), (6, 2)]),
        (99, [(7, 3), (5, 3), (6, 2)]),
        (10**30, [(7, 3), (5, 3), (6, 2)]),
        (-1, [(5, 3), (6, 2), (7, 1)]),
    ],
)
def test_a_shift_up_stops_at_the_first_place(shift, expected):
    assert lists("shift", [7], shift) == {(0, 7): expected}


def test_a_shift_down_takes_the_value_of_the_place_it_reaches():
    assert lists("shift", [5], -1) == {(0, 5): [(6, 2), (5, 2), (7, 1)]}
    assert lists("shift", [5], -9) == {(0, 5): [(6, 2), (7, 1), (5, 1)]}


def test_only_the_head_of_the_list_is_made_where_only_that_is_read():
    assert lists("top", [7], width=2) == {(0, 7): [(7, 3), (5, 3)], (1, 7): [(7, 4), (6, 4)]}
    assert lists("delete", [5], width=1) == {(0, 5): [(6, 2)]}


def test_the_first_place_that_differs_is_where_the_gene_leaves_or_arrives():
    (up,) = changes_of(TOKENS, np.array([7]), "shift", 1)
    (gone,) = changes_of(TOKENS, np.array([7]), "delete", 0)
    (new,) = changes_of(TOKENS, np.array([9]), "top", 0)
    assert [list(changes.first_place()) for changes in (up, gone, new)] == [[1], [2], [0, 0]]
