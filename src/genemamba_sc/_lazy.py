"""Load names of a package when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

from genemamba_sc._warn import warn


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Make the ``__getattr__`` of a package whose names are imported at first use.

    Importing the package then does not wait for what its names need (torch and scvi-tools take seconds).

    Parameters
    ----------
    package
        ``__name__`` of the package.
    homes
        The module of the package that each name comes from; ``""`` where the name is itself a subpackage.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        value = getattr(import_module(f"{package}.{home}"), name) if home else import_module(f"{package}.{name}")
        setattr(sys.modules[package], name, value)
        return value

    return load


def moved(package: str, homes: Mapping[str, str], otherwise: Callable[[str], object]) -> Callable[[str], object]:
    """Make a ``__getattr__`` that still gives names which have moved to subpackages, and warns.

    Parameters
    ----------
    package
        ``__name__`` of the package.
    homes
        The subpackage in which each of these names lives now.
    otherwise
        Function that answers for all other names.
    """

    def load(name: str) -> object:
        if name not in homes:
            return otherwise(name)
        home = f"{package}.{homes[name]}"
        warn(
            f"{package}.{name} has moved and will be gone in 0.2. Import it with: from {home} import {name}",
            FutureWarning,
        )
        return getattr(import_module(home), name)

    return load
