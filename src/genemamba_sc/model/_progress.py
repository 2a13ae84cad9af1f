"""Name the steps that take long before the progress bar of the epochs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from numba.core import event
from scvi import settings
from scvi.utils import track

T = TypeVar("T")
P = ParamSpec("P")

# Seconds after which a bar of the compilation appears: small functions are compiled in less.
_DELAY = 1.0
_named = ContextVar("_named", default=False)


def watched(description: str, *, show: bool) -> Callable[[Sequence[T]], Iterator[T]]:
    """Return a function that yields what it is given and draws a progress bar meanwhile.

    Parameters
    ----------
    description
        What is done, in front of the bar.
    show
        Whether to draw it. It is not drawn either where ``scvi.settings.progress_bar_style`` is ``None``.
    """

    def watch(items: Sequence[T]) -> Iterator[T]:
        hidden = not show or settings.progress_bar_style is None
        yield from track(items, description=description, style="tqdm", disable=hidden)

    return watch


@contextmanager
def compilation_named(*, show: bool = True) -> Iterator[None]:
    """Draw a bar while kernels are compiled, which takes up to a minute the first time after an installation.

    Within another such context this one does nothing: whether a bar is drawn is the choice of the outer one.

    Parameters
    ----------
    show
        Whether to draw it. It is not drawn either where ``scvi.settings.progress_bar_style`` is ``None``.
    """
    outer = _named.get()
    reset = _named.set(True)
    try:
        if outer or not show or settings.progress_bar_style is None:
            yield
        else:
            with event.install_listener("numba:compile", _CompilationBar()):
                yield
    finally:
        _named.reset(reset)


def names_compilation(function: Callable[P, T]) -> Callable[P, T]:
    """Name the compilation within a function, unless its argument ``enable_progress_bar`` is false."""

    @wraps(function)
    def named(*args: P.args, **kwargs: P.kwargs) -> T:
        with compilation_named(show=bool(kwargs.get("enable_progress_bar", True))):
            return function(*args, **kwargs)

    return named


class _CompilationBar(event.Listener):
    """Count the functions that numba compiles, from the start of the outermost one to its end.

    Numba holds a lock meanwhile, so that threads come one after the other.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._bar: Any = None

    def on_start(self, event: event.Event) -> None:
        self._depth += 1
        if self._bar is None:
            name = "Compiling kernels (once after an installation)"
            self._bar = track(None, description=name, style="tqdm", delay=_DELAY, leave=False, unit=" functions")

    def on_end(self, event: event.Event) -> None:
        self._depth -= 1
        self._bar.update()
        if not self._depth:
            self._bar.close()
            self._bar = None
