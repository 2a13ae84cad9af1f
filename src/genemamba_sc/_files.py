"""Write files so that nothing is lost or half-written: under a temporary name first, then by a rename."""

import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

# Error numbers of a disk that takes no more.
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
# Libraries that write for us put the number of the system's error into the text of their own.
_NUMBER = re.compile(r"(?:os error |errno = )(\d+)")
# Longer names leave no room for ours before them, and cannot be recovered.
_LONGEST = 200
_MOST_NAMES = 100  # to try, before a place counts as one without locks


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
    with _working(target) as work, naming_full_disk(target):
        work.new.touch()
        with _heeding(target):
            yield work.new
        os.chmod(work.new, 0o666 & ~_umask())
        os.replace(work.new, target)


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
    with _working(target) as work, naming_full_disk(target):
        work.new.mkdir()
        with _heeding(target):
            yield work.new
        # Writers that use temporary files of their own leave them to their owner alone.
        for part in (work.new, *work.new.rglob("*")):
            os.chmod(part, (0o777 if part.is_dir() else 0o666) & ~_umask())
        try:
            if target.exists():
                os.replace(target, work.old)
            os.replace(work.new, target)
        finally:
            if work.old.exists() and not target.exists():  # an error or an interrupt between the two renames
                os.replace(work.old, target)


def recover(path: str | Path) -> None:
    """Put back what a writer that died between its two renames left under a hidden name.

    A process that is killed at that moment leaves nothing at ``path``; the new content beside it is complete. Where
    something stands at ``path``, or nothing can be put there, the function does nothing.

    Parameters
    ----------
    path
        The file or folder that is to be read.
    """
    target = Path(os.path.realpath(path))
    if target.exists() or not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        return
    _clear_dead(target.parent)


@contextmanager
def only_writer(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file while something is written; the lock ends with the process, however that ends.

    Parameters
    ----------
    lock
        The lock file, which is removed at the end.
    what
        What is written, for the message.

    Raises
    ------
    FileExistsError
        If another process holds the lock.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = FileLock(lock, timeout=0)
    try:
        holder.acquire()
    except Timeout:
        raise FileExistsError(
            f"{what} must have one writer at a time. Another process is writing it now ({lock.name} is locked). "
            "Wait until it has finished, or choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        holder.release()


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


@dataclass(frozen=True)
class _Work:
    """Hold the hidden names of one writer: a locked file, its new content, and what stood there before."""

    folder: Path
    number: str
    name: str

    @property
    def lock(self) -> Path:
        return self.folder / f".writing-{self.number}.lock"

    @property
    def new(self) -> Path:
        return self.folder / f".writing-{self.number}-{self.name}"

    @property
    def old(self) -> Path:
        return self.folder / f".replaced-{self.number}-{self.name}"

    def remove(self) -> None:
        """Remove what is left of the work."""
        for path in (self.new, self.old):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def _working(target: Path) -> Iterator[_Work]:
    """Hold hidden names beside ``target``; what dead writers left there is cleared first."""
    _check_folder(target.parent)
    _clear_dead(target.parent)
    # The suffix stays: writers choose compression by it.
    name = target.name if len(os.fsencode(target.name)) <= _LONGEST else "".join(target.suffixes[-2:])[-_LONGEST:]
    work, lock = _hold(target.parent, name)
    try:
        yield work
    finally:
        work.remove()
        _release(work, lock)


def _hold(folder: Path, name: str) -> tuple[_Work, FileLock | None]:
    """Take names that nobody has, and lock them; go without a lock where the file system has none."""
    for _ in range(_MOST_NAMES):
        work = _Work(folder, secrets.token_hex(4), name)
        lock = FileLock(work.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # another writer that clears took it for one of the dead
            continue
        except (OSError, NotImplementedError):
            return work, None
        if work.lock.exists():
            return work, lock
        lock.release()
    return work, None  # a file system that makes no files, such as /proc: what writes there will say so


def _release(work: _Work, lock: FileLock | None) -> None:
    if lock is not None:
        lock.release()
    work.lock.unlink(missing_ok=True)


def _clear_dead(folder: Path) -> None:
    """Recover or remove what dead writers left: their locks went with them."""
    for path in folder.glob(".writing-*.lock"):
        number = path.name.removeprefix(".writing-").removesuffix(".lock")
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError, NotImplementedError):  # it lives, or nobody can tell
            continue
        for left in [*folder.glob(f".writing-{number}-*"), *folder.glob(f".replaced-{number}-*")]:
            _settle(_Work(folder, number, left.name.split(f"-{number}-", 1)[1]))
        _release(_Work(folder, number, ""), lock)


def _settle(work: _Work) -> None:
    """Complete what a dead writer began to put in place, and remove the rest."""
    target = work.folder / work.name
    if work.old.exists() and not target.exists():
        os.replace(work.new if work.new.exists() else work.old, target)
    work.remove()


@contextmanager
def naming_full_disk(target: Path) -> Iterator[None]:
    """Name the file, and the way out, where a disk is full, whichever library noticed it.

    Parameters
    ----------
    target
        The file or folder that is written in the block.

    Raises
    ------
    OSError
        If a disk is full.
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (found := _NUMBER.search(str(error))):
            number = int(found[1])
        if number is None or number not in _FULL:
            raise
        raise OSError(
            number,
            f"{os.strerror(number)}: {target} could not be written; what stood there stays. "
            "Free some space, or choose another place",
        ) from error


@contextmanager
def _heeding(target: Path) -> Iterator[None]:
    """Raise what a library could only print.

    HDF5 writes parts of a file when its objects are dropped, where Python can raise nothing: h5py prints a traceback,
    and a disk that was full only for that moment would leave a file without these parts.
    """
    before, unheard = (sys.excepthook, sys.unraisablehook), list[BaseException]()

    # The type of what the hook is given has a name for type checkers only; jaxtyping 0.2.34 looks it up all the same.
    def keep(unraisable: Any) -> None:
        if unraisable.exc_value is not None and "h5py" in repr(unraisable.object):
            unheard.append(unraisable.exc_value)
        else:
            before[1](unraisable)

    # Cython calls both, the first for a traceback of its own.
    sys.excepthook, sys.unraisablehook = lambda *_: None, keep
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = before
    if unheard:
        raise OSError(
            f"{target} could not be written ({unheard[0]}); what stood there stays. Free some space, or choose another "
            "place"
        )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {folder} does not exist. Create it, or choose another place to write to.")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder {folder} cannot be written to. Choose another place to write to.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
