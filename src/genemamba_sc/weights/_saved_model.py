"""Save models: safetensors for the weights, JSON for the choices, TSV for the genes. No pickle.

A folder holds ``config.json`` (format, versions, constructor arguments, registry, history, checksums),
``model.safetensors`` and ``genes.tsv``. It also holds ``cells.safetensors`` where the model started from weights that
bring the hashes of their cells, and ``gene_aliases.json`` where it knows older names of its genes. Every file that
changes a prediction has a checksum, ``config.json`` too. Nothing in the folder is executed when it is read.

With a prefix every file name begins with it, and several models share a folder, as in scvi-tools.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anndata.io import write_h5ad
from torch import Tensor

from genemamba_sc._files import recover, replacing_file, replacing_folder
from genemamba_sc._json import Fields, quoted, read_object
from genemamba_sc.data import GeneAliases, GeneVocabulary
from genemamba_sc.data.cells._text import plain_text
from genemamba_sc.data.tokens._cell_hashes import CELLS_FILE, CellHashes, read_cell_hashes, write_cell_hashes
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.weights import _folder
from genemamba_sc.weights._aliases import read_aliases, write_aliases
from genemamba_sc.weights._arrays import decode, encode
from genemamba_sc.weights._folder import ADATA_FILE, ALIASES_FILE, CONFIG_FILE, GENES_FILE, WEIGHTS_FILE
from genemamba_sc.weights._tensors import check_encoder, read_header, read_safetensors, write_safetensors

FORMAT = "genemamba_sc"
# 2: the cell-type head has programs. 3: every file that changes a prediction has a checksum; origin and gene aliases.
# 4: arrays of an integration may lie beside the weights. 5: so may those of a calibration.
FORMAT_VERSION = 5

# Prefixes of arrays that lie beside the weights, under the same checksum, and are no parameters.
INTEGRATION_PREFIX, CALIBRATION_PREFIX = "integration.", "calibration."

_NEEDED = (WEIGHTS_FILE, GENES_FILE)
_OPTIONAL = (CELLS_FILE, ALIASES_FILE)
_FILES = (CONFIG_FILE, *_NEEDED, *_OPTIONAL, ADATA_FILE)
_ENTRIES = ("vocabulary_fingerprint", "versions", "class", "init", "registry", "attributes")
# Prefix of the encoder's tensors in the state dict of a model.
_ENCODER = "encoder."


@dataclass(frozen=True)
class SavedModel:
    """Hold what a model folder contains.

    Parameters
    ----------
    meta
        Everything in ``config.json`` except the checksums.
    tensors
        The weights, by name.
    vocabulary
        The genes.
    cells
        Hashes of the cells of the pretraining; ``None`` where there was none, or it does not tell them.
    aliases
        Older names of the genes, where the model knows any.
    """

    meta: dict[str, Any]
    tensors: dict[str, Tensor]
    vocabulary: GeneVocabulary
    cells: CellHashes | None = None
    aliases: GeneAliases | None = None


def write_model(
    folder: str | Path, saved: SavedModel, *, overwrite: bool = False, adata: Any = None, prefix: str | None = None
) -> None:
    """Write a model folder, whole or not at all.

    Parameters
    ----------
    folder
        Folder to write; it is created with its parents.
    saved
        The model to write.
    overwrite
        Whether an existing folder, or with a prefix an existing model of that prefix, is replaced.
    adata
        AnnData to keep beside the model, or ``None``.
    prefix
        Text before every file name. Other files of the folder then stay, and each file is written whole by itself.

    Raises
    ------
    FileExistsError
        If the folder exists and ``overwrite`` is off.
    ValueError
        If a weight is not a finite number.
    OSError
        If the folder cannot be written (rights, disk full); what stood there stays.
    """
    target = Path(folder)
    check_target(target, overwrite=overwrite, prefix=prefix)
    if not prefix:
        with replacing_folder(target) as temporary:
            _write_files(lambda name: temporary / name, saved, adata)
        return
    target.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    with ExitStack() as stack:

        def place(name: str) -> Path:
            written.add(name)
            return stack.enter_context(replacing_file(target / f"{prefix}{name}"))

        # Files take their places in reverse order: the configuration, with the checksums of the others, comes last.
        config = place(CONFIG_FILE)
        _write_files(lambda name: config if name == CONFIG_FILE else place(name), saved, adata)
    for name in set(_FILES) - written:
        (target / f"{prefix}{name}").unlink(missing_ok=True)


def _write_files(place: Callable[[str], Path], saved: SavedModel, adata: Any) -> None:
    """Write the files of a model to the places that ``place`` gives, which is called once for each."""
    sums: dict[str, str] = {}

    def write(name: str, writer: Callable[[Path], object]) -> None:
        path = place(name)
        writer(path)
        sums[name] = _folder.sha256_of(path)

    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in saved.tensors.items()}
    write(WEIGHTS_FILE, lambda path: write_safetensors(path, weights))
    write(GENES_FILE, saved.vocabulary.to_tsv)
    if saved.cells is not None:
        write(CELLS_FILE, partial(write_cell_hashes, cells=saved.cells))
    if saved.aliases is not None:
        write(ALIASES_FILE, partial(write_aliases, aliases=saved.aliases))
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "sha256": sums,
        "vocabulary_fingerprint": saved.vocabulary.fingerprint,
        **{key: encode(value) for key, value in saved.meta.items()},
    }
    place(CONFIG_FILE).write_text(json.dumps(_folder.sealed(config), indent=1), encoding="utf-8")
    if adata is not None:
        # The method of AnnData would make a backed one point at the temporary file.
        with plain_text(adata):
            write_h5ad(place(ADATA_FILE), adata)


def check_target(folder: str | Path, *, overwrite: bool, prefix: str | None = None) -> None:
    """Refuse a place that a model must not be written to.

    Parameters
    ----------
    folder
        Where a model is to be written.
    overwrite
        Whether an existing model may be replaced.
    prefix
        Text before every file name; other files of the folder do not matter then.

    Raises
    ------
    FileExistsError
        If something stands there and ``overwrite`` is off, or what stands there is no model.
    ValueError
        If the prefix cannot begin a file name.
    """
    if not prefix:
        _folder.check_target(folder, f"a {FORMAT} model", _FILES, is_own, overwrite=overwrite)
        return
    _check_prefix(prefix)
    if Path(folder).exists() and not Path(folder).is_dir():
        raise FileExistsError(f"{folder} is a file, so no model is written into it. Choose another name.")
    present = [name for name in _FILES if (Path(folder) / f"{prefix}{name}").exists()]
    if present and not overwrite:
        raise FileExistsError(
            f"{folder} has a model of the prefix {prefix!r} already. Choose another prefix, or pass overwrite=True."
        )
    if present and not is_own(_folder.config_or_none(Path(folder) / f"{prefix}{CONFIG_FILE}")):
        raise FileExistsError(
            f"{folder} has files of the prefix {prefix!r} that are no {FORMAT} model, so they are not replaced. "
            "Choose another prefix."
        )


def is_own(config: object) -> bool:
    """Tell whether a ``config.json`` is one that :func:`write_model` wrote."""
    return isinstance(config, dict) and config.get("format") == FORMAT


def read_model(folder: str | Path, prefix: str | None = None) -> SavedModel:
    """Read a model folder and check that it is whole and that its parts belong together.

    Parameters
    ----------
    folder
        A folder written by :func:`write_model`.
    prefix
        Text before the names of the files.

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If a file is damaged, of another format or version, or belongs to another model; or a weight is not finite.

    Warns
    -----
    UserWarning
        If the folder was written before every file had a checksum.
    """
    source, before = Path(folder), prefix or ""
    _check_prefix(before)
    recover(source)
    weights, genes = (source / f"{before}{name}" for name in _NEEDED)
    config = read_config(source, prefix)
    sums = _sums(config, before)
    optional = [before + name for name in _OPTIONAL]
    _folder.check_files(source, sums, [path.name for path in (weights, genes) if path.name in sums], optional)
    encoder_config = config.object("init").made("encoder_config", EncoderConfig.from_dict)
    check_encoder(read_header(weights), encoder_config, _ENCODER, weights)
    vocabulary = _folder.read_vocabulary(genes, encoder_config.vocab_size)
    if vocabulary.fingerprint != config.text("vocabulary_fingerprint"):
        raise ValueError(
            f"{genes} is not the vocabulary this model was saved with: its fingerprint is "
            f"{vocabulary.fingerprint[:12]}, the model's {quoted(config.text('vocabulary_fingerprint')[:12])}. "
            "Keep the files of a model folder together."
        )
    cells, aliases = (source / f"{before}{name}" for name in _OPTIONAL)
    return SavedModel(
        meta={key: config.made(key, decode) for key in config.values},
        tensors=read_safetensors(weights, ("F32",)),
        vocabulary=vocabulary,
        cells=read_cell_hashes(cells) if cells.name in sums else None,
        aliases=read_aliases(aliases) if aliases.name in sums else None,
    )


def read_config(folder: str | Path, prefix: str | None = None) -> Fields:
    """Read the configuration of a model folder, compare it with its checksum, and keep arrays as JSON has them.

    Parameters
    ----------
    folder, prefix
        As in :func:`read_model`.

    Raises
    ------
    FileNotFoundError, ValueError
        As in :func:`read_model`.
    """
    source, before = Path(folder), prefix or ""
    _check_complete(source, before)
    path = source / f"{before}{CONFIG_FILE}"
    config = _read_config(path)
    if config.values["format_version"] >= 3:
        _folder.check_seal(config, path)
    else:
        _folder.warn_unsealed(source, "Load it, and save it again.")
    return config


def _sums(config: Fields, before: str) -> dict[str, str]:
    """Return the checksums by file name; before version 3 they had separate entries, and the genes had none."""
    if "sha256" in config.values:
        return {before + name: digest for name, digest in config.texts("sha256").items()}
    sums = {WEIGHTS_FILE: config.text("weights_sha256")}
    if "cells_sha256" in config.values:
        sums[CELLS_FILE] = config.text("cells_sha256")
    return sums


def _check_prefix(prefix: str) -> None:
    if prefix and (Path(prefix).name != prefix or "\\" in prefix):
        raise ValueError(f"A prefix is the beginning of a file name. Got {prefix!r}. Leave out slashes.")


def _check_complete(folder: Path, before: str) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder. Give the folder that save() wrote.")
    missing = [before + name for name in (CONFIG_FILE, *_NEEDED) if not (folder / f"{before}{name}").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}: a model folder holds {CONFIG_FILE}, {WEIGHTS_FILE} and "
            f"{GENES_FILE}, each with the prefix of save(). Give the folder that save() wrote."
        )


def _read_config(path: Path) -> Fields:
    config = read_object(path)
    if not is_own(config.values):
        raise ValueError(f"{path} does not describe a {FORMAT} model. Give the folder that save() wrote.")
    version = _folder.check_version(config, path, FORMAT_VERSION)
    config.require(*_ENTRIES, *(["sha256"] if version >= 3 else ["weights_sha256"]))
    return config
