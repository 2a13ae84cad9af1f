"""Threads of the BLAS: one inside, as many as before outside, whatever happens; PyTorch's are left alone."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from genemamba_sc._blas_threads import one_blas_thread
from genemamba_sc.training import _multinomial
from genemamba_sc.training._linear import LabelledCells


@pytest.fixture(autouse=True)
def two_threads_before():
    """Suites run with one thread, and the limit would change nothing."""
    with threadpool_limits(2, user_api="blas"):
        if not blas_threads():
            pytest.skip("threadpoolctl knows no BLAS here")
        assert set(blas_threads()) == {2}
        yield


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_one_thread_inside_and_as_many_as_before_outside():
    before, of_torch = blas_threads(), torch.get_num_threads()
    with one_blas_thread():
        assert blas_threads() == [1] * len(before)
        assert torch.get_num_threads() == of_torch
    assert blas_threads() == before
    assert torch.get_num_threads() == of_torch


def test_the_number_comes_back_after_an_error():
    before = blas_threads()
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert blas_threads() == before


def test_the_number_comes_back_when_the_last_of_two_that_overlap_leaves():
    before = blas_threads()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() == [1] * len(before)
    second.__exit__(None, None, None)
    assert blas_threads() == before


def test_a_fit_runs_with_one_thread(monkeypatch: pytest.MonkeyPatch):
    seen = []

    def watching(*args, **kwargs):
        seen.extend(blas_threads())
        return minimize(*args, **kwargs)

    minimize = _multinomial.minimize
    monkeypatch.setattr(_multinomial, "minimize", watching)
    features = np.eye(4, dtype=np.float32)
    _multinomial.multinomial(LabelledCells(features, np.array([0, 0, 1, 1]), None), 1.0, 5)
    assert seen == [1] * len(blas_threads())
