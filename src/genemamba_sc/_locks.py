"""One writer at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def only_writer(lock: Path, what: str) -> Iterator[None]:
    """Hold a lock file while something is written; it goes with the process, however that ends.

    Parameters
    ----------
    lock
        The lock file; removed at the end.
    what
        What is written, for the message.

    Raises
    ------
    FileExistsError
        If another process holds it.
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
