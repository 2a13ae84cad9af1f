"""Find what a result holds by the name that a user gives."""

from collections.abc import Sequence


def numbered(argument: str, name: object, known: Sequence[str]) -> int:
    """Return the number of a name.

    Parameters
    ----------
    argument
        Argument that the name was given by.
    name
        The name; other values are looked up as text.
    known
        Names that there are.

    Raises
    ------
    ValueError
        If there is no such name.
    """
    if str(name) not in known:
        told = f"it has {list(known[:10])}" if len(known) else "it has none"
        raise ValueError(f"{argument} must be one that the result has. Got {name!r}; {told}. Name one of them.")
    return list(known).index(str(name))
