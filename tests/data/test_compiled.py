"""Compiling, also where nothing can be kept on disk."""

from types import SimpleNamespace
from typing import Any

import numba
import pytest

from genemamba_sc.data import _compiled


def test_where_nothing_can_be_written_code_is_compiled_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def without_a_place(**options: Any) -> Any:
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available")
        return numba.njit(**options)

    def double(x: float) -> float:
        return 2 * x

    monkeypatch.setattr(_compiled, "numba", SimpleNamespace(njit=without_a_place))

    assert _compiled.compiled(double)(4.0) == 8.0
    assert asked == [{"nogil": True, "cache": True}, {"nogil": True}]
