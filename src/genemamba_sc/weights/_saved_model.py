"""Models on disk: safetensors for the weights, JSON for the choices, TSV for the genes. No pickle.

A folder holds ``config.json`` (format, versions, constructor arguments, registry, history, checksums),
``model.safetensors`` and ``genes.tsv``; ``cells.safetensors`` where the model started from weights that bring the
hashes of their cells. Nothing in it is executed when it is read.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata.io import write_h5ad
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from genemamba_sc._files import replacing_folder
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.data._cell_hashes import CELLS_FILE, CellHashes, read_cell_hashes, write_cell_hashes

FORMAT = "genemamba_sc"
# 2: the cell-type head has programs.
FORMAT_VERSION = 2

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
GENES_FILE = "genes.tsv"
ADATA_FILE = "adata.h5ad"
_FILES = (CONFIG_FILE, WEIGHTS_FILE, GENES_FILE, ADATA_FILE, CELLS_FILE)
_ENTRIES = ("weights_sha256", "vocabulary_fingerprint", "versions", "class", "init", "registry", "attributes")


@dataclass(frozen=True)
class SavedModel:
    """What a model folder holds.

    Parameters
    ----------
    meta
        Everything of ``config.json`` but the checksums.
    tensors
        The weights by name.
    vocabulary
        The genes.
    cells
        Hashes of the cells of the pretraining, where there was one that tells them.
    """

    meta: dict[str, Any]
    tensors: dict[str, Tensor]
    vocabulary: GeneVocabulary
    cells: CellHashes | None = None


def write_model(folder: str | Path, saved: SavedModel, *, overwrite: bool = False, adata: Any = None) -> None:
    """Write a model folder, whole or not at all.

    Parameters
    ----------
    folder
        Where to write; created with its parents.
    saved
        What to write.
    overwrite
        Whether an existing folder is replaced.
    adata
        AnnData to keep beside the model, or ``None``.

    Raises
    ------
    FileExistsError
        If the folder exists and ``overwrite`` is off.
    OSError
        If it cannot be written (rights, disk full); what stood there stays.
    """
    target = Path(folder)
    check_target(target, overwrite=overwrite)
    with replacing_folder(target) as temporary:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in saved.tensors.items()},
            temporary / WEIGHTS_FILE,
        )
        saved.vocabulary.to_tsv(temporary / GENES_FILE)
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "weights_sha256": _sha256(temporary / WEIGHTS_FILE),
            "vocabulary_fingerprint": saved.vocabulary.fingerprint,
            **{key: _encode(value) for key, value in saved.meta.items()},
        }
        if saved.cells is not None:
            write_cell_hashes(temporary / CELLS_FILE, saved.cells)
            config["cells_sha256"] = _sha256(temporary / CELLS_FILE)
        (temporary / CONFIG_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")
        if adata is not None:
            # The method of AnnData would point a backed one at the temporary file.
            write_h5ad(temporary / ADATA_FILE, adata)


def check_target(folder: str | Path, *, overwrite: bool) -> None:
    """Refuse a place that a model must not be written to.

    Parameters
    ----------
    folder
        Where a model is to be written.
    overwrite
        Whether an existing model may be replaced.

    Raises
    ------
    FileExistsError
        If something stands there and ``overwrite`` is off, or it is anything but a model.
    """
    target = Path(folder)
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists already. Choose another folder, or pass overwrite=True to replace it.")
    if not target.is_dir():
        raise FileExistsError(f"{target} is a file, so it is not replaced by a model folder. Choose another name.")
    foreign = sorted(path.name for path in target.iterdir() if path.name not in _FILES)
    if foreign:
        raise FileExistsError(
            f"{target} exists and holds what is no part of a {FORMAT} model ({', '.join(foreign[:3])}), "
            "so it is not replaced. Choose another folder."
        )
    if any(target.iterdir()):
        _check_own(target)


def _check_own(folder: Path) -> None:
    """Refuse to replace a folder whose ``config.json`` is not ours: other libraries use the same names."""
    try:
        _read_config(folder / CONFIG_FILE)
    except (OSError, ValueError) as error:
        raise FileExistsError(
            f"{folder} exists and is no {FORMAT} model, so it is not replaced ({error}) Choose another folder."
        ) from error


def read_model(folder: str | Path, device: str = "cpu") -> SavedModel:
    """Read a model folder and check that it is whole and that its parts belong together.

    Parameters
    ----------
    folder
        A folder written by :func:`write_model`.
    device
        Where the weights go.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If a file is damaged, of another format or version, or belongs to another model.
    """
    source = Path(folder)
    _check_complete(source)
    config = _read_config(source / CONFIG_FILE)
    weights = source / WEIGHTS_FILE
    if _sha256(weights) != config["weights_sha256"]:
        raise ValueError(
            f"{weights} does not match the checksum in {CONFIG_FILE}: it is truncated, damaged or of another model. "
            "Copy the model folder again, or save the model anew."
        )
    try:
        tensors = load_file(weights, device=device)
    except SafetensorError as error:
        raise ValueError(f"{weights} is not a readable safetensors file ({error}). Save the model anew.") from error
    vocabulary = GeneVocabulary.from_tsv(source / GENES_FILE)
    if vocabulary.fingerprint != config["vocabulary_fingerprint"]:
        raise ValueError(
            f"{source / GENES_FILE} is not the vocabulary this model was saved with: its fingerprint is "
            f"{vocabulary.fingerprint[:12]}, the model's {config['vocabulary_fingerprint'][:12]}. "
            "Keep the files of a model folder together."
        )
    meta = {key: _decode(value) for key, value in config.items()}
    return SavedModel(meta=meta, tensors=tensors, vocabulary=vocabulary, cells=_read_cells(source, config))


def _read_cells(folder: Path, config: dict[str, Any]) -> CellHashes | None:
    if "cells_sha256" not in config:
        return None
    path = folder / CELLS_FILE
    if not path.is_file() or _sha256(path) != config["cells_sha256"]:
        raise ValueError(
            f"{path} is missing or does not match the checksum in {CONFIG_FILE}. Copy the model folder again."
        )
    return read_cell_hashes(path)


def _check_complete(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder. Give the folder that save() wrote.")
    missing = [name for name in (CONFIG_FILE, WEIGHTS_FILE, GENES_FILE) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}: a model folder holds {CONFIG_FILE}, {WEIGHTS_FILE} and "
            f"{GENES_FILE}. Give the folder that save() wrote."
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no readable JSON ({error}): it is truncated or damaged. Copy it again.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a {FORMAT} model. Give the folder that save() wrote.")
    version = config.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}; this package reads up to {FORMAT_VERSION}. Upgrade genemamba-sc."
        )
    missing = [name for name in _ENTRIES if name not in config]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it was edited or damaged. Copy the model folder again.")
    return config


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _encode(value: Any) -> Any:
    """JSON with arrays and data frames marked, so that a registry comes back as it was."""
    if isinstance(value, pd.DataFrame):
        return {"__frame__": value.to_dict(orient="list"), "index": value.index.tolist(), "name": value.index.name}
    if isinstance(value, np.ndarray):
        return {"__array__": value.tolist(), "text": value.dtype.kind not in "biuf"}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"A value of type {type(value).__name__} cannot be saved with the model. Got {value!r}.")


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if "__array__" in value:
            return np.asarray(value["__array__"], dtype=object if value["text"] else None)
        if "__frame__" in value:
            index = pd.Index(value["index"], name=value["name"])
            return pd.DataFrame(value["__frame__"], index=index)
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    return value
