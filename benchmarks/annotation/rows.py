"""Results as JSON lines: one row per (set, split, held_out, seed, method)."""

import json
import os
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]
KEY = ("set", "split", "held_out", "seed", "method")


def key_of(row: Row) -> tuple[Any, ...]:
    """What makes a row unique."""
    return tuple(row[name] for name in KEY)


def read_rows(path: Path) -> list[Row]:
    """All whole rows; a line cut short by a killed run is named on stderr and left out."""
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}:{number}: not a whole JSON line, left out", file=sys.stderr)
    return rows


def append_row(path: Path, row: Row) -> None:
    """Append in a single write, so that several runs can share a file; a cut line before it is closed first."""
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
