"""Steps in processes of their own: forked from one that has imported everything, so that kills fall on the work."""

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

SECONDS = 180.0
_NOBODY = 65534


class Child:
    """A step in a process of its own, with what it says in a file.

    Parameters
    ----------
    work
        What it does.
    log
        For its stdout and stderr.
    most_bytes
        Largest file it may write; None for any.
    as_nobody
        Whether it gives up the rights of root.
    """

    def __init__(self, work: Callable[[], object], log: Path, most_bytes: int | None, as_nobody: bool) -> None:
        self.log, self.begun = log, time.monotonic()
        log.write_text("")
        self.pid = os.fork()
        if self.pid == 0:
            _be(work, log, most_bytes, as_nobody)

    def kill(self) -> None:
        """End it, as a machine that is switched off."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Give its exit code; that of a signal is negative, that of a process without end is -1000."""
        while time.monotonic() - self.begun < SECONDS:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        self.kill()
        os.waitpid(self.pid, 0)
        return -1000

    @property
    def said(self) -> str:
        """What it said."""
        return self.log.read_text(errors="replace")


def _be(work: Callable[[], object], log: Path, most_bytes: int | None, as_nobody: bool) -> None:
    """Do the work in the child, and end it without the parent's tidying."""
    code = 3
    try:
        stream = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
        if as_nobody:
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        code = int(work() or 0)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 3
    except (ValueError, OSError) as error:  # what the package promises of functions; commands say it themselves
        print(f"refused: {error}", file=sys.stderr)
        code = 1
    except BaseException:  # noqa: BLE001 - whatever it is, the parent reads it
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
