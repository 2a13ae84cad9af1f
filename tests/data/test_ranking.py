"""Sorting the first keys, and compiling wherever the package lies."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from genemamba_sc.data import _ranking
from genemamba_sc.data._ranking import rank_rows, sort_first


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
    ],
)
def test_the_first_keys_are_sorted_whatever_the_values(draw: Any, k: int) -> None:
    rng = np.random.default_rng(0)
    high = np.abs(draw(rng, 3000)).astype(np.float32).view(np.uint32).astype(np.uint64)
    keys = (high << np.uint64(32)) | rng.permutation(3000).astype(np.uint64)
    expected = sorted(keys.tolist())[:k]

    sort_first(keys, k)

    assert keys[:k].tolist() == expected


def test_rows_of_keys_are_sorted_each_on_its_own() -> None:
    keys = np.array([[5, 1, 4, 0, 3], [9, 8, 7, 2, 6]], dtype=np.uint64)

    sort_first(keys, 2)

    assert keys[:, :2].tolist() == [[0, 1], [2, 6]]


def test_the_whole_range_of_keys_is_sorted() -> None:
    keys = np.array([2**64 - 1, 0, 2**63, 1, 2**32], dtype=np.uint64)

    sort_first(keys, 5)

    assert keys.tolist() == [0, 1, 2**32, 2**63, 2**64 - 1]


@pytest.mark.parametrize("k", [1, 2, 7])
def test_no_key_at_all_is_sorted(k: int) -> None:
    keys = np.empty(0, dtype=np.uint64)

    sort_first(keys, k)

    assert keys.size == 0


@pytest.mark.parametrize("n_cells", [1, 31, 32, 33, 300])
def test_cells_of_several_chunks_are_ranked_as_cells_of_one(n_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    cells = sparse.csr_matrix(rng.poisson(0.7, (n_cells, 12)).astype(np.float32))
    columns = rng.permutation(np.r_[2:10, 3, 5, 0, 0]).astype(np.int32)  # two genes have two columns, two have none
    medians = np.r_[0.0, 0.0, rng.uniform(0.5, 2, 8), 0.0, 0.0]

    def ranked(chunk: int) -> tuple[list, list, list]:
        monkeypatch.setattr(_ranking, "_CHUNK", chunk)
        ids, bits = np.empty((n_cells, 5), np.int32), np.empty((n_cells, 5), np.uint32)
        lengths = np.empty(n_cells, np.int32)
        indptr = cells.indptr.astype(np.int64)
        rank_rows(cells.data, cells.indices, indptr, columns, medians, (0, n_cells), ids, bits, lengths)
        return ids.tolist(), bits.tolist(), lengths.tolist()

    assert ranked(32) == ranked(n_cells) == ranked(1)


def test_where_nothing_can_be_written_code_is_compiled_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = _ranking.numba.njit
    asked = []

    def without_a_place(**options: Any) -> Any:
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available")
        return njit(**options)

    def double(x: float) -> float:
        return 2 * x

    monkeypatch.setattr(_ranking.numba, "njit", without_a_place)

    assert _ranking.compiled(double)(4.0) == 8.0
    assert asked == [{"nogil": True, "cache": True}, {"nogil": True}]
