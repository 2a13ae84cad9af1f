"""Tables and other text of users: what libraries say of a damaged one is said with its name."""

import csv
import gzip
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from genemamba_sc._json import quoted

# Errors of pandas and of codecs are ValueErrors.
_DAMAGED = (
    ValueError, TypeError, OverflowError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile,
    csv.Error,
)  # fmt: skip


@contextmanager
def reading(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Name the file, its kind and the way out where a library cannot read it.

    Parameters
    ----------
    path
        The file that is read in the block.
    kind
        What it should be, such as ``"table of genes"``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged: cut, no text, no gzip file by its content, a field of another kind.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        is_what = "a folder" if os.path.isdir(path) else "not a file"
        raise FileNotFoundError(
            f"A {kind} is wanted. {os.fspath(path)!r} is {is_what}. Give the path of one."
        ) from error
    except _DAMAGED as error:
        raise ValueError(
            f"{os.fspath(path)!r} is no {kind} that can be read ({quoted(error)}): it is truncated, damaged or of "
            "another kind. Copy it again, or correct it."
        ) from error


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the name of a file before a complaint on what it holds, where it is not in it.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        If the block raises one.
    """
    try:
        yield
    except ValueError as error:
        if os.fspath(path) in str(error):
            raise
        raise ValueError(f"{os.fspath(path)}: {error}") from error
