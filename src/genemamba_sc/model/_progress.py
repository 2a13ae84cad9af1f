"""Name the steps that take long before the progress bar of the epochs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from threading import RLock
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
    """Draw a bar while kernels are compiled, which may take a minute the first time after an installation.

    Within another such context this one does nothing: whether a bar is drawn is the choice of the outer one. Threads
    share one bar.

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
            with _bar.listening():
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

    Numba tells of all threads, also of a compilation that another one began before anybody listened.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._users = self._depth = 0
        self._bar: Any = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen until the last one has left who listens."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                event.register("numba:compile", self)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    event.unregister("numba:compile", self)
                    self._close()

    def on_start(self, event: event.Event) -> None:
        with self._lock:
            if not self._users:
                return
            self._depth += 1
            if self._bar is None:
                name = "Compiling kernels (once after an installation)"
                self._bar = track(None, description=name, style="tqdm", delay=_DELAY, leave=False, unit=" functions")

    def on_end(self, event: event.Event) -> None:
        with self._lock:
            if self._bar is None:
                return
            self._depth -= 1
            self._bar.update()
            if not self._depth:
                self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._depth = None, 0


_bar = _CompilationBar()
