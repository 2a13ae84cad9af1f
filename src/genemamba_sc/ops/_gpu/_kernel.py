"""Compile kernels with Triton, and say how exactly they multiply matrices."""

import inspect
from collections.abc import Callable
from typing import Any

import triton

from genemamba_sc.ops._precision import allows_tf32


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel at its first call."""
    return triton.jit(inspect.unwrap(function))  # under test, a type checker has wrapped it: only plain code compiles


def padded(size: int) -> int:
    """Return the width of a block that holds ``size`` channels: a power of two, at least 16, as matrix units need."""
    return max(16, triton.next_power_of_2(size))


def product_precision() -> str:
    """Name the precision of products of float32 matrices: as PyTorch's own are allowed to be.

    Without leave for TF32, three products of TF32 numbers keep the digits of float32.
    """
    return "tf32" if allows_tf32() else "tf32x3"
