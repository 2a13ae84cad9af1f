"""Say on the standard error what is being done, how far it is, and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from genemamba_sc.benchmark.runs._heartbeat import still_running

_LINE_EVERY = 2.0  # seconds; steps take few of them


class Steps:
    """Name the steps of a command.

    On a terminal a line moves while a step runs; elsewhere a line is written when it begins, and one every two seconds.

    Parameters
    ----------
    total
        Number of steps.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    @contextmanager
    def __call__(self, what: str, *, speaks: bool = False) -> Iterator[None]:
        """Name a step while it runs.

        Parameters
        ----------
        what
            What is done.
        speaks
            Whether the step shows progress of its own, so that none is to be drawn over it.
        """
        self.done += 1
        name, start = f"[{self.done}/{self.total}] {what}", time.perf_counter()
        console = Console(file=sys.stderr, highlight=False, markup=False)
        if speaks:
            print(name, file=sys.stderr, flush=True)
            yield
        elif not console.is_terminal:
            print(name, file=sys.stderr, flush=True)
            with still_running(name, line_every=_LINE_EVERY):
                yield
        else:
            with _moving(console) as progress:
                progress.add_task(name, total=None)
                yield
            print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def _moving(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
