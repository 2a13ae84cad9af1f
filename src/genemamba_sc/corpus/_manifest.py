"""Read the manifest, which says what a corpus is made of."""

import json
import stat
from pathlib import Path
from typing import Any

MANIFEST_FILE = "manifest.json"
GENES_FILE = "genes.tsv"
FORMAT = "genemamba_sc corpus"
FORMAT_VERSION = 1


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of a corpus.

    Parameters
    ----------
    folder
        Folder of the corpus.

    Raises
    ------
    ValueError
        If the manifest is damaged, of another format, or of a newer version.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}). Copy the corpus again, or tokenize again.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a corpus of tokens. Give the folder that genemamba tokenize wrote.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {manifest.get('format_version')}; this package reads {FORMAT_VERSION}. "
            "Upgrade genemamba-sc, or tokenize again."
        )
    return manifest


def require_regular(file: Path, folder: Path, named_by: str) -> None:
    """Refuse a file of a corpus that is missing, outside its folder, or no regular file (a link, a pipe, a device).

    Parameters
    ----------
    file
        The file. It is checked before it is opened, because opening a pipe would wait for ever.
    folder
        Folder of the corpus.
    named_by
        Name of the file that names it.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is anything but a regular file in the folder.
    """
    if file.parent != folder or file.name in ("", ".", ".."):
        raise ValueError(f"The files of {folder} must lie in it. {named_by} names {str(file)[:200]}. Copy it again.")
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{file} is missing, which {named_by} names. Copy the corpus again.") from None
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"{file} must be a regular file. It is {stat.filemode(mode)}, such as a link, a pipe or a folder. "
            "Copy the file itself there."
        )
