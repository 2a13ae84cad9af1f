"""Take note of the signals that ask a run to stop, so that it stops where it can go on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What schedulers send before they take a machine away; not every system has both.
OF_SCHEDULERS = ("SIGTERM", "SIGUSR1")
CTRL_C = "SIGINT"


class StopRequest:
    """Note whether somebody asked the run to stop.

    Signals reach the main thread only. Elsewhere nothing is noted, and signals do what they did before.

    Attributes
    ----------
    asked
        Whether a signal came that asks to stop.
    by_user
        Whether that was Ctrl-C.
    """

    def __init__(self) -> None:
        self.asked = False
        self.by_user = False
        self._before: dict[int, Any] = {}

    @contextmanager
    def listening(self, *names: str) -> Iterator[None]:
        """Note signals in place of being ended by them; afterwards they do what they did before.

        Parameters
        ----------
        *names
            Names of the signals. One that the process ignores stays ignored, as under ``nohup``.
        """
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        if threading.current_thread() is not threading.main_thread():
            numbers = []
        taken = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        for number in taken:
            self._before[number] = signal.signal(number, self._note)
        try:
            yield
        finally:
            for number in taken:
                handler = self._before.pop(number)
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def listen_again(self) -> None:
        """Take the signals back from a library that took them.

        Lightning's own handlers talk to other processes from within the signal, where these may be in the middle of
        another exchange; this one only takes a note.
        """
        for number in self._before:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.by_user:
            raise KeyboardInterrupt  # a second Ctrl-C does not wait
        self.asked, self.by_user = True, self.by_user or number == signal.SIGINT
