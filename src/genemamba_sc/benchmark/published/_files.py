"""Find and open the files of a published set, under a path that the user gives."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anndata import AnnData

from genemamba_sc.benchmark.published._facts import Part, PublishedSet
from genemamba_sc.benchmark.published._sets import OWN_SPLIT
from genemamba_sc.data import read_cells


@dataclass(frozen=True, eq=False)
class OpenPart:
    """Hold a file of a set.

    Parameters
    ----------
    facts
        What is documented of the file; ``None`` for a processed copy, which holds all of the set.
    path
        Where it was found.
    adata
        Its cells.
    """

    facts: Part | None
    path: Path
    adata: AnnData

    @property
    def stem(self) -> str | None:
        """Name of the file, where it is one of several."""
        return None if self.facts is None or self.facts.role == "all" else self.facts.stem


def open_parts(facts: PublishedSet, path: str | os.PathLike[str]) -> list[OpenPart]:
    """Open what makes up a set: one file, two of them, or the authors' processed copy.

    Parameters
    ----------
    facts
        What is documented of the set.
    path
        A file, or a folder that holds the files at any depth.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``, or a file of the set is missing.
    ValueError
        If a name is there twice, or a file cannot be read.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise FileNotFoundError(f"path must be a file or a folder of {facts.name}. Got {place}, where nothing is.")
    if place.is_dir() and place.suffix != ".zarr":
        return _of_folder(facts, place)
    named = next((part for part in facts.parts if part.file == place.name), None)
    if facts.is_divided and named is not None:
        # The other half of the set lies beside it.
        return _of_folder(facts, place.parent)
    adata = read_cells(place)
    if facts.is_divided and OWN_SPLIT not in adata.obs:
        raise ValueError(
            f"{facts.name} is {_list(facts.parts)}, or a processed copy with obs[{OWN_SPLIT!r}]. Got {place.name}, "
            "which is neither. Give the folder that holds both files."
        )
    return [OpenPart(None if facts.is_divided else facts.parts[0], place, adata)]


def _of_folder(facts: PublishedSet, folder: Path) -> list[OpenPart]:
    found = {part.file: sorted(folder.rglob(part.file)) for part in facts.parts}
    if twice := [file for file, paths in found.items() if len(paths) > 1]:
        raise ValueError(
            f"Each file of {facts.name} must be there once. Got {len(found[twice[0]])} of {twice[0]} in {folder}. "
            "Give the folder of one of them."
        )
    if all(found.values()):
        return [OpenPart(part, found[part.file][0], read_cells(found[part.file][0])) for part in facts.parts]
    missing = [file for file, paths in found.items() if not paths]
    here = sorted(file.name for file in folder.glob("*.h5ad"))
    raise FileNotFoundError(
        f"{facts.name} is {_list(facts.parts)} ({facts.where}). Got a folder without {' and '.join(missing)}; the h5ad "
        f"files in it are {here[:10]}. Give a file itself, if it has another name."
    )


def _list(parts: Sequence[Part]) -> str:
    return " and ".join(part.file for part in parts)
