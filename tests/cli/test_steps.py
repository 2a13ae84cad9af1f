"""Steps are named on the standard error, in order; nothing is drawn where there is no terminal."""

import sys

import pytest

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
