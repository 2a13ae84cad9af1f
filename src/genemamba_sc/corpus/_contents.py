"""Tell files apart by what they hold: a file whose values were corrected may keep its name and its size."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from genemamba_sc.corpus._records import write_record
from genemamba_sc.corpus._sources import READING_KEYS
from genemamba_sc.data.cells._file_hash import size_and_sha256


def changed_files(paths: Sequence[Path], noted: Sequence[Mapping[str, Any]], jobs: int) -> list[str]:
    """Name the files that hold something else than was noted; all are read for that.

    Parameters
    ----------
    paths
        The files and folders.
    noted
        What was noted of each, with its ``"sha256"``; one without it is not known, and counts as the same.
    jobs
        Number of files that are read at a time.
    """
    found = _contents_of(paths, jobs)
    return [path.name for path, (_, digest), note in zip(paths, found, noted) if note.get("sha256", digest) != digest]


def note_contents(paths: Sequence[Path], records: Sequence[Path], jobs: int) -> None:
    """Note size and SHA-256 of each file.

    Parameters
    ----------
    paths
        The files and folders.
    records
        Where it is noted of each.
    jobs
        Number of files that are read at a time.
    """
    for record, (size, digest) in zip(records, _contents_of(paths, jobs)):
        write_record(record, {"size": size, "sha256": digest})


def _contents_of(paths: Sequence[Path], jobs: int) -> list[tuple[int, str]]:
    # Threads serve: reading and hashing leave the interpreter free.
    with ThreadPoolExecutor(min(jobs, len(paths))) as pool:
        return list(pool.map(size_and_sha256, paths))


def changed_choices(manifest: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Name what a corpus was made of and is not asked for, as far as that is told without reading the files.

    Parameters
    ----------
    manifest
        Manifest of a corpus.
    settings
        What is asked for.
    """
    files = [(source["name"], source["size"]) for source in manifest["sources"]]
    same = {key: manifest.get(key) == settings.get(key) for key in ("filters", *READING_KEYS)}
    same["files"] = files == [(name, size) for name, size, _ in settings["files"]]
    if settings["vocabulary"] is None:
        # Corpora of earlier versions do not say whether their genes are those of the files: they are taken for such.
        same["vocabulary"] = manifest.get("genes_of_files", True)
    else:
        same["vocabulary"] = manifest["vocabulary_fingerprint"] == settings["vocabulary"]
    return sorted(key for key, is_same in same.items() if not is_same)
