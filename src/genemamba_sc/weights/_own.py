"""Write and read pretrained weights: a folder that says what it holds, where it comes from and how good it is."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genemamba_sc._checks import whole_number
from genemamba_sc._described import Described
from genemamba_sc._files import replacing_folder
from genemamba_sc._json import quoted, read_json, read_object
from genemamba_sc._version import __version__
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.data.genes._text_files import naming
from genemamba_sc.data.tokens._cell_hashes import CELLS_FILE, CellHashes, read_cell_hashes, write_cell_hashes
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.weights import _folder
from genemamba_sc.weights._card import model_card
from genemamba_sc.weights._folder import (
    CARD_FILE,
    CONFIG_FILE,
    EVALUATION_FILE,
    MANIFEST_FILE,
    SELFTEST_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
)
from genemamba_sc.weights._kinds import check_floats, head_shapes
from genemamba_sc.weights._tensors import (
    check_encoder,
    check_shapes,
    encoder_shapes,
    read_header,
    read_safetensors,
    write_safetensors,
)

logger = logging.getLogger(__name__)

FORMAT = "genemamba_sc-pretrained"
# 2: config.json is under a checksum, too.
FORMAT_VERSION = 2

_CHECKED = (WEIGHTS_FILE, VOCABULARY_FILE, MANIFEST_FILE, EVALUATION_FILE)
_FILES = (CONFIG_FILE, *_CHECKED, CARD_FILE, CELLS_FILE, SELFTEST_FILE)
_ENCODER, _HEAD = "encoder.", "gene_head."


@dataclass(frozen=True, eq=False, repr=False)
class Pretrained(Described):
    """Hold a pretrained encoder, its genes, and where they come from.

    Parameters
    ----------
    encoder_config
        Configuration of the encoder.
    encoder
        State dict of :class:`genemamba_sc.nn.BiMambaEncoder`.
    gene_head
        Weights of the head that predicts genes; may be empty. They are ``weight`` (v, d) and ``bias`` (v,) where the
        head is a separate linear map, and those of :class:`genemamba_sc.nn.GeneHead` where it is tied to the gene
        table.
    vocabulary
        The genes; row ``i`` of the table is token ``i``.
    max_len
        Largest number of genes read per cell.
    manifest
        What the weights were made from and how, as values that JSON holds.
    evaluation
        Rows of a table of results, as values that JSON holds.
    origin
        Where the weights were read from: a name, never a path of somebody's machine.
    cells
        Hashes of the cells they were trained on, for :func:`genemamba_sc.check_contamination`; ``None`` if not known.

    Raises
    ------
    TypeError
        If a weight is no tensor, or a field is of another kind.
    ValueError
        If weights and configuration, or vocabulary and table, do not fit each other, or a weight is of another kind
        than float32, float16 or bfloat16.
    """

    encoder_config: EncoderConfig
    encoder: dict[str, Tensor]
    gene_head: dict[str, Tensor]
    vocabulary: GeneVocabulary
    max_len: int
    manifest: dict[str, Any]
    evaluation: list[dict[str, Any]]
    origin: str
    cells: CellHashes | None = None

    def _about(self) -> dict[str, str]:
        config, genes = self.encoder_config, self.vocabulary
        return {
            "read from": self.origin,
            "genes": f"{genes.n_genes:,} ({genes.species}), of which a cell is read up to {self.max_len:,}",
            "encoder": f"{config.n_layer} layer(s), width {config.d_model}",
            "head for genes": "yes" if self.gene_head else "no",
            "trained on": "cells not named" if self.cells is None else f"{len(self.cells.exact):,} cells",
        }

    def __post_init__(self) -> None:
        config = self.encoder_config
        if config.vocab_size != self.vocabulary.size:
            raise ValueError(
                f"The gene table needs one row per token; it has {config.vocab_size}, the vocabulary "
                f"{self.vocabulary.size} tokens. Keep weights and vocabulary of one checkpoint together."
            )
        self._check_kinds()
        tensors = {**self.encoder, **{_HEAD + name: tensor for name, tensor in self.gene_head.items()}}
        check_floats(tensors)
        head = {_HEAD + name: shape for name, shape in head_shapes(config, self.gene_head).items()}
        check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, encoder_shapes(config) | head)

    def _check_kinds(self) -> None:
        """Refuse what could be written and not be read again."""
        object.__setattr__(self, "max_len", whole_number("max_len", self.max_len, 1))
        if not isinstance(self.manifest, Mapping):
            raise TypeError(f"manifest must be a dict. Got {quoted(self.manifest)}. Use {{}} where nothing is known.")
        rows = self.evaluation
        if not isinstance(rows, list | tuple) or not all(isinstance(row, Mapping) for row in rows):
            raise TypeError(f"evaluation must be a list of dicts. Got {quoted(rows)}. Use [] where nothing is known.")


def write_pretrained(folder: str | Path, pretrained: Pretrained, *, overwrite: bool = False) -> None:
    """Write pretrained weights to a folder, whole or not at all.

    The folder holds ``config.json`` (format, configuration, checksums), ``model.safetensors``, ``vocabulary.tsv.gz``,
    ``manifest.json``, ``evaluation.json`` and ``README.md``, a model card made from them; and ``cells.safetensors``
    where the hashes of the cells are known.

    Parameters
    ----------
    folder
        Folder to write; it is created with its parents.
    pretrained
        The weights to write. Tensors are stored in the precision they have; :func:`read_pretrained` returns float32.
    overwrite
        Whether an existing folder of this kind is replaced.

    Raises
    ------
    FileExistsError
        If the folder exists and ``overwrite`` is off, or the folder is something else.
    TypeError
        If manifest or evaluation hold what JSON cannot hold.
    ValueError
        If a weight is not a finite number.
    OSError
        If the folder cannot be written; what stood there stays.
    """
    target = Path(folder)
    _folder.check_target(target, "pretrained weights", _FILES, is_own, overwrite=overwrite)
    manifest, evaluation = as_json(pretrained.manifest), as_json(pretrained.evaluation)
    named = {_ENCODER: pretrained.encoder, _HEAD: pretrained.gene_head}
    tensors = {prefix + name: tensor for prefix, part in named.items() for name, tensor in part.items()}
    with replacing_folder(target) as temporary:
        write_safetensors(temporary / WEIGHTS_FILE, tensors)
        pretrained.vocabulary.to_tsv(temporary / VOCABULARY_FILE)
        _write_json(temporary / MANIFEST_FILE, manifest)
        _write_json(temporary / EVALUATION_FILE, evaluation)
        if pretrained.cells is not None:
            write_cell_hashes(temporary / CELLS_FILE, pretrained.cells)
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "written_by": f"genemamba_sc {__version__}",
            "encoder_config": pretrained.encoder_config.to_dict(),
            "max_len": pretrained.max_len,
            "sha256": _folder.checksums(temporary, (*_CHECKED, CELLS_FILE)),
        }
        _write_json(temporary / CONFIG_FILE, _folder.sealed(config))
        n_parameters = sum(tensor.numel() for tensor in tensors.values())
        card = model_card(
            pretrained.encoder_config, n_parameters, pretrained.max_len, pretrained.vocabulary, manifest, evaluation
        )
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")


def is_own(config: object) -> bool:
    """Tell whether a ``config.json`` is one that :func:`write_pretrained` wrote."""
    return isinstance(config, dict) and config.get("format") == FORMAT


def read_own(folder: Path, origin: str) -> Pretrained:
    """Read what :func:`write_pretrained` wrote, and check that it is whole.

    Parameters
    ----------
    folder
        The folder.
    origin
        Name of the weights for reports.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, edited, or of a newer format, or a weight is not a finite number.

    Warns
    -----
    UserWarning
        If the folder was written before ``config.json`` had a checksum.
    """
    path, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    config = read_object(path)
    version = _folder.check_version(config, path, FORMAT_VERSION)
    config.require("encoder_config", "max_len", "sha256")
    if version > 1:
        _folder.check_seal(config, path)
    _folder.check_files(folder, config.texts("sha256"), _CHECKED, (CELLS_FILE,))
    encoder_config = config.made("encoder_config", EncoderConfig.from_dict)
    header = read_header(weights)
    if left := [name for name in header if not name.startswith((_ENCODER, _HEAD))]:
        raise ValueError(
            f"Tensors are named encoder.* or gene_head.*; {folder} has {quoted(left[:3])}. Write it again."
        )
    check_encoder(header, encoder_config, _ENCODER, weights)
    tensors = {name: tensor.float() for name, tensor in read_safetensors(weights).items()}
    parts = {p: {n.removeprefix(p): t for n, t in tensors.items() if n.startswith(p)} for p in (_ENCODER, _HEAD)}
    with naming(folder):
        found = Pretrained(
            encoder_config=encoder_config,
            encoder=parts[_ENCODER],
            gene_head=parts[_HEAD],
            vocabulary=_folder.read_vocabulary(folder / VOCABULARY_FILE, encoder_config.vocab_size),
            max_len=config.whole("max_len", 1),
            manifest=read_object(folder / MANIFEST_FILE).values,
            evaluation=_rows(folder / EVALUATION_FILE),
            origin=origin,
            cells=read_cell_hashes(folder / CELLS_FILE) if (folder / CELLS_FILE).is_file() else None,
        )
    if version == 1:
        _tell_unsealed(folder)
    return found


def _tell_unsealed(folder: Path) -> None:
    if folder.parent == Path(__file__).parent:  # it ships with the package, which has checksums of its own
        logger.info("%s has no checksum of its config.json (format 1).", folder.name)
    else:
        _folder.warn_unsealed(folder, "Read it with from_pretrained, and write it again with save_pretrained.")


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold a list of JSON objects. Got {quoted(rows)}. Copy the whole folder again.")
    return rows


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def as_json(value: Any) -> Any:
    """Turn a value into what JSON holds; numbers that are not finite become ``None``.

    Raises
    ------
    TypeError
        If a value has no counterpart in JSON.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    raise TypeError(
        f"Manifest and evaluation hold text, numbers, lists and dicts. Got a {type(value).__name__}: {value!r}. "
        "Turn it into one of these."
    )
