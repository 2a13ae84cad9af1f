"""Ask and set how exactly a GPU multiplies matrices of float32, by PyTorch's newer switch where it has one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def allows_tf32() -> bool:
    """Tell whether the user allows products of TF32 numbers, of 10 bits, in place of float32."""
    newer = getattr(torch.backends.cuda.matmul, "fp32_precision", None)
    # The older question raises an error where the newer switch was set.
    return torch.get_float32_matmul_precision() != "highest" if newer is None else newer == "tf32"


@contextmanager
def products(*, tf32: bool) -> Iterator[None]:
    """Multiply so inside, and as before afterwards."""
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):
        before = matmul.fp32_precision
        matmul.fp32_precision = "tf32" if tf32 else "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = before
    else:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
