"""Keep finished rows in a folder, so that a second call measures only what is missing."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from genemamba_sc._files import check_writable, only_writer
from genemamba_sc._json import Fields
from genemamba_sc.benchmark.results._result_json import row_from_fields
from genemamba_sc.benchmark.runs._jsonl import read_rows
from genemamba_sc.benchmark.runs._rows import BenchmarkRow

ROWS_FILE = "rows.jsonl"
_LOCK = ".benchmark.lock"


@contextmanager
def holding(folder: str | Path | None) -> Iterator[Path | None]:
    """Give the file of the rows, and keep other writers out meanwhile; ``None`` where nothing is kept.

    Parameters
    ----------
    folder
        The folder, which is made.

    Raises
    ------
    OSError
        If it cannot be written to, or another process writes it now.
    """
    if folder is None:
        yield None
        return
    path = Path(folder)
    with no_empty_folder(path):
        check_folder(path)
        with only_writer(path / _LOCK, f"The benchmark in {path}"):
            yield path / ROWS_FILE


@contextmanager
def no_empty_folder(folder: Path) -> Iterator[None]:
    """Take away a folder that was made inside, if what follows is refused before anything is in it.

    Parameters
    ----------
    folder
        The folder.
    """
    was_there = folder.exists()
    try:
        yield
    except BaseException:
        if not was_there and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise


def check_folder(folder: Path) -> None:
    """Make a folder, and refuse it where it could not be written to.

    Parameters
    ----------
    folder
        The folder.

    Raises
    ------
    OSError
        If it is a file, or cannot be made or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Results go into a folder. {folder} is a file. Name another place.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"The folder {folder} cannot be made ({error.strerror}). Choose another place.") from error
    check_writable(folder / ROWS_FILE)


def kept_rows(path: Path | None, keys: Collection[str]) -> dict[str, BenchmarkRow]:
    """Read the rows that have one of these keys; others are of other cells, arguments or versions.

    Parameters
    ----------
    path
        The file; ``None`` for none.
    keys
        Keys of the jobs.

    Raises
    ------
    ValueError
        If such a row is damaged.
    """
    found: dict[str, BenchmarkRow] = {}
    if path is None:
        return found
    for row in read_rows(path):
        if row.get("key") in keys:
            whole = row_from_fields(Fields.of(row, path, way_out="Remove this line, or give another folder."))
            found[whole.key] = whole
    return found
