"""Write names of types and batches as text, whatever numbers they were."""

import numbers
from collections.abc import Iterable

import numpy as np


def as_text(name: object) -> str:
    """Write a name as text; pandas makes 1.0 of 1 where other cells of a column have no value.

    Parameters
    ----------
    name
        Text or a number; a whole number that is a float is written as an integer.
    """
    return str(int(name)) if isinstance(name, float | np.floating) and float(name).is_integer() else str(name)


def sorted_names(names: Iterable[object]) -> list[str]:
    """Sort names and write each once as text: numbers by their size, so that 2 stands before 10, then texts.

    Parameters
    ----------
    names
        Texts and numbers.
    """
    return list(dict.fromkeys(map(as_text, sorted(names, key=_place))))


def _place(name: object) -> tuple[bool, float, str]:
    size = float(name) if isinstance(name, numbers.Real) else None
    return (size is None, size or 0.0, str(name))
