"""Compile the kernels, and provide the exponential they share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Sums may be taken in any order and products contracted, otherwise no loop would use vector registers. NaN stays NaN:
# the flags that assume there is none are left out.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

_LOG2E = np.float32(1.4426950408889634)
_ONE = np.float32(1)
# 2^f - 1 over f in [-1/2, 1/2], by powers of f from the highest: fitted to (2^f - 1) / f, so that it is exact near 0.
_P6, _P5, _P4 = np.float32(1.5403530e-4), np.float32(1.3333558e-3), np.float32(9.6181291e-3)
_P3, _P2, _P1 = np.float32(5.5504109e-2), np.float32(2.4022651e-1), np.float32(6.9314718e-1)
_LOWEST, _HIGHEST = np.float32(-126), np.float32(127)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel without the interpreter's lock, and keep the result on disk where any place can be written."""
    return _jit(function, no_cfunc_wrapper=True)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile what only kernels call: without entrances from Python and C, which would have to be compiled, too."""
    return _jit(function, no_cfunc_wrapper=True, no_cpython_wrapper=True)


def _jit(function: Callable[..., Any], **wrappers: bool) -> Callable[..., Any]:
    function = inspect.unwrap(function)  # under test, a type checker has wrapped it: only plain code compiles
    # A part that several kernels link is one symbol, and which copy of it runs depends on what was compiled or loaded
    # first: the first process after an installation then rounds otherwise than all later ones. So none is linked.
    options: dict[str, Any] = {
        "nogil": True,
        "fastmath": _FASTMATH,
        "error_model": "numpy",
        "forceinline": True,
        **wrappers,
    }
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return numba.njit(**options)(function)
    # numba would take a stored kernel whose own file is unchanged, even if one that it calls has changed.
    file: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = _stamp()
    return dispatcher


@functools.cache
def _stamp() -> tuple[tuple[str, float, int], ...]:
    """Collect name, time and size of every file of kernels."""
    files = sorted(
        file for file in Path(__file__).parent.glob("_*.py") if file.stem == "_numba" or "_fused" in file.stem
    )
    return tuple((file.name, file.stat().st_mtime, file.stat().st_size) for file in files)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile into the caller: a loop uses no vector registers round a call, and a large function is compiled once."""
    return numba.njit(inline="always", error_model="numpy")(inspect.unwrap(function))


@intrinsic
def _nearest(typingctx: Any, x: Any) -> Any:
    """Round to the nearest whole number, as one instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.nearbyint", [ir.FloatType()]), arguments)

    return types.float32(types.float32), generate


@intrinsic
def _power_of_two(typingctx: Any, x: Any) -> Any:
    """Compute ``2^x`` of a whole number in [-126, 127] from its exponent bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        exponent = builder.add(builder.fptosi(arguments[0], word), ir.Constant(word, 127))
        return builder.bitcast(builder.shl(exponent, ir.Constant(word, 23)), ir.FloatType())

    return types.float32(types.float32), generate


@inlined
def exp2(x: np.float32) -> np.float32:
    """Compute ``2^x`` to 2e-7 of its value; below -126 it stays at 2^-126."""
    x = max(min(x, _HIGHEST), _LOWEST)
    whole: Any = _nearest(x)  # type: ignore[call-arg]  # the typing context is numba's
    f = x - whole
    p = ((((_P6 * f + _P5) * f + _P4) * f + _P3) * f + _P2) * f + _P1
    return (p * f + _ONE) * _power_of_two(whole)  # type: ignore[call-arg]


@inlined
def sigmoid(x: np.float32) -> np.float32:
    """Compute ``1 / (1 + e^-x)``."""
    return _ONE / (_ONE + exp2(-_LOG2E * x))
