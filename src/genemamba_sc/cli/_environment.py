"""Prepare what a machine may lack and libraries rely on: a writable cache, a terminal that writes every character."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

# These keep compiled code, and scanpy cannot be imported where it finds no place for it.
_COMPILED = ("genemamba_sc", "scanpy")


def prepare_streams() -> None:
    """Replace characters that the encoding of a terminal or a log lacks by question marks, instead of crashing."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        if not encoding.startswith("utf") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def prepare_libraries() -> None:
    """Set what libraries read when they are imported; keep what the user has set."""
    # Threads that spin while they wait slow each other down many times over where cores are shared; OpenMP reads this
    # setting when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    give_compiled_code_a_place()


def give_compiled_code_a_place(packages: Iterable[Path] | None = None) -> Path | None:
    """Give numba a temporary folder for compiled code where it has no other, and say so on stderr.

    numba writes beside the code, or to the cache of the user. In a container without either it refuses to compile
    functions that ask for a cache, and scanpy fails to import.

    Parameters
    ----------
    packages
        Folders of the packages with code to compile; ``None`` means this package and scanpy.

    Returns
    -------
    The folder, which is removed when the process ends; ``None`` where numba already has a place.
    """
    packages = _folders() if packages is None else packages
    if _is_writable(_asked_for()) or _is_writable(_user_cache()) or all(map(_is_writable, packages)):
        return None
    # The folder belongs to this process alone: compiled code that others could write would be run unseen.
    folder = tempfile.mkdtemp(prefix="genemamba-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder
    print(
        "No place for compiled code can be written: neither the folders of the packages nor the user's cache. It is "
        "compiled again, for this run only. Set NUMBA_CACHE_DIR to a folder of yours to keep it.",
        file=sys.stderr,
    )
    return Path(folder)


def _folders() -> list[Path]:
    specs = [find_spec(name) for name in _COMPILED]  # finding is not importing
    return [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin is not None]


def _asked_for() -> Path | None:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    return Path(folder) if folder else None


def _user_cache() -> Path | None:
    """Return the folder where numba keeps what it compiles for a user; ``None`` for a user without a home."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", home))
    elif sys.platform == "darwin":
        folder = home / "Library" / "Caches"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return folder if folder.is_absolute() else None


def _is_writable(folder: Path | None) -> bool:
    """Return whether a folder can be written to, or can be created."""
    if folder is None:
        return False
    there = next(part for part in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(part))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
