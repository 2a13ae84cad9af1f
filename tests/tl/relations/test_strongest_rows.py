"""Strongest rows of each column: those of the whole table, whatever the blocks."""

import numpy as np
import pytest

from genemamba_sc.tl.relations._strongest_rows import StrongestRows


@pytest.mark.parametrize("block", [1, 2, 5])
def test_blocks_keep_what_the_whole_table_would(block):
    above = np.array([[1, 9, 3], [4, 2, 8], [5, 1, 7], [0, 3, 9], [2, 4, 6]], dtype=np.float32)
    rows, held = np.array([10, 11, 12, 13, 14]), StrongestRows.empty(3)
    for start in range(0, 5, block):
        part = slice(start, start + block)
        held = held.with_rows(rows[part], above[part] / 10, above[part], 2)

    pairs = held.pairs(np.array([20, 21, 22]), least=5.0)

    found = {(int(row), int(column)): (score, height) for row, column, score, height in pairs}
    assert {pair: height for pair, (_, height) in found.items()} == {(12, 20): 5, (10, 21): 9, (13, 22): 9, (11, 22): 8}
    assert all(score == pytest.approx(height / 10) for score, height in found.values())
