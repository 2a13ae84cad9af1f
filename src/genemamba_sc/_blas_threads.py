"""Keep the threads of numpy's products from getting in the way of PyTorch's."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Give numpy and scipy one thread for their products, and the former number back afterwards.

    The threads of PyTorch and those of the BLAS of numpy know nothing of each other, and both wait for their next piece
    of work by spinning. A solver whose steps are small products of the one and of the other in turn then takes twice as
    long on two cores as on one. PyTorch's threads stay. The number holds for the whole process while it is set.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    # Looking for them takes longer than a small fit; numpy and scipy are loaded by whoever calls.
    return ThreadpoolController()
