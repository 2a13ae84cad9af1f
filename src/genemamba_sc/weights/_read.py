"""Pretrained weights by name: a local folder, a checkpoint that ships with the package, or one on the hub."""

import os
from pathlib import Path

from genemamba_sc._files import recover
from genemamba_sc._version import __version__
from genemamba_sc.nn._config import Combine
from genemamba_sc.weights._folder import CONFIG_FILE, read_json
from genemamba_sc.weights._hub import download, is_repository
from genemamba_sc.weights._own import Pretrained, is_own, read_own, write_pretrained
from genemamba_sc.weights._published import as_pretrained, read_published_weights
from genemamba_sc.weights._published_genes import TablePath, read_published_genes
from genemamba_sc.weights._tensors import refuse_pickles

__all__ = ["Pretrained", "find_checkpoint", "read_pretrained", "shipped_checkpoint", "write_pretrained"]

_SHIPPED = Path(__file__).parent


def read_pretrained(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    combine: Combine | None = None,
    medians: TablePath | None = None,
) -> Pretrained:
    """Read pretrained weights: of this package, or as the authors of GeneMamba published theirs.

    Only JSON, safetensors and tables are read; pickles are refused and no code is run.

    Parameters
    ----------
    name_or_path
        A folder; the name of a checkpoint that ships with the package; or ``owner/name`` on the Hugging Face Hub,
        for which ``genemamba-sc[hub]`` must be installed. A folder of that name comes first.
    revision
        For the hub, and required there: the full commit hash.
    subfolder
        Folder inside it that holds the weights.
    combine
        For published weights with a combiner whose ``config.json`` does not say how it is used.
    medians
        For published weights: table with the columns ``ensembl_id`` and ``nonzero_median``.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint, or a file of it is missing.
    ValueError
        If a file is damaged or pickled, weights do not fit, ``combine`` is needed, or ``revision`` is not a commit.
    ImportError
        If the hub is asked without huggingface_hub.
    OSError
        If the hub cannot be reached.
    """
    folder, root, origin = find_checkpoint(name_or_path, revision, subfolder)
    if is_own(_config(folder)):
        if combine is not None or medians is not None:
            raise ValueError(f"combine= and medians= are for published weights; {origin} has its own. Leave them out.")
        return read_own(folder, origin)
    weights = read_published_weights(folder)
    weights.with_combine(combine)  # refused before anything is warned about
    return as_pretrained(weights, read_published_genes([folder, root], medians), combine, origin)


def find_checkpoint(
    name_or_path: str | os.PathLike[str], revision: str | None, subfolder: str | None
) -> tuple[Path, Path, str]:
    """Find the folder of a checkpoint.

    Parameters
    ----------
    name_or_path, revision, subfolder
        As in :func:`read_pretrained`.

    Returns
    -------
    The folder of the weights, the folder that holds it, where a vocabulary may lie, and a name for reports.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError, OSError
        As in :func:`read_pretrained`.
    """
    name = os.fspath(name_or_path)
    root, origin = _locate(name, revision, subfolder)
    folder = root if subfolder is None else root / subfolder
    if not folder.is_dir():
        raise FileNotFoundError(f"{origin} has no folder {subfolder!r}. Look how its folders are named.")
    return folder, root, origin if subfolder is None else f"{origin}/{subfolder}"


def shipped_checkpoint(name: str) -> Path | None:
    """Give the folder of a checkpoint that ships with the package; ``None`` where it does not.

    Parameters
    ----------
    name
        Such as ``"mini"``.
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


def _config(folder: Path) -> object:
    if not (folder / CONFIG_FILE).is_file():
        refuse_pickles(folder)
    return read_json(folder / CONFIG_FILE)
