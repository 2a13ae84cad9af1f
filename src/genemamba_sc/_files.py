"""Writing so that nothing is lost or half-written: a temporary name first, then a rename."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends without an error.

    Parameters
    ----------
    path
        The file to write. Its folder must exist.

    Raises
    ------
    OSError
        If the folder does not exist, cannot be written to, or the disk is full; whatever stood at ``path`` stays.
    """
    target = Path(os.path.realpath(path))  # a link stays, what it points to is replaced
    _check_folder(target.parent)
    # The suffix stays: writers choose compression by it.
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix="".join(target.suffixes[-2:]), dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that takes its place when the block ends without an error.

    Parameters
    ----------
    path
        The folder to write; what stood there before is removed only after the new one is complete.

    Raises
    ------
    OSError
        If the parent cannot be written to or the disk is full; whatever stood at ``path`` stays.
    """
    target = Path(os.path.realpath(path))  # a link stays, what it points to is replaced
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_folder(target.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    old = temporary.with_name(temporary.name + "-old")
    try:
        yield temporary
        # Writers that use temporary files of their own leave them to their owner alone.
        for path in (temporary, *temporary.rglob("*")):
            os.chmod(path, (0o777 if path.is_dir() else 0o666) & ~_umask())
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
    finally:
        if old.exists() and not target.exists():  # an error or an interrupt between the two renames
            os.replace(old, target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_writable(path: str | Path) -> None:
    """Refuse early, before hours of work, a file that could not be written at the end.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to, or ``path`` is a folder.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder. Give the name of a file to write.")
    _check_folder(Path(path).parent)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {folder} does not exist. Create it, or choose another place to write to.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder {folder} cannot be written to. Choose another place to write to.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
