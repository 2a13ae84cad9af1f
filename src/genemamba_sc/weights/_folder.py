"""A folder of weights, once: its file names, its checksums, whether it is ours, its genes."""

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

# Entry of config.json with the checksum of all its others.
_OWN_SUM = "config_sha256"
# Bytes that a row of a gene table may have on average, and what a header may have besides.
_ROW_BYTES, _HEADER_BYTES = 512, 65_536


# ------------------------------------------------------------------- is it ours?


def check_target(
    folder: str | Path, what: str, files: Collection[str], is_own: Callable[[object], bool], *, overwrite: bool
) -> None:
    """Refuse a place that a folder must not be written to; only a whole folder of the same kind is ever replaced.

    Parameters
    ----------
    folder
        Where one is to be written.
    what
        What it is to hold, for messages.
    files
        Names of the files that such a folder may hold.
    is_own
        Whether a ``config.json`` is of this kind.
    overwrite
        Whether an existing one may be replaced.

    Raises
    ------
    FileExistsError
        If something stands there and ``overwrite`` is off, or it is anything else.
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
            f"{target} exists and holds what is no part of {what} ({', '.join(foreign[:3])[:200]}), so it is not "
            "replaced. Choose another folder."
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
    """Add to a configuration the checksum of its own content."""
    return {**config, _OWN_SUM: _sum_of(config)}


def check_seal(config: Fields, path: Path) -> None:
    """Compare the content of a configuration with the checksum in it.

    Raises
    ------
    ValueError
        If it was edited.
    """
    stated, found = config.text(_OWN_SUM), _sum_of(config.values)
    if stated != found:
        raise ValueError(
            f"{path} does not match the checksum in it: it was edited or damaged, and what it says changes what the "
            "model answers. Copy the folder again, or change the model in Python and save it anew."
        )


def _sum_of(config: Mapping[str, Any]) -> str:
    content = {name: value for name, value in config.items() if name != _OWN_SUM}
    # Numbers are written as Python reads them, so that a file that was read and not changed gives the same text.
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def checksums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files of a folder that exist."""
    return {name: sha256_of(folder / name) for name in names if (folder / name).is_file()}


def check_files(folder: Path, stated: Mapping[str, str], needed: Iterable[str], optional: Iterable[str]) -> None:
    """Compare files with their checksums.

    Parameters
    ----------
    folder
        Where they lie.
    stated
        Checksums by name.
    needed
        Files that must be there and have one.
    optional
        Files that must be there where they have a checksum, and have one where they are there.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    ValueError
        If one is not as it was written.
    """
    for name in [*needed, *(name for name in optional if name in stated or (folder / name).exists())]:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} lacks {name}: its {CONFIG_FILE} says that it belongs to it. Copy the whole folder."
            )
        if sha256_of(folder / name) != stated.get(name):
            raise ValueError(
                f"{folder / name} does not match the checksum in {CONFIG_FILE}: it is truncated, damaged or of "
                "another model. Copy the whole folder again."
            )


def check_version(config: Fields, path: Path, newest: int) -> int:
    """Read the version of a format, and refuse one that is newer than this package.

    Raises
    ------
    ValueError
        If it is newer, or no version.
    """
    version = config.values.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= newest:
        raise ValueError(
            f"{path} has format version {quoted(version)}; this package reads up to {newest}. Upgrade genemamba-sc."
        )
    return version


def warn_unsealed(folder: Path, way_out: str) -> None:
    """Say that a folder was written before everything in it had a checksum."""
    warn(
        f"{folder} was written by an older genemamba_sc and has no checksum for all that changes a prediction (the "
        f"names of the labels, the symbols of the genes, the settings), so a change of these would not be noticed. "
        f"{way_out}"
    )


# --------------------------------------------------------------------------- genes


def read_vocabulary(path: Path, n_genes: int) -> GeneVocabulary:
    """Read a table of genes that is no larger than the model has genes.

    Parameters
    ----------
    path
        Tab-separated table, gzip by suffix.
    n_genes
        Genes that the weights have rows for, at most.

    Raises
    ------
    ValueError
        If it is damaged, or far larger than so many genes need.
    """
    check_table_size(path, n_genes)
    try:
        return GeneVocabulary.from_tsv(path)
    except (ValueError, KeyError, TypeError, OverflowError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} holds no genes that can be read ({quoted(error)}). Copy it again.") from error


def check_table_size(path: Path, n_genes: int) -> None:
    """Refuse a table that expands to more than its genes need; a few kilobytes can hold gigabytes.

    Raises
    ------
    ValueError
        If it is too large, or no gzip file by its content.
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
        raise ValueError(f"{path} is no gzip file ({quoted(error)}): it is damaged. Copy it again.") from error
