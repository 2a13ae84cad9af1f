"""Read the manifest, which says what a corpus is made of."""

import stat
from pathlib import Path
from typing import Any

from genemamba_sc._json import Fields, quoted, read_object

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
        If the manifest is damaged, of another format, or of a newer version, or a field has another type than it must
        have.
    """
    path = folder / MANIFEST_FILE
    manifest = read_object(path)
    if manifest.values.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a corpus of tokens. Give the folder that genemamba tokenize wrote.")
    if manifest.values.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {quoted(manifest.values.get('format_version'))}; this package reads "
            f"{FORMAT_VERSION}. Upgrade genemamba-sc, or tokenize again."
        )
    _check_fields(manifest)
    return manifest.values


def _check_fields(manifest: Fields) -> None:
    """Refuse a manifest in which what is read later is missing or of another kind."""
    manifest.text("fingerprint"), manifest.text("vocabulary_fingerprint")
    manifest.optional_text("layer"), manifest.optional_text("gene_id_key")
    manifest.whole("n_cells", 1), manifest.whole("n_tokens", 0), manifest.object("filters").whole("max_len", 1)
    for source in manifest.objects("sources"):
        source.text("name"), source.whole("size", 0)
    for shard in manifest.objects("shards"):
        shard.text("file"), shard.whole("size", 0), shard.optional_text("sha256")


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
    except (OSError, ValueError) as error:  # too long, or with a letter that no name has
        raise ValueError(
            f"{named_by} of {folder} must name files. Got {quoted(file.name)} ({quoted(error)}). Copy it again."
        ) from error
    if not stat.S_ISREG(mode):
        raise ValueError(
            f"{file} must be a regular file. It is {stat.filemode(mode)}, such as a link, a pipe or a folder. "
            "Copy the file itself there."
        )
