"""Show a result as a few lines of text, and as a table in notebooks."""

import html
from collections.abc import Iterable
from typing import Any

_MOST_NAMES, _LONGEST = 8, 40


class Described:
    """Show a result as a few lines of text, and as a table in notebooks; a subclass says what of."""

    def _about(self) -> dict[str, str]:
        """Say what there is to know: a name and a text for each line."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Say what this is."""
        return as_text(type(self).__name__, self._about())

    def _repr_html_(self) -> str:
        """Say it as a table, for notebooks."""
        return as_html(type(self).__name__, self._about())


def as_text(title: str, entries: dict[str, str]) -> str:
    """Write entries below a title, one a line.

    Parameters
    ----------
    title, entries
        What is written.
    """
    width = max(map(len, entries))
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in entries.items())])


def as_html(title: str, entries: dict[str, str]) -> str:
    """Write the same as a plain table; names of types and batches are escaped.

    Parameters
    ----------
    title, entries
        What is written.
    """
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in entries.items()
    )
    return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"


def listed(names: Iterable[Any]) -> str:
    """Count names, and write the first few of them.

    Parameters
    ----------
    names
        The names, none twice.
    """
    names = list(names)
    if not names:
        return "none"
    shown = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in map(str, names[:_MOST_NAMES])]
    rest = len(names) - len(shown)
    return f"{len(names):,}: {', '.join(shown)}{f', and {rest:,} more' if rest else ''}"
