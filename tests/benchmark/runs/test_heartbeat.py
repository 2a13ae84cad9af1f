"""What takes long says that it runs, until it ends, is stopped or fails; and says nothing afterwards."""

import io
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from anndata import AnnData

from genemamba_sc.benchmark import Outcome, report
from genemamba_sc.benchmark.methods._methods import Method
from genemamba_sc.benchmark.runs import _progress as progress
from genemamba_sc.benchmark.runs._heartbeat import duration, heartbeat, still_running
from genemamba_sc.benchmark.runs._progress import Progress, alive, say

SHORT = 0.01


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait ten seconds at most: the machine may be busy."""
    deadline = time.monotonic() + 10
    while not is_so() and time.monotonic() < deadline:
        time.sleep(SHORT)
    assert is_so()


def beating() -> bool:
    return any(thread.name == "genemamba heartbeat" for thread in threading.enumerate())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_beats_with_the_seconds_that_have_passed_and_not_after_the_end():
    seen: list[float] = []
    with heartbeat(seen.append, SHORT):
        wait_until(lambda: len(seen) >= 3)
    n = len(seen)
    assert SHORT <= seen[0] and seen == sorted(seen)
    assert not beating()
    time.sleep(5 * SHORT)
    assert len(seen) == n


@pytest.mark.parametrize("error", [ValueError("no cells"), KeyboardInterrupt()])
def test_it_stops_when_what_runs_fails_or_is_interrupted(error: BaseException):
    with pytest.raises(type(error)), heartbeat(lambda seconds: None, SHORT):
        assert beating()
        raise error
    assert not beating()


def test_what_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]):
    with still_running("fit"):
        pass
    assert capsys.readouterr().err == ""


def test_each_beat_is_a_line_of_a_log(capsys: pytest.CaptureFixture[str]):
    lines: list[str] = []
    with still_running("fit", line_every=SHORT):
        wait_until(lambda: lines.extend(capsys.readouterr().err.splitlines()) or len(lines) >= 2)
    assert set(lines) == {"fit: 0 s"}


def test_a_terminal_shows_one_line_that_fits_and_is_taken_away(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr(sys, "stderr", terminal)
    with still_running("annotation, random, seed 0: genemamba", move_every=SHORT):
        wait_until(lambda: terminal.getvalue().count("\r") >= 2)
    shown = terminal.getvalue().split("\r\x1b[K")
    assert set(shown[1:-1]) == {"annotation, ra: 0 s\r"}
    assert (shown[0], shown[-1]) == ("", "")
    assert "\n" not in terminal.getvalue()


def test_a_stream_that_is_gone_ends_the_beats_and_not_the_work():
    def write(seconds: float) -> None:
        raise BrokenPipeError

    with heartbeat(write, SHORT):
        wait_until(lambda: not beating())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (42.0, "42 s"), (60.0, "1 min 0 s"), (3700.0, "1 h 1 min")]
)
def test_seconds_in_words(seconds: float, text: str):
    assert duration(seconds) == text


def test_a_function_of_the_users_is_not_called_from_another_thread(capsys: pytest.CaptureFixture[str]):
    begun, seen = Progress(1, 4, "fit", "", 9.0), []
    with alive(begun, seen.append):
        assert not beating()
    with alive(begun, say):
        assert beating()
    assert seen == [] and capsys.readouterr().err == ""


def test_a_report_says_what_runs_while_it_runs(
    cells: AnnData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    lines: list[str] = []
    monkeypatch.setattr(progress, "still_running", lambda what: still_running(what, line_every=SHORT))

    def load(self: Method) -> Any:
        def annotate(train: AnnData, test: AnnData, seed: int, options: object) -> Outcome:
            wait_until(lambda: lines.extend(capsys.readouterr().err.splitlines()) or len(lines) >= 2)
            return Outcome(np.full(test.n_obs, "B cell"), 0, {}, 0.5)

        return annotate

    monkeypatch.setattr(Method, "load", load)
    report(cells, "cell_type", methods=["lr_l2"], seeds=1)
    assert lines[:2] == ["[0/1] annotation, random, seed 0: lr_l2", "[0/1] annotation, random, seed 0: lr_l2: 0 s"]
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("[1/1, about 0 s left] annotation, random, seed 0: lr_l2: acc")
    )
    assert not beating()


class Gone(Terminal):
    """A terminal that was closed: nothing can be written any more."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, shown: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("I/O operation on closed file")])
def test_a_terminal_that_is_gone_costs_neither_the_result_nor_the_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stderr", Gone(error))
    with still_running("fit", move_every=SHORT):
        time.sleep(5 * SHORT)
    with pytest.raises(KeyError, match="own"), still_running("fit"):
        raise KeyError("own")
    assert not beating()


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_without_a_place_to_write_nothing_is_said(stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch):
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    done = []
    with still_running("fit", line_every=SHORT):
        time.sleep(3 * SHORT)
        done.append(1)
    assert done == [1]


def test_what_others_write_begins_at_the_start_of_the_moving_line(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with still_running("fit", move_every=SHORT):
        wait_until(lambda: "fit: 0 s" in terminal.getvalue())
        time.sleep(2 * SHORT)
        assert terminal.getvalue().endswith("fit: 0 s\r")
