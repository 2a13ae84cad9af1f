"""Folders of weights, ours and others': file names, checksums, reading with care, and what may be replaced.

JSON and safetensors only: never a pickle, never code.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from genemamba_sc._digests import sha256_of

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# Entry of a configuration that holds the checksum of all the others.
_SEAL = "config_sha256"


def check_sha256(path: Path, expected: object) -> None:
    """Refuse a file that is missing, or not the one its checksum was taken of.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If its checksum is another one.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} lacks {path.name}, which {CONFIG_FILE} names. Copy the whole folder again."
        )
    if sha256_of(path) != expected:
        raise ValueError(
            f"{path} does not match the checksum in {CONFIG_FILE}: it is truncated, damaged or of another folder. "
            "Copy the whole folder again."
        )


def sealed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Add the checksum of a configuration to it, over all its other entries."""
    return {**config, _SEAL: _seal_of(config)}


def check_seal(config: Mapping[str, Any], path: Path) -> bool:
    """Compare a configuration with its checksum.

    Returns
    -------
    Whether it has one; those that older versions wrote have none.

    Raises
    ------
    ValueError
        If it is another one: an entry was edited or damaged.
    """
    if _SEAL not in config:
        return False
    if config[_SEAL] != _seal_of(config):
        raise ValueError(
            f"{path} does not match its own checksum: it was edited or damaged. Copy the whole folder again."
        )
    return True


def _seal_of(config: Mapping[str, Any]) -> str:
    entries = {key: value for key, value in config.items() if key != _SEAL}
    return hashlib.sha256(json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_replaceable(
    target: Path, *, overwrite: bool, files: Collection[str], is_own: Callable[[Any], bool], what: str
) -> None:
    """Refuse a place that must not be written to: only a folder of ours, and nothing else in it, is ever replaced.

    Parameters
    ----------
    target
        Where a folder is to be written.
    overwrite
        Whether an existing one may be replaced.
    files
        Names that such a folder may hold.
    is_own
        Tells whether a ``config.json`` is of this kind.
    what
        The kind, in words.

    Raises
    ------
    FileExistsError
        If something stands there and ``overwrite`` is off, or it is anything but such a folder.
    """
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists already. Choose another folder, or pass overwrite=True to replace it.")
    if not target.is_dir():
        raise FileExistsError(f"{target} is a file, so it is not replaced by a folder. Choose another name.")
    foreign = sorted(path.name for path in target.iterdir() if path.name not in files)
    if foreign:
        raise FileExistsError(
            f"{target} exists and holds what is no part of {what} ({', '.join(foreign[:3])}), so it is not replaced. "
            "Choose another folder."
        )
    if any(target.iterdir()) and not _holds_own(target / CONFIG_FILE, is_own):
        raise FileExistsError(f"{target} exists and is not {what}, so it is not replaced. Choose another folder.")


def _holds_own(path: Path, is_own: Callable[[Any], bool]) -> bool:
    try:
        return is_own(read_json(path))
    except (OSError, ValueError):
        return False


def write_json(path: Path, value: Any) -> None:
    """Write what JSON holds; numbers must be finite."""
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"A checkpoint folder needs {path.name}; {path.parent} has none. Give the folder that holds it."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no readable JSON ({str(error)[:200]}): it is truncated or damaged. Copy it again."
        ) from error
