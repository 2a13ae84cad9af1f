"""Sorting the first keys, and compiling wherever the package lies."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.data.tokens._ranking import rank_rows, sort_first


def sorted_first(keys: np.ndarray, k: int) -> list[int]:
    sort_first(keys, k, np.empty_like(keys), np.empty(2**11, dtype=np.int32))
    return keys[:k].tolist()


@pytest.mark.parametrize("k", [1, 2, 500, 3000])
@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda rng, n: np.ones(n), id="all tied"),
        pytest.param(lambda rng, n: np.where(np.arange(n) == 7, 1e6, 1.0), id="tied but for an outlier"),
        pytest.param(lambda rng, n: rng.poisson(1.0, n), id="few values"),
        pytest.param(lambda rng, n: rng.lognormal(0, 3, n), id="all different"),
        pytest.param(lambda rng, n: 1 + rng.random(n) * 1e-6, id="nearly equal"),
        pytest.param(lambda rng, n: 10.0 ** rng.integers(-30, 30, n), id="sixty orders of magnitude"),
        pytest.param(lambda rng, n: np.arange(n), id="ascending"),
        pytest.param(lambda rng, n: -np.arange(n), id="descending"),
        pytest.param(lambda rng, n: np.r_[1e30, 1 + rng.random(n - 1)], id="one digit holds all but one"),
    ],
)
def test_the_first_keys_are_sorted_whatever_the_values(draw: Any, k: int) -> None:
    rng = np.random.default_rng(0)
    high = np.abs(draw(rng, 3000)).astype(np.float32).view(np.uint32).astype(np.uint64)
    keys = (high << np.uint64(32)) | rng.permutation(3000).astype(np.uint64)
    expected = sorted(keys.tolist())[:k]

    assert sorted_first(keys, k) == expected


def test_the_whole_range_of_keys_is_sorted() -> None:
    keys = np.array([2**64 - 1, 0, 2**63, 1, 2**32], dtype=np.uint64)

    assert sorted_first(keys, 5) == [0, 1, 2**32, 2**63, 2**64 - 1]


@pytest.mark.parametrize("k", [1, 2, 7])
def test_no_key_at_all_is_sorted(k: int) -> None:
    keys = np.empty(0, dtype=np.uint64)

    assert sorted_first(keys, k) == []


@pytest.mark.parametrize("n_cells", [1, 2, 300])
def test_cells_are_ranked_together_as_each_on_its_own(n_cells: int) -> None:
    rng = np.random.default_rng(1)
    cells = sparse.csr_matrix(rng.poisson(0.7, (n_cells, 12)).astype(np.float32))
    columns = rng.permutation(np.r_[2:10, 3, 5, 0, 0]).astype(np.int32)  # two genes have two columns, two have none
    medians = np.r_[0.0, 0.0, rng.uniform(0.5, 2, 8), 0.0, 0.0]

    def ranked(parts: list[tuple[int, int]]) -> tuple[list, list, list]:
        ids, bits = np.empty((n_cells, 5), np.int32), np.empty((n_cells, 5), np.uint32)
        lengths = np.empty(n_cells, np.int32)
        for part in parts:
            rank_rows(
                cells.data, cells.indices, cells.indptr.astype(np.int64), columns, medians, part, ids, bits, lengths
            )
        return ids.tolist(), bits.tolist(), lengths.tolist()

    assert ranked([(0, n_cells)]) == ranked([(i, i + 1) for i in range(n_cells)])
