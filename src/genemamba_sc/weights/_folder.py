"""Handle a folder of weights in one place: its file names, its checksums, its kind, its genes."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from genemamba_sc._digests import sha256_of
from genemamba_sc._json import Fields, quoted, read_json
from genemamba_sc._warn import warn
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.weights._tensors import WEIGHTS_FILE

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "check_target", "sha256_of", "read_json"]

CONFIG_FILE = "config.json"
GENES_FILE = "genes.tsv"
ADATA_FILE = "adata.h5ad"
ALIASES_FILE = "gene_aliases.json"
VOCABULARY_FILE = "vocabulary.tsv.gz"
MANIFEST_FILE = "manifest.json"
EVALUATION_FILE = "evaluation.json"
CARD_FILE = "README.md"
SELFTEST_FILE = "selftest.safetensors"

# Entry of config.json with the checksum of all its other entries.
_OWN_SUM = "config_sha256"
# Number of bytes that a row of a gene table may have on average, and that a header may have in addition.
_ROW_BYTES, _HEADER_BYTES = 512, 65_536


# ------------------------------------------------------------------- is it ours?


def check_target(
    folder: str | Path, what: str, files: Collection[str], is_own: Callable[[object], bool], *, overwrite: bool
) -> None:
    """Refuse a place that a folder must not be written to; only a whole folder of the same kind is ever replaced.

    Parameters
    ----------
    folder
        Where the folder is to be written.
    what
        What the folder is to hold, for messages.
    files
        Names of the files that such a folder may hold.
    is_own
        Function that tells whether a ``config.json`` is of this kind.
    overwrite
        Whether an existing folder may be replaced.

    Raises
    ------
    FileExistsError
        If something stands there and ``overwrite`` is off, or what stands there is anything else.
    """
    target = Path(folder)
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists already. Choose another folder, or pass overwrite=True to replace it.")
    if not target.is_dir():
        raise FileExistsError(f"{target} is a file, so it is not replaced by a folder of {what}. Choose another name.")
    present = sorted(path.name for path in target.iterdir())
    foreign = [name for name in present if name not in files]
    if foreign:
        raise FileExistsError(
            f"{target} exists and holds files that are not part of {what} ({', '.join(foreign[:3])[:200]}), so it is "
            "not replaced. Choose another folder."
        )
    if present and not is_own(config_or_none(target / CONFIG_FILE)):
        raise FileExistsError(f"{target} exists and holds no {what}, so it is not replaced. Choose another folder.")


def config_or_none(path: Path) -> Any:
    """Read a ``config.json``; ``None`` where there is none that can be read."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


# ---------------------------------------------------------------------- checksums


def sealed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Add the checksum of its own content to a configuration."""
    return {**config, _OWN_SUM: _sum_of(config)}


def check_seal(config: Fields, path: Path) -> None:
    """Compare the content of a configuration with the checksum in it.

    Raises
    ------
    ValueError
        If the configuration was edited.
    """
    stated, found = config.text(_OWN_SUM), _sum_of(config.values)
    if stated != found:
        raise ValueError(
            f"{path} does not match the checksum in it: it was edited or damaged, and what it says changes what the "
            "model answers. Copy the folder again, or change the model in Python and save it again."
        )


def _sum_of(config: Mapping[str, Any]) -> str:
    content = {name: value for name, value in config.items() if name != _OWN_SUM}
    # Numbers are written as Python reads them, so that a file that was read and not changed gives the same text.
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Compute the SHA-256 of the files of a folder that exist."""
    return {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}


def check_files(folder: Path, stated: Mapping[str, str], needed: Iterable[str], optional: Iterable[str]) -> None:
    """Compare files with their checksums.

    Parameters
    ----------
    folder
        The folder of the files.
    stated
        Checksums by file name.
    needed
        Names of files that must exist and have a checksum.
    optional
        Names of files that must exist where they have a checksum, and must have one where they exist.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is not as it was written.
    """
    for name in [*needed, *(name for name in optional if name in stated or (folder / name).exists())]:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} lacks {name}: its {CONFIG_FILE} says that it belongs to it. Copy the whole folder."
            )
        if sha256_of(folder / name) != stated.get(name):
            raise ValueError(
                f"{folder / name} does not match the checksum in {CONFIG_FILE}: it is truncated, damaged or from "
                "another model. Copy the whole folder again."
            )


def check_version(config: Fields, path: Path, newest: int) -> int:
    """Read the version of a format, and refuse one that is newer than this package.

    Raises
    ------
    ValueError
        If the version is newer, or is no version.
    """
    version = config.values.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= newest:
        raise ValueError(
            f"{path} has format version {quoted(version)}; this package reads up to {newest}. Upgrade genemamba-sc."
        )
    return version


def warn_unsealed(folder: Path, way_out: str) -> None:
    """Warn that a folder was written before everything in it had a checksum."""
    warn(
        f"{folder} was written by an older genemamba_sc and has no checksum for everything that changes a prediction "
        f"(the names of the labels, the symbols of the genes, the settings), so a change of these would not be "
        f"noticed. {way_out}"
    )


# --------------------------------------------------------------------------- genes


def read_vocabulary(path: Path, n_genes: int) -> GeneVocabulary:
    """Read a table of genes that has no more genes than the model.

    Parameters
    ----------
    path
        Tab-separated table; a suffix tells whether it is gzipped.
    n_genes
        Largest number of genes that the weights have rows for.

    Raises
    ------
    ValueError
        If the table is damaged, or far larger than so many genes need.
    """
    check_table_size(path, n_genes)
    try:
        return GeneVocabulary.from_tsv(path)
    except (ValueError, KeyError, TypeError, OverflowError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} holds no genes that can be read ({quoted(error)}). Copy it again.") from error


def check_table_size(path: Path, n_genes: int) -> None:
    """Refuse a table that expands to more than its genes need: a few kilobytes can hold gigabytes.

    Raises
    ------
    ValueError
        If the table is too large, or its content is not gzip.
    """
    most, size = _HEADER_BYTES + _ROW_BYTES * n_genes, 0
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            while block := stream.read(1 << 16):
                size += len(block)
                if size > most:
                    raise ValueError(
                        f"A table of {n_genes:,} genes has at most {most:,} bytes; {path} has more. It is damaged or "
                        "of another model: copy it again."
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a gzip file ({quoted(error)}): it is damaged. Copy it again.") from error
