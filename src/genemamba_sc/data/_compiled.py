"""Compile the loops over cells that are run from several threads."""

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock, and keep the result on disk where any place can be written."""
    function = inspect.unwrap(function)  # under test, a type checker has wrapped it: only plain code compiles
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(nogil=True)(function)
