"""Steps are named on the standard error, in order; nothing is drawn where there is no terminal."""

import sys
import time

import pytest

from genemamba_sc.cli import _steps
from genemamba_sc.cli._steps import Steps


def test_steps_are_numbered_and_named(capsys: pytest.CaptureFixture[str]):
    step = Steps(2)
    with step("load [torch]"):
        pass
    with step("train", speaks=True):
        sys.stdout.write("a result")
    told = capsys.readouterr()
    assert told.err == "[1/2] load [torch]\n[2/2] train\n"
    assert told.out == "a result"


def test_a_step_that_fails_lets_the_error_through(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match="no cells"), Steps(1)("read"):
        raise ValueError("no cells")
    assert capsys.readouterr().err == "[1/1] read\n"


def test_a_long_step_says_that_it_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_steps, "_LINE_EVERY", 0.01)
    lines: list[str] = []
    deadline = time.monotonic() + 10
    with Steps(1)("read"):
        while len(lines) < 2 and time.monotonic() < deadline:
            lines += capsys.readouterr().err.splitlines()
    assert lines[:2] == ["[1/1] read", "[1/1] read: 0 s"]
