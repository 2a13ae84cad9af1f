"""Bring arguments and settings into values that JSON holds, and find those that come back as they were."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: what has no such form is described by its ``repr``.

    Parameters
    ----------
    value
        Any value; numpy scalars become numbers, dataclasses and mappings dicts, tuples lists.
    """
    if isinstance(value, np.generic):
        return plain(value.item()) if isinstance(value.item(), bool | int | float | str) else repr(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    parts = _parts(value)
    return repr(value) if parts is None else {str(name): plain(item) for name, item in parts.items()}


def not_plain(value: Any, name: str) -> Iterator[str]:
    """Name the parts of a value that :func:`plain` can only describe, and what they are.

    Parameters
    ----------
    value
        Any value.
    name
        Its name.
    """
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from not_plain(item, f"{name}[{number}]")
    elif (parts := _parts(value)) is not None:
        for key, item in parts.items():
            yield from not_plain(item, f"{name}[{key!r}]" if isinstance(key, str) else f"{name}[{plain(key)}]")
    elif not isinstance(value, str) and isinstance(plain(value), str) and not isinstance(value, np.str_):
        yield f"{name} is {type(value).__name__}"


def _parts(value: Any) -> Mapping[Any, Any] | None:
    """Return what a mapping or a dataclass holds, by name; ``None`` for other values."""
    if isinstance(value, Mapping):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return None
