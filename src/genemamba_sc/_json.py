"""Read JSON files field by field: a value of another kind is refused with the file and the field named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

# The usual way out of a damaged file.
COPY = "Copy it again."
# Largest number of characters that a message repeats from somebody's file.
_QUOTE = 200
T = TypeVar("T")


def read_json(path: Path, way_out: str = COPY) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path
        The file.
    way_out
        What to do where it is damaged, for the message.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"A checkpoint folder needs {path.name}; {path.parent} has none. Give the folder that holds it."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: also text that is no UTF-8, and endless numbers
        raise ValueError(
            f"{path} is not readable JSON ({quoted(error)}): it is truncated or damaged. {way_out}"
        ) from error


def read_object(path: Path, way_out: str = COPY) -> "Fields":
    """Read a JSON file that holds an object.

    Parameters
    ----------
    path, way_out
        As in :func:`read_json`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds something else.
    """
    return Fields.of(read_json(path, way_out), path, way_out=way_out)


def quoted(value: object) -> str:
    """Repeat what a file says, at most 200 characters of it."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= _QUOTE else f"{text[: _QUOTE - 4]} ..."


class Fields:
    """Read an object of a JSON file by the kinds that its fields must have.

    Parameters
    ----------
    values
        The object.
    path
        The file, for messages.
    place
        Where in the file the object is, such as ``"init."``.
    way_out
        What to do about a wrong field, for messages.
    """

    def __init__(self, values: dict[str, Any], path: Path, place: str = "", way_out: str = COPY) -> None:
        self.values, self._path, self._place, self._way_out = values, path, place, way_out

    @classmethod
    def of(cls, value: Any, path: Path, place: str = "", way_out: str = COPY) -> "Fields":
        """Take a value that must be an object.

        Raises
        ------
        ValueError
            If the value is no object.
        """
        if not isinstance(value, dict):
            raise ValueError(
                f"{path} must hold a JSON object{f' in {place[:-1]}' if place else ''}. Got {quoted(value)}. {way_out}"
            )
        return cls(value, path, place, way_out)

    def require(self, *names: str) -> None:
        """Refuse an object that lacks some of these fields, and name all that are missing at once."""
        if missing := sorted(name for name in names if name not in self.values):
            raise ValueError(
                f"{self._path} lacks {', '.join(self._place + name for name in missing)}: it was edited or damaged. "
                f"{self._way_out}"
            )

    def only(self, names: set[str]) -> None:
        """Refuse an object with other fields than these."""
        if unknown := sorted(self.values.keys() - names):
            raise ValueError(
                f"{self._path} may have {', '.join(sorted(names))} in {self._place[:-1] or 'it'}. "
                f"Got {quoted(unknown)}. Copy it again, or upgrade genemamba-sc if a newer version wrote it."
            )

    def objects(self, name: str) -> list["Fields"]:
        """Read a list of objects."""
        values = self._typed(name, "a list", lambda value: isinstance(value, list))
        return [self._inner(value, f"{name}[{i}]") for i, value in enumerate(values)]

    def text(self, name: str) -> str:
        """Read text."""
        return self._typed(name, "text", lambda value: isinstance(value, str))

    def optional_text(self, name: str) -> str | None:
        """Read text; return ``None`` where there is none."""
        return self.text(name) if self.values.get(name) is not None else None

    def flag(self, name: str) -> bool:
        """Read ``true`` or ``false``."""
        return self._typed(name, "true or false", lambda value: isinstance(value, bool))

    def whole(self, name: str, least: int, default: int | None = None) -> int:
        """Read a whole number of at least ``least``; return ``default`` where the field is missing."""
        if default is not None and self.values.get(name) is None:
            return default
        return self._typed(
            name,
            f"a whole number of at least {least}",
            lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
        )

    def object(self, name: str) -> "Fields":
        """Read an object."""
        self.require(name)
        return self._inner(self.values[name], name)

    def texts(self, name: str) -> dict[str, str]:
        """Read an object whose values are texts, such as checksums by file."""
        inner = self.object(name)
        return {key: inner.text(key) for key in inner.values}

    def made(self, name: str, make: Callable[[Any], T]) -> T:
        """Pass the field to a function, and repeat the complaints of the function with file and field."""
        self.require(name)
        try:
            return make(self.values[name])
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(
                f"{self._path} has no usable {self._place}{name}: {quoted(error)}. {self._way_out}"
            ) from error

    def _inner(self, value: Any, name: str) -> "Fields":
        return Fields.of(value, self._path, f"{self._place}{name}.", self._way_out)

    def _typed(self, name: str, kind: str, fits: Callable[[Any], bool]) -> Any:
        self.require(name)
        value = self.values[name]
        if not fits(value):
            raise ValueError(
                f"{self._path} must have {kind} as {self._place}{name}. Got {quoted(value)}. {self._way_out}"
            )
        return value
