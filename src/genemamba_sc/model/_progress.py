"""Name the steps that take long before the progress bar of the epochs."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from scvi import settings
from scvi.utils import track

T = TypeVar("T")


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
