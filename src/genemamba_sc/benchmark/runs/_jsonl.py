"""Keep results as JSON lines, which several runs can append to and a killed one cannot spoil."""

import json
import os
from pathlib import Path
from typing import Any

from genemamba_sc._warn import warn

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Read all whole rows; a line cut short by a killed run is warned of and left out.

    Parameters
    ----------
    path
        The file; without it there are no rows.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        row = _object(line)
        if row is None:
            warn(f"{path}:{number}: not a whole JSON line, left out")
        else:
            rows.append(row)
    return rows


def _object(line: bytes) -> Row | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # ValueError: also bytes that are no UTF-8
        return None
    return found if isinstance(found, dict) else None


def append_row(path: Path, row: Row) -> None:
    """Append in a single write, so that several runs can share a file; a cut line before it is closed first.

    Parameters
    ----------
    path
        The file; its folder is made.
    row
        What is written, on one line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (json.dumps(row, sort_keys=True) + "\n").encode()
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)
