"""Models on disk: safetensors for the weights, JSON for the choices, TSV for the genes. No pickle.

A folder holds ``config.json`` (format, versions, constructor arguments, registry, history, checksums),
``model.safetensors`` and ``genes.tsv``; ``cells.safetensors`` where the model started from weights that bring the
hashes of their cells, ``aliases.tsv.gz`` where it knows further names of genes. Nothing in it is executed when it is
read.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata.io import write_h5ad
from torch import Tensor

from genemamba_sc._digests import sha256_of
from genemamba_sc._files import recover, replacing_folder
from genemamba_sc._warn import warn
from genemamba_sc.data import GeneAliases, GeneVocabulary
from genemamba_sc.data._cell_hashes import CELLS_FILE, CellHashes, read_cell_hashes, write_cell_hashes
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.weights._folder import CONFIG_FILE, WEIGHTS_FILE, check_replaceable, check_seal, check_sha256, sealed
from genemamba_sc.weights._shapes import cheap_shapes, check_header
from genemamba_sc.weights._tensors import read_safetensors, write_tensors

FORMAT = "genemamba_sc"
# 2: the cell-type head has programs. 3: configuration and gene table have checksums, aliases are kept.
FORMAT_VERSION = 3

GENES_FILE = "genes.tsv"
ADATA_FILE = "adata.h5ad"
ALIASES_FILE = "aliases.tsv.gz"
_FILES = (CONFIG_FILE, WEIGHTS_FILE, GENES_FILE, ADATA_FILE, CELLS_FILE, ALIASES_FILE)
# Entries of the configuration with the checksums of files; the first is in every format.
_SUMS = {
    "weights_sha256": WEIGHTS_FILE,
    "genes_sha256": GENES_FILE,
    "cells_sha256": CELLS_FILE,
    "aliases_sha256": ALIASES_FILE,
}
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
    aliases
        Further names of genes, where a table was given.
    """

    meta: dict[str, Any]
    tensors: dict[str, Tensor]
    vocabulary: GeneVocabulary
    cells: CellHashes | None = None
    aliases: GeneAliases | None = None


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
        write_tensors(temporary / WEIGHTS_FILE, saved.tensors)
        saved.vocabulary.to_tsv(temporary / GENES_FILE)
        if saved.cells is not None:
            write_cell_hashes(temporary / CELLS_FILE, saved.cells)
        if saved.aliases is not None:
            saved.aliases.to_tsv(temporary / ALIASES_FILE)
        sums = {name: sha256_of(temporary / file) for name, file in _SUMS.items() if (temporary / file).is_file()}
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **sums,
            "vocabulary_fingerprint": saved.vocabulary.fingerprint,
            **{key: _encode(value) for key, value in saved.meta.items()},
        }
        (temporary / CONFIG_FILE).write_text(json.dumps(sealed(config), indent=1), encoding="utf-8")
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
    check_replaceable(Path(folder), overwrite=overwrite, files=_FILES, is_own=_is_own, what=f"a {FORMAT} model")


def _is_own(config: Any) -> bool:
    return isinstance(config, dict) and config.get("format") == FORMAT


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
    recover(source)
    _check_complete(source)
    config = _read_config(source / CONFIG_FILE)
    for name, file in _SUMS.items():
        if name in config:
            check_sha256(source / file, config[name])
    check_header(source / WEIGHTS_FILE, _asked_for(config))
    tensors = {name: tensor.to(device) for name, tensor in read_safetensors(source / WEIGHTS_FILE).items()}
    vocabulary = GeneVocabulary.from_tsv(source / GENES_FILE)
    if vocabulary.fingerprint != config["vocabulary_fingerprint"]:
        raise ValueError(
            f"{source / GENES_FILE} is not the vocabulary this model was saved with: its fingerprint is "
            f"{vocabulary.fingerprint[:12]}, the model's {config['vocabulary_fingerprint'][:12]}. "
            "Keep the files of a model folder together."
        )
    return SavedModel(
        meta={key: _decode(value) for key, value in config.items()},
        tensors=tensors,
        vocabulary=vocabulary,
        cells=read_cell_hashes(source / CELLS_FILE) if "cells_sha256" in config else None,
        aliases=GeneAliases.of_tsv(source / ALIASES_FILE) if "aliases_sha256" in config else None,
    )


def _asked_for(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes that the configuration of the encoder asks for, by the names of a saved model."""
    encoder = EncoderConfig.from_dict(config["init"]["encoder_config"])
    return {f"encoder.{name}": shape for name, shape in cheap_shapes(encoder).items()}


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
    if not check_seal(config, path):
        if version > 2:
            raise ValueError(f"{path} lacks its checksum: it was edited. Copy the model folder again.")
        warn(
            f"{path.parent} was saved by an older version, without checksums of its configuration and its gene table: "
            "whether they were changed since cannot be told. Load it and save it anew to have them."
        )
    missing = [name for name in _ENTRIES if name not in config]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it was edited or damaged. Copy the model folder again.")
    return config


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
