"""Find a checkpoint: a local folder, one that ships with the package, or one on the hub."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from genemamba_sc._files import recover
from genemamba_sc._version import __version__
from genemamba_sc.weights._folder import CONFIG_FILE
from genemamba_sc.weights._hub import download, is_repository

_SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Place:
    """Describe where a checkpoint is.

    Parameters
    ----------
    folder
        Folder that holds the weights.
    root
        Folder that holds ``folder``; a vocabulary may be there.
    origin
        Name for reports, never a path of somebody's machine.
    """

    folder: Path
    root: Path
    origin: str


def locate(name_or_path: str | os.PathLike[str], revision: str | None, subfolder: str | None) -> Place:
    """Find a checkpoint by its name.

    Parameters
    ----------
    name_or_path, revision, subfolder
        As in :func:`genemamba_sc.read_pretrained`.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError, OSError
        As in :func:`genemamba_sc.read_pretrained`.
    """
    if subfolder is not None:
        _check_subfolder(subfolder)
    root, origin = _locate(os.fspath(name_or_path), revision, subfolder)
    folder = root if subfolder is None else root / subfolder
    if not folder.is_dir():
        raise FileNotFoundError(f"{origin} has no folder {subfolder!r}. Check the names of its folders.")
    return Place(folder, root, origin if subfolder is None else f"{origin}/{subfolder}")


def _check_subfolder(subfolder: str) -> None:
    """Refuse a path that leads out of the checkpoint, however the system writes it."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(subfolder)
        if path.anchor or ".." in path.parts:
            raise ValueError(
                f"subfolder= names a folder inside the checkpoint. Got {subfolder!r}, which leads out of it. "
                "Pass its name, such as '48l-768d', or give the folder itself as the path."
            )


def shipped_checkpoint(name: str) -> Path | None:
    """Return the folder of a checkpoint that ships with the package; ``None`` where none of this name does.

    Parameters
    ----------
    name
        Name of the checkpoint, such as ``"mini"``.
    """
    folder = _SHIPPED / name
    return folder if (folder / CONFIG_FILE).is_file() else None


def _locate(name: str, revision: str | None, subfolder: str | None) -> tuple[Path, str]:
    path = Path(name).expanduser()
    recover(path)
    shipped = shipped_checkpoint(name) if Path(name).name == name else None
    if path.is_file():
        raise NotADirectoryError(f"A checkpoint is a folder; {path} is a file. Give the folder it lies in.")
    if path.is_dir() or shipped is not None:
        if revision is not None:
            raise ValueError(
                f"revision= names a commit on the Hugging Face Hub; {name!r} is here already. Leave revision= out."
            )
        if shipped is None or path.is_dir():
            return path, path.resolve().name
        return shipped, f"{name} of genemamba_sc {__version__}"
    if is_repository(name):
        return download(name, revision, subfolder), f"{name}@{revision}"
    names = sorted(place.parent.name for place in _SHIPPED.glob(f"*/{CONFIG_FILE}"))
    raise FileNotFoundError(
        f"A checkpoint is a folder, one that ships with the package ({', '.join(names) or 'none does'}), or owner/name "
        f"on the Hugging Face Hub. Got {name!r}, which is none of these. Check how it is written."
    )
