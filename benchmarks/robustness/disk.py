"""A disk that can be filled and made read-only: a small tmpfs, or limits of processes where none may be mounted."""

import os
import shutil
import subprocess
from pathlib import Path

_SIZE = 48 << 20


class Disk:
    """A place for outputs.

    Parameters
    ----------
    place
        Folder; made here, and removed by :meth:`close`.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.most_bytes, self.as_nobody = place, None, False
        place.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(place)]
        has_mount = shutil.which("mount") is not None
        self.is_mounted = has_mount and subprocess.run(command, capture_output=True, check=False).returncode == 0
        self.out = place / "out"
        self.out.mkdir()

    @property
    def kind(self) -> str:
        """How it is filled and made read-only, for the table."""
        if self.is_mounted:
            return f"a tmpfs of {_SIZE >> 20} MiB, filled by a file, and mounted anew as read-only"
        return (
            "RLIMIT_FSIZE for a full disk; for a read-only folder its rights, and the user nobody where root runs this"
        )

    def fill(self, left: int) -> None:
        """Leave so many bytes."""
        if not self.is_mounted:
            self.most_bytes = left
            return
        state = os.statvfs(self.place)
        with (self.place / "ballast").open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, max(1, state.f_bavail * state.f_frsize - left))

    def lock(self) -> None:
        """Make it read-only."""
        if self.is_mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(self.place)], check=True)
            return
        self.out.chmod(0o555)
        self.as_nobody = os.geteuid() == 0

    def free(self) -> None:
        """Undo both."""
        if self.is_mounted:
            subprocess.run(["mount", "-o", "remount,rw", str(self.place)], check=True)
        self.out.chmod(0o755)
        self.most_bytes, self.as_nobody = None, False
        (self.place / "ballast").unlink(missing_ok=True)

    def empty(self) -> None:
        """Remove all outputs."""
        shutil.rmtree(self.out)
        self.out.mkdir()

    def left_over(self) -> list[str]:
        """Names that only a writer at work may have."""
        signs = (".writing-", ".replaced-", ".unfinished")
        return sorted(
            path.name for path in self.out.rglob(".*") if path.name.startswith(signs) or path.suffix == ".lock"
        )

    def close(self) -> None:
        """Remove it."""
        if self.is_mounted:
            subprocess.run(["umount", str(self.place)], check=True)
        shutil.rmtree(self.place)
