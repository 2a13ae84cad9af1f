"""Keep the threads of numpy's products from getting in the way of PyTorch's."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = Lock()
# How many are inside, and what sets the former number again; threads of Python may overlap.
_inside = 0
_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Give numpy and scipy one thread for their products, and the former number back when the last one leaves.

    The threads of PyTorch and those of the BLAS of numpy know nothing of each other, and both wait for their next piece
    of work by spinning. A solver that takes small products of numpy and of PyTorch in turn then takes twice as long on
    two cores as on one. The threads of PyTorch stay where it brings a BLAS of its own, as its wheels for x86 do. The
    number holds for the whole process while it is set.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _limit
    with _lock:
        if not _inside:
            _limit = _libraries().limit(limits=1, user_api="blas")
        _inside += 1


def _leave() -> None:
    global _inside, _limit
    with _lock:
        _inside -= 1
        if not _inside:
            _limit.restore_original_limits()
            _limit = None


@cache
def _libraries() -> ThreadpoolController:
    # Looking for them takes longer than a small fit. Whoever calls has loaded numpy and scipy; later ones are not seen.
    return ThreadpoolController()
