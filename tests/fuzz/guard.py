"""What a reader may do with a damaged file: return, or refuse it in words of ours, in bounded time and memory."""

import faulthandler
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import genemamba_sc

# Of the processor: a busy machine says nothing about a reader. What waits without computing has six times as long.
SECONDS, BYTES = 10.0, 1 << 30
_WAITS = 6
# Exactly these: what libraries derive from them is theirs.
PROMISED = (
    ValueError, TypeError, KeyError, OSError, FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError,
    PermissionError,
)  # fmt: skip
_PACKAGE = str(Path(genemamba_sc.__file__).parent)


class TooLong(BaseException):
    """The time is over; no reader may catch this."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooLong(f"longer than {SECONDS} s")


@contextmanager
def limits():
    """Give what runs inside 10 seconds of the processor, and 1 GiB of address space beyond what the process has.

    A library that does not come back to Python cannot be interrupted: after two minutes the process ends.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    handlers = {number: signal.signal(number, _stop) for number in timers}
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, _WAITS * SECONDS)
    faulthandler.dump_traceback_later(2 * _WAITS * SECONDS, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        for number, timer in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, handlers[number])
        resource.setrlimit(resource.RLIMIT_AS, before)


def is_ours(error: BaseException, names: tuple[str, ...]) -> bool:
    """Whether an error is promised: its type, raised by a line of the package, with the name of the file."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    named = any(name in str(error) for name in names)
    return type(error) in PROMISED and last.filename.startswith(_PACKAGE) and named


def place(error: BaseException) -> str:
    """Name an error by its type, the last line of ours that it passed, and its last line."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours[-1:], frames[-1])]
    return f"{type(error).__name__} at {' < '.join(where)}"


class Tally:
    """Counts what became of the cases of one reader."""

    def __init__(self, name: str) -> None:
        self.name, self.cases, self.returned, self.refused, self.longest = name, 0, 0, 0, 0.0
        self.foreign: Counter[str] = Counter()
        self.finished = False
        self.examples: dict[str, str] = {}
        self._memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # A long run notes faults and goes on; the suite stops at the first.
        log = os.environ.get("GENEMAMBA_FUZZ_LOG")
        self._log = Path(log) if log else None
        self.write()  # so that a process that dies tells in which reader

    def case(self, read: Callable[[], Any], check: Callable[[Any], None], names: tuple[str, ...]) -> None:
        """Read a damaged file and judge what came of it."""
        start = time.process_time()
        self.cases += 1
        try:
            with warnings.catch_warnings(), limits():
                warnings.simplefilter("ignore")
                found = read()
            check(found)
            self.returned += 1
        except (Exception, TooLong) as error:  # noqa: BLE001 - which kinds there are is what the test asks
            if is_ours(error, names):
                self.refused += 1
            else:
                self._note(error)
        self.longest = max(self.longest, time.process_time() - start)
        if self.cases % 100 == 0:
            self.write()

    def _note(self, error: BaseException) -> None:
        if self._log is None:
            raise AssertionError(f"{self.name}: {place(error)}: {str(error)[:300]}") from error
        self.foreign[place(error)] += 1
        self.examples.setdefault(place(error), str(error)[:300])

    def write(self) -> None:
        """Write the counts to where the script that started the run looks for them."""
        if self._log is not None:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._memory
            kept = {key: value for key, value in vars(self).items() if not key.startswith("_")}
            name = f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower())}-{os.getpid()}.json"
            (self._log / name).write_text(json.dumps({**kept, "grown_mb": round(grown / 1024, 1)}))
