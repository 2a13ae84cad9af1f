"""Pretrained weights on disk: a folder that says what it holds, where it comes from and how good it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genemamba_sc._digests import sha256_of
from genemamba_sc._files import replacing_folder
from genemamba_sc._version import __version__
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.data._cell_hashes import CELLS_FILE, CellHashes, read_cell_hashes, write_cell_hashes
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.weights._card import model_card
from genemamba_sc.weights._folder import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_replaceable,
    check_seal,
    check_sha256,
    read_json,
    sealed,
    write_json,
)
from genemamba_sc.weights._shapes import cheap_shapes, check_header, check_shapes, encoder_shapes
from genemamba_sc.weights._tensors import read_safetensors, write_tensors

FORMAT = "genemamba_sc-pretrained"
# 2: config.json has a checksum of its own.
FORMAT_VERSION = 2

VOCABULARY_FILE = "vocabulary.tsv.gz"
MANIFEST_FILE = "manifest.json"
EVALUATION_FILE = "evaluation.json"
CARD_FILE = "README.md"
SELFTEST_FILE = "selftest.safetensors"
_CHECKED = (WEIGHTS_FILE, VOCABULARY_FILE, MANIFEST_FILE, EVALUATION_FILE)
_FILES = (CONFIG_FILE, *_CHECKED, CARD_FILE)
_OPTIONAL = (CELLS_FILE, SELFTEST_FILE)
_ENTRIES = ("encoder_config", "max_len", "sha256")
_ENCODER, _HEAD = "encoder.", "gene_head."


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A pretrained encoder, its genes, and where they come from.

    Parameters
    ----------
    encoder_config
        Configuration of the encoder.
    encoder
        State dict of :class:`genemamba_sc.nn.BiMambaEncoder`.
    gene_head
        Weights of what predicts genes; may be empty. ``weight`` (v, d) and ``bias`` (v,) where the head is a linear
        map of its own; those of :class:`genemamba_sc.nn.GeneHead` where it is tied to the gene table.
    vocabulary
        The genes; row ``i`` of the table is token ``i``.
    max_len
        Most genes read per cell.
    manifest
        What the weights were made from and how; fit for JSON.
    evaluation
        Rows of a table of results; fit for JSON.
    origin
        Where they were read from: a name, never a path of somebody's machine.
    cells
        Hashes of the cells they were trained on, for :func:`genemamba_sc.check_contamination`; ``None`` if not known.

    Raises
    ------
    ValueError
        If weights and configuration, or vocabulary and table, do not fit.
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

    def __post_init__(self) -> None:
        config = self.encoder_config
        if config.vocab_size != self.vocabulary.size:
            raise ValueError(
                f"The gene table needs one row per token; it has {config.vocab_size}, the vocabulary "
                f"{self.vocabulary.size} tokens. Keep weights and vocabulary of one checkpoint together."
            )
        expected = encoder_shapes(config)
        for name, shape in (("weight", (config.vocab_size, config.d_model)), ("bias", (config.vocab_size,))):
            if name in self.gene_head:
                expected[_HEAD + name] = shape
        found = {**self.encoder, **{_HEAD + name: self.gene_head[name] for name in self.gene_head}}
        check_shapes({name: found[name] for name in found if name in expected or not name.startswith(_HEAD)}, expected)


def write_pretrained(folder: str | Path, pretrained: Pretrained, *, overwrite: bool = False) -> None:
    """Write pretrained weights to a folder, whole or not at all.

    It holds ``config.json`` (format, configuration, checksums), ``model.safetensors``, ``vocabulary.tsv.gz``,
    ``manifest.json``, ``evaluation.json`` and ``README.md``, a model card made from them; and ``cells.safetensors``
    where the hashes of the cells are known.

    Parameters
    ----------
    folder
        Where to write; created with its parents.
    pretrained
        What to write. Tensors are stored in the precision they have; :func:`read_pretrained` returns float32.
    overwrite
        Whether such a folder is replaced.

    Raises
    ------
    FileExistsError
        If the folder exists and ``overwrite`` is off, or it is something else.
    TypeError
        If manifest or evaluation hold what JSON cannot.
    OSError
        If it cannot be written; what stood there stays.
    """
    target = Path(folder)
    what = "a folder of pretrained weights"
    check_replaceable(target, overwrite=overwrite, files={*_FILES, *_OPTIONAL}, is_own=is_own, what=what)
    manifest, evaluation = as_json(pretrained.manifest), as_json(pretrained.evaluation)
    named = {_ENCODER: pretrained.encoder, _HEAD: pretrained.gene_head}
    tensors = {p + name: t for p, part in named.items() for name, t in part.items()}
    with replacing_folder(target) as temporary:
        write_tensors(temporary / WEIGHTS_FILE, tensors)
        pretrained.vocabulary.to_tsv(temporary / VOCABULARY_FILE)
        write_json(temporary / MANIFEST_FILE, manifest)
        write_json(temporary / EVALUATION_FILE, evaluation)
        if pretrained.cells is not None:
            write_cell_hashes(temporary / CELLS_FILE, pretrained.cells)
        config = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "written_by": f"genemamba_sc {__version__}",
            "encoder_config": pretrained.encoder_config.to_dict(),
            "max_len": pretrained.max_len,
            "sha256": {name: sha256_of(temporary / name) for name in _checked_files(temporary, {})},
        }
        write_json(temporary / CONFIG_FILE, sealed(config))
        n_parameters = sum(tensor.numel() for tensor in tensors.values())
        card = model_card(
            pretrained.encoder_config, n_parameters, pretrained.max_len, pretrained.vocabulary, manifest, evaluation
        )
        (temporary / CARD_FILE).write_text(card, encoding="utf-8")


def is_own(config: object) -> bool:
    """Tell whether a ``config.json`` is one that :func:`write_pretrained` wrote."""
    return isinstance(config, dict) and config.get("format") == FORMAT


def read_own(folder: Path, origin: str) -> Pretrained:
    """Read what :func:`write_pretrained` wrote, checking that it is whole.

    Parameters
    ----------
    folder
        The folder.
    origin
        Its name for reports.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, edited, or of a newer format.
    """
    config = read_json(folder / CONFIG_FILE)
    version = config.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(
            f"{folder / CONFIG_FILE} has format version {version!r}; this package reads up to {FORMAT_VERSION}. "
            "Upgrade genemamba-sc."
        )
    if missing := [name for name in _ENTRIES if name not in config]:
        raise ValueError(f"{folder / CONFIG_FILE} lacks {', '.join(missing)}: it was edited or damaged. Copy it again.")
    if version > 1 and not check_seal(config, folder / CONFIG_FILE):
        raise ValueError(f"{folder / CONFIG_FILE} lacks its checksum: it was edited. Copy the whole folder again.")
    _check_files(folder, config["sha256"])
    encoder_config = EncoderConfig.from_dict(config["encoder_config"])
    check_header(
        folder / WEIGHTS_FILE, {_ENCODER + name: shape for name, shape in cheap_shapes(encoder_config).items()}
    )
    tensors = {name: t.float() for name, t in read_safetensors(folder / WEIGHTS_FILE).items()}
    parts = {p: {n.removeprefix(p): t for n, t in tensors.items() if n.startswith(p)} for p in (_ENCODER, _HEAD)}
    if left := [name for name in tensors if not name.startswith((_ENCODER, _HEAD))]:
        raise ValueError(f"Tensors are named encoder.* or gene_head.*; {folder} has {left[:3]}. Write it anew.")
    return Pretrained(
        encoder_config=encoder_config,
        encoder=parts[_ENCODER],
        gene_head=parts[_HEAD],
        vocabulary=GeneVocabulary.from_tsv(folder / VOCABULARY_FILE),
        max_len=int(config["max_len"]),
        manifest=read_json(folder / MANIFEST_FILE),
        evaluation=read_json(folder / EVALUATION_FILE),
        origin=origin,
        cells=read_cell_hashes(folder / CELLS_FILE) if (folder / CELLS_FILE).is_file() else None,
    )


def _checked_files(folder: Path, checksums: Mapping[str, str]) -> list[str]:
    """Files that must be as they were written: hashes of cells only where there are any, or should be."""
    has_cells = CELLS_FILE in checksums or (folder / CELLS_FILE).is_file()
    return [*_CHECKED, *([CELLS_FILE] if has_cells else [])]


def _check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    for name in _checked_files(folder, checksums):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} lacks {name}: pretrained weights are the files {', '.join(_FILES)}. Copy the whole folder."
            )
        check_sha256(folder / name, checksums.get(name))


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
