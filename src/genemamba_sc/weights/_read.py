"""Read pretrained weights by name: find them, recognise their layout, read them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from genemamba_sc.data.genes._text_files import naming
from genemamba_sc.nn._config import Combine
from genemamba_sc.weights._folder import CONFIG_FILE, config_or_none, read_json
from genemamba_sc.weights._locate import Place, locate, shipped_checkpoint
from genemamba_sc.weights._own import Pretrained, is_own, read_own, write_pretrained
from genemamba_sc.weights._published import as_pretrained, read_published_weights
from genemamba_sc.weights._published_genes import TablePath, read_published_genes
from genemamba_sc.weights._saved_model import FORMAT as SAVED_FORMAT
from genemamba_sc.weights._tensors import refuse_pickles

__all__ = ["Pretrained", "find_checkpoint", "read_pretrained", "shipped_checkpoint", "write_pretrained"]


class Choices(NamedTuple):
    """Hold what a user says about weights that do not say it themselves; see :func:`read_pretrained`."""

    combine: Combine | None
    medians: TablePath | None


def read_pretrained(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    combine: Combine | None = None,
    medians: TablePath | None = None,
) -> Pretrained:
    """Read pretrained weights of this package, or weights as the authors of GeneMamba published them.

    Only JSON, safetensors and tables are read; pickles are refused and no code is run.

    Parameters
    ----------
    name_or_path
        A folder; the name of a checkpoint that ships with the package; or ``owner/name`` on the Hugging Face Hub,
        for which ``genemamba-sc[hub]`` must be installed. A folder of that name comes first.
    revision
        Full commit hash; it is required for the hub.
    subfolder
        Folder inside the checkpoint that holds the weights.
    combine
        How a combiner is used, for published weights whose ``config.json`` does not say it.
    medians
        Table with the columns ``ensembl_id`` and ``nonzero_median``, for published weights.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint, or a file of it is missing.
    ValueError
        If a file is damaged or pickled, weights do not fit, ``combine`` is needed, or ``revision`` is no commit hash.
    ImportError
        If the hub is needed and huggingface_hub is not installed.
    OSError
        If the hub cannot be reached.
    """
    place = _located(name_or_path, revision, subfolder)
    config = _config(place.folder)
    reader = next(reader for fits, reader in _LAYOUTS if fits(config))
    return reader(place, Choices(combine, medians))


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
    The folder of the weights, the folder that holds it (where a vocabulary may be), and a name for reports.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError, OSError
        As in :func:`read_pretrained`.
    """
    place = _located(name_or_path, revision, subfolder)
    return place.folder, place.root, place.origin


def _located(name_or_path: str | os.PathLike[str], revision: str | None, subfolder: str | None) -> Place:
    """Find a checkpoint, and refuse the folder of a saved model, which has other files."""
    place = locate(name_or_path, revision, subfolder)
    config = config_or_none(place.folder / CONFIG_FILE)
    if isinstance(config, dict) and config.get("format") == SAVED_FORMAT:
        raise ValueError(
            f"Pretrained weights are wanted. {place.origin} is a saved GeneMambaModel. Load it with "
            "GeneMambaModel.load, or make weights of it with model.save_pretrained(folder)."
        )
    return place


def _read_own(place: Place, choices: Choices) -> Pretrained:
    if choices != Choices(None, None):
        raise ValueError(
            f"combine= and medians= are for published weights; {place.origin} has its own. Leave them out."
        )
    return read_own(place.folder, place.origin)


def _read_published(place: Place, choices: Choices) -> Pretrained:
    """Read what the authors published, in the original layout or that of their release; the tensor names tell which."""
    with naming(place.folder):
        weights = read_published_weights(place.folder)
        weights.with_combine(choices.combine)  # refused before anything is warned about
        folders = [place.folder, place.root]
        vocabulary = read_published_genes(folders, choices.medians, n_genes=weights.config.vocab_size)
        return as_pretrained(weights, vocabulary, choices.combine, place.origin)


# Each layout has a test of its config.json and a reader; the first that fits is used. A new layout is one line here.
_LAYOUTS: tuple[tuple[Callable[[object], bool], Callable[[Place, Choices], Pretrained]], ...] = (
    (is_own, _read_own),
    (lambda config: True, _read_published),
)


def _config(folder: Path) -> object:
    if not (folder / CONFIG_FILE).is_file():
        refuse_pickles(folder)
    return read_json(folder / CONFIG_FILE)
