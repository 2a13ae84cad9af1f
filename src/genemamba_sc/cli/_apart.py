"""Refuse files to write that would take the place of what a command reads, or of another one that it writes."""

import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path


def require_apart(outputs: Mapping[str, str], inputs: Mapping[str, str]) -> None:
    """Refuse an output that is an input or another output, or lies in one, or has one in it.

    Parameters
    ----------
    outputs
        Name of each option -> the file that it writes.
    inputs
        Name of each option -> the file or folder that it reads; those that are names of something else are skipped.

    Raises
    ------
    ValueError
        If two of them are not apart, links followed.
    """
    for (first, path), (second, other) in combinations(outputs.items(), 2):
        if is_same(path, other):
            raise ValueError(f"{first} and {second} need a file each. Got {path} for both. Name another file for one.")
        if _overlap(path, other):
            raise ValueError(
                f"{first} and {second} must not lie in each other: writing one would replace or spoil the other. Got "
                f"{path} and {other}. Name another place for one."
            )
    for option, path in outputs.items():
        for source, read in inputs.items():
            if os.path.exists(read) and _overlap(path, read):
                raise ValueError(
                    f"{option} must not write to {source}, which it could replace. Got {path} for {option} and {read} "
                    f"for {source}. Name a file elsewhere."
                )


def is_same(path: str, other: str) -> bool:
    """Tell whether two paths are one file or folder, links followed.

    Parameters
    ----------
    path, other
        The paths; there need not be anything at them.
    """
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def _overlap(path: str, other: str) -> bool:
    """Tell whether two paths are the same, or one lies in the other."""
    first, second = Path(os.path.realpath(path)), Path(os.path.realpath(other))
    return is_same(path, other) or first in second.parents or second in first.parents
