"""Find what a result holds by the name that a user gives, and tell numbers of it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


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
        told = f"there are {list(known[:10])}" if len(known) else "there are none"
        raise ValueError(f"{argument} must be one that there is. Got {name!r}; {told}. Name one of them.")
    return list(known).index(str(name))


def numbered_gene(argument: str, name: object, ids: Sequence[str], symbols: Sequence[str]) -> int:
    """Return the number of a gene by its id or symbol.

    Parameters
    ----------
    argument
        Argument that the name was given by.
    name
        The name.
    ids, symbols
        Ids and symbols of the genes that there are, in the same order.

    Raises
    ------
    ValueError
        If there is no such gene, or several have this symbol.
    """
    if name in ids:
        return list(ids).index(str(name))
    if (n := list(symbols).count(str(name))) > 1:
        told = [gene for gene, symbol in zip(ids, symbols) if symbol == name]
        raise ValueError(
            f"{argument} must be one gene. Got {name!r}, the symbol of {n}: {told}. Name one of these ids."
        )
    return numbered(argument, name, symbols)


def unambiguous(ids: Sequence[str], symbols: Sequence[str]) -> list[str]:
    """Name each gene by its symbol, or by its id where it has none or shares it with another of these genes.

    Parameters
    ----------
    ids, symbols
        Ids and symbols of the genes, in the same order; no id stands twice.
    """
    shared = {symbol for symbol, n in Counter(symbols).items() if n > 1}
    known = set(ids)
    return [
        gene if not symbol or symbol in shared or (symbol in known and symbol != gene) else symbol
        for gene, symbol in zip(ids, symbols)
    ]


def median_told(values: Float[np.ndarray, "*s"]) -> str:
    """Write the median of the values that are known; "unknown" where none is.

    Parameters
    ----------
    values
        Values, some of them NaN.
    """
    known = values[~np.isnan(values)]
    return f"{np.median(known):.2g}" if len(known) else "unknown"
