"""Machines that lack what libraries rely on: a writable cache, an encoding with all letters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genemamba_sc.cli import main
from genemamba_sc.cli._environment import give_compiled_code_a_place

NOWHERE = Path(os.devnull) / "nowhere"  # nobody can write below it, not even root


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away the cache of the user, on each system; numba itself is told nothing that outlives the test."""
    for name in ("XDG_CACHE_HOME", "HOME", "USERPROFILE", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(NOWHERE))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")


@pytest.mark.usefixtures("no_cache")
def test_compiled_code_gets_a_folder_of_this_run_alone(capsys: pytest.CaptureFixture[str]):
    folder = give_compiled_code_a_place([NOWHERE])

    assert folder is not None and os.environ["NUMBA_CACHE_DIR"] == str(folder)
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700
    told = capsys.readouterr()
    assert told.out == ""
    assert "Set NUMBA_CACHE_DIR to a folder of yours to keep it." in told.err
    assert len(told.err.splitlines()) == 1


@pytest.mark.usefixtures("no_cache")
@pytest.mark.parametrize("place", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "packages"])
def test_a_place_that_can_be_written_is_left_to_numba(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if place == "XDG_CACHE_HOME" and sys.platform in ("win32", "darwin"):
        pytest.skip("this system has another name for it")
    if place != "packages":
        monkeypatch.setenv(place, str(tmp_path / "made" / "later"))

    assert give_compiled_code_a_place([tmp_path if place == "packages" else NOWHERE]) is None

    assert capsys.readouterr().err == ""
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("no_cache")
def test_a_folder_of_the_user_that_cannot_be_written_is_replaced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(NOWHERE))

    assert give_compiled_code_a_place([NOWHERE]) is not None


def test_the_folder_goes_with_the_process():
    code = (
        "import pathlib, sys; from genemamba_sc.cli._environment import give_compiled_code_a_place as give\n"
        f"print(give([pathlib.Path({str(NOWHERE)!r})]))"
    )
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "HOME", "USERPROFILE", "LOCALAPPDATA"), str(NOWHERE))
    environment = {**os.environ, **nowhere, "NUMBA_CACHE_DIR": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    folder = Path(done.stdout.strip())
    assert folder.name.startswith("genemamba-numba-")
    assert not folder.exists()


@pytest.mark.parametrize("arguments", [["--help"], ["annotate", "--help"], ["tokenize", "--help"]])
def test_help_needs_no_letters_beyond_ascii(arguments: list[str]):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "genemamba_sc", *arguments], capture_output=True, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("ascii").startswith("usage: genemamba")


def test_a_result_with_other_letters_is_written_in_ascii():
    code = (
        "import sys, types; from genemamba_sc.cli import _environment as e\n"
        "e.prepare_streams(); print('60 cells × 16'); print('×', file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert (done.stdout.split(), done.stderr.split()) == ([b"60", b"cells", b"?", b"16"], [b"?"])


def test_what_the_user_set_for_openmp_stays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert main(["info", "nowhere"]) == 1  # any command
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
