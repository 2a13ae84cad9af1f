"""The manifest: what a corpus is made of."""

import json
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
        Of the corpus.

    Raises
    ------
    ValueError
        If it is damaged, of another format, or of a newer version.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no readable JSON ({error}). Copy the corpus again, or tokenize anew.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a corpus of tokens. Give the folder that genemamba tokenize wrote.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {manifest.get('format_version')}; this package reads {FORMAT_VERSION}. "
            "Upgrade genemamba-sc, or tokenize anew."
        )
    return manifest
