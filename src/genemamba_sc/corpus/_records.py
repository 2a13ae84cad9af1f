"""Records of finished work in an unfinished corpus: with a digest of themselves and of the files that they tell of."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genemamba_sc._digests import sha256_of
from genemamba_sc._files import replacing_file

_FILES, _OWN = "files", "sha256_of_record"


def write_record(path: Path, content: Mapping[str, Any], files: Sequence[Path] = ()) -> None:
    """Note that work is done; this is written last.

    Parameters
    ----------
    path
        The record.
    content
        What the work tells.
    files
        What the work left, in the folder of the record.
    """
    record = {**content, _FILES: {file.name: sha256_of(file) for file in files}}
    with replacing_file(path) as temporary:
        temporary.write_text(json.dumps({**record, _OWN: _digest(record)}), encoding="utf-8")


def read_record(path: Path) -> dict[str, Any] | None:
    """Return what was noted; ``None`` where there is no record or it is not as it was written.

    Parameters
    ----------
    path
        The record.
    """
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.pop(_OWN, None) != _digest(record):
        return None
    return record


def noted_digest(record: Mapping[str, Any], file: Path) -> str | None:
    """Return the SHA-256 that a record notes of a file.

    Parameters
    ----------
    record
        What :func:`read_record` returned.
    file
        The file.
    """
    return record[_FILES].get(file.name)


def is_whole(record: Mapping[str, Any], file: Path) -> bool:
    """Tell whether a file is there and as it was when the record was written.

    Parameters
    ----------
    record
        What :func:`read_record` returned.
    file
        The file.
    """
    return file.is_file() and sha256_of(file) == noted_digest(record, file)


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
