"""Say that something still runs, and for how long, while nothing else is said."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

LINE_EVERY = 10.0  # seconds between the lines of a log: they stay
MOVE_EVERY = 1.0  # seconds until the line of a terminal is written anew
_CLEAR = "\r\x1b[K"  # to the start of the line, and nothing behind it


@contextmanager
def still_running(what: str, *, line_every: float = LINE_EVERY, move_every: float = MOVE_EVERY) -> Iterator[None]:
    """Write to the standard error what runs, and for how many seconds, until what is done inside ends.

    On a terminal one line is written anew, and taken away at the end; elsewhere every line stays.

    Parameters
    ----------
    what
        What runs.
    line_every, move_every
        Seconds between two lines, and between two states of the line of a terminal.
    """
    stream = sys.stderr  # what is done inside may put another in its place
    if stream is None or getattr(stream, "closed", False):
        yield
        return
    moves = getattr(stream, "isatty", lambda: False)()  # what users put in its place may only write
    text = _state if moves else _line

    def say(shown: str) -> None:
        # A terminal that is gone must not cost what is done inside: whoever writes next meets the same error.
        with suppress(OSError, ValueError):
            stream.write(shown)
            stream.flush()

    try:
        with heartbeat(lambda seconds: say(text(what, seconds)), move_every if moves else line_every):
            yield
    finally:
        if moves:
            say(_CLEAR)


@contextmanager
def heartbeat(beat: Callable[[float], None], every: float) -> Iterator[None]:
    """Call a function every few seconds from a thread of its own, until what is done inside ends, however it ends.

    The thread has ended when the context has: nothing is called afterwards, nor at the same time as what follows.

    Parameters
    ----------
    beat
        Function of the seconds that have passed. If it cannot write (``OSError``, or ``ValueError`` where a file is
        closed), it is not called again: whoever writes next meets the same error, where it can be dealt with.
    every
        Seconds between two calls.
    """
    started, ended = time.perf_counter(), threading.Event()

    def run() -> None:
        while not ended.wait(every):
            try:
                beat(time.perf_counter() - started)
            except (OSError, ValueError):
                return

    thread = threading.Thread(target=run, name="genemamba heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _state(what: str, seconds: float) -> str:
    passed, columns = f": {duration(seconds)}", shutil.get_terminal_size().columns - 1
    # A line that wraps could not be taken back. What others write next begins at the start of the line.
    return _CLEAR + what[: max(0, columns - len(passed))] + passed + "\r"


def _line(what: str, seconds: float) -> str:
    return f"{what}: {duration(seconds)}\n"


def duration(seconds: float) -> str:
    """Give seconds in words, such as ``"1 h 1 min"``, ``"2 min 5 s"`` and ``"42 s"``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
