"""Read weights that the authors of GeneMamba published, by names and shapes of their tensors, and use every tensor."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from genemamba_sc._json import quoted, read_object
from genemamba_sc.data import GeneVocabulary
from genemamba_sc.nn import EncoderConfig
from genemamba_sc.nn._config import Combine
from genemamba_sc.weights._folder import CONFIG_FILE
from genemamba_sc.weights._own import Pretrained
from genemamba_sc.weights._published_names import Layout, layout_of, original_name, rename
from genemamba_sc.weights._tensors import check_depth, check_shapes, encoder_shapes, read_tensors

_LEARNED: tuple[Combine, ...] = ("gate", "concat")
_FIXED: tuple[Combine, ...] = ("mean", "sum")
# Fields of config.json by what they say; the first name of each is that of the original.
_WIDTH = ("d_model", "hidden_size")
_DEPTH = ("mamba_layer", "num_hidden_layers")
_MODE = ("mode", "mamba_mode", "combine")
_LENGTH = "max_position_embeddings"
_DEFAULT_LENGTH = 2048


@dataclass(frozen=True, eq=False)
class PublishedWeights:
    """Hold a published checkpoint as it lies on disk, under the names of this package.

    Parameters
    ----------
    layout
        Layout whose names the tensors have.
    config
        Configuration that the shapes tell; ``combine`` is a placeholder where it is not known.
    combine
        What ``config.json``, or the lack of a combiner, says about the mode; ``None`` where neither does.
    has_combiner
        Whether there is a learned combiner.
    encoder
        Weights of the encoder, float32.
    head
        ``weight`` and ``bias`` of the output layer, float32; empty where it is not stored.
    n_parameters
        Number of values in the checkpoint.
    max_len
        Largest number of genes per cell.
    """

    layout: Layout
    config: EncoderConfig
    combine: Combine | None
    has_combiner: bool
    encoder: dict[str, Tensor]
    head: dict[str, Tensor]
    n_parameters: int
    max_len: int

    def with_combine(self, given: Combine | None) -> EncoderConfig:
        """Return the configuration with a known combine mode.

        Parameters
        ----------
        given
            What the user says; ``None`` takes what the checkpoint says.

        Raises
        ------
        ValueError
            If nobody says it, or the tensors contradict.
        """
        mode = given or self.combine
        if mode is None:
            raise ValueError(
                "This checkpoint has a combiner (aggr), which serves combine='gate' and combine='concat' alike, and "
                "its config.json names no mode. Pass combine='gate' (the paper's) or combine='concat'."
            )
        _check_mode(mode, self.has_combiner, "combine=" if given else f"{CONFIG_FILE} says ")
        return dataclasses.replace(self.config, combine=mode)


def read_published_weights(folder: Path) -> PublishedWeights:
    """Read a published checkpoint, and use every tensor.

    Parameters
    ----------
    folder
        Folder with ``config.json`` and the weights as safetensors.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If the weights are pickled or damaged, or tensors are left over, missing or of another shape.
    """
    fields = read_object(folder / CONFIG_FILE)
    settings, max_len = fields.values, fields.whole(_LENGTH, 1, default=_DEFAULT_LENGTH)
    stored = read_tensors(folder)
    tensors, names = rename(stored)
    config = _config_of(tensors, settings, folder)
    head = {name.removeprefix("lm_head."): tensors.pop(name) for name in list(tensors) if name.startswith("lm_head.")}
    _check(tensors, head, _expected(config, head), names, stored)
    if head and "weight" not in head:
        head["weight"] = tensors["embeddings.weight"]  # tied to the table, and not stored twice
    has_combiner = "combiner.weight" in tensors
    return PublishedWeights(
        layout=layout_of(stored),
        config=config,
        combine=_stated_mode(settings, has_combiner),
        has_combiner=has_combiner,
        encoder=tensors,
        head=head,
        n_parameters=sum(tensor.numel() for tensor in stored.values()),
        max_len=max_len,
    )


def published_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every tensor of a published checkpoint, in the original layout.

    Parameters
    ----------
    config
        Configuration, such as :meth:`EncoderConfig.published` with as many rows as the file has: 25,426, for it ends
        with the last gene.
    """
    return {original_name(name): shape for name, shape in _expected(config, ("weight", "bias")).items()}


def as_pretrained(
    weights: PublishedWeights, vocabulary: GeneVocabulary, combine: Combine | None, origin: str
) -> Pretrained:
    """Combine published weights with their genes.

    The published table has no rows for [CLS] and [MASK], with which a vocabulary of this package ends. They start as
    the mean of all rows, in the table and in the output layer, as the published fine-tuning started [CLS].

    Parameters
    ----------
    weights
        The published weights.
    vocabulary
        The genes of the weights.
    combine
        What the user says about the combine mode.
    origin
        Where the weights come from.

    Raises
    ------
    ValueError
        If the table has another number of rows than the vocabulary, or the combine mode is not known.
    """
    config = dataclasses.replace(weights.with_combine(combine), vocab_size=vocabulary.size)
    rows, most = weights.config.vocab_size, vocabulary.size
    if not most - 2 <= rows <= most:
        raise ValueError(
            f"The gene table needs a row for each of {vocabulary.n_genes} genes, [UNK] and [PAD], and may have rows "
            f"for [CLS] and [MASK]. Got {rows} rows. Pass the tokenizer that belongs to these weights."
        )
    encoder = dict(weights.encoder)
    encoder["embeddings.weight"] = _extended(encoder["embeddings.weight"], most)
    manifest = {
        "title": f"GeneMamba, published weights ({weights.layout} layout)",
        "layout": weights.layout,
        "n_parameters": weights.n_parameters,
        "rows_added": most - rows,
    }
    head = {name: _extended(tensor, most) for name, tensor in weights.head.items()}
    return Pretrained(config, encoder, head, vocabulary, weights.max_len, manifest, [], origin)


def _extended(rows: Tensor, n: int) -> Tensor:
    mean = rows.mean(dim=0, keepdim=True)
    return torch.cat([rows, *[mean] * (n - len(rows))])


def _config_of(tensors: dict[str, Tensor], settings: dict[str, Any], folder: Path) -> EncoderConfig:
    """Read the configuration from the shapes, and compare it with what ``config.json`` says."""
    needed = ["embeddings.weight", *(f"layers.0.mixer.{part}" for part in ("norm.weight", "A_log", "conv1d.weight"))]
    if missing := [name for name in needed if name not in tensors]:
        raise ValueError(
            "A published encoder has at least one layer and a gene table; missing: "
            f"{', '.join(map(original_name, missing))}. Give the folder of a GeneMamba checkpoint."
        )
    table, norm, decay, conv = (tensors[name] for name in needed)
    is_empty = any(0 in tensor.shape for tensor in (table, norm, decay, conv))
    if is_empty or [table.ndim, norm.ndim, decay.ndim, conv.ndim] != [2, 1, 1, 3]:
        shapes = [tuple(tensor.shape) for tensor in (table, norm, decay, conv)]
        raise ValueError(
            f"{', '.join(map(original_name, needed))} must have 2, 1, 1 and 3 axes, none of them empty. "
            f"Got the shapes {shapes}. Give the folder of a GeneMamba checkpoint."
        )
    (rows, width), inner, n_heads, (channels, _, d_conv) = table.shape, len(norm), len(decay), conv.shape
    depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
    check_depth(tensors, depth, folder)
    for fields, found in ((_WIDTH, width), (_DEPTH, depth), (("vocab_size",), rows)):
        stated = next((settings[field] for field in fields if field in settings), found)
        if stated != found:
            raise ValueError(
                f"{CONFIG_FILE} and weights must agree on {fields[0]}; it says {quoted(stated)}, the tensors {found}. "
                "Keep the files of one checkpoint together."
            )
    return dataclasses.replace(
        EncoderConfig.published(
            n_layer=depth, d_model=width, combine="gate" if "combiner.weight" in tensors else "mean"
        ),
        vocab_size=rows,
        d_state=(channels - inner) // 2,
        d_conv=d_conv,
        expand=max(1, inner // width),
        headdim=max(1, inner // n_heads),
    )


def _expected(config: EncoderConfig, head: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an encoder and of these parts of its output layer."""
    return encoder_shapes(config) | {f"lm_head.{name}": _head_shapes(config)[name] for name in head}


def _head_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    return {"weight": (config.vocab_size, config.d_model), "bias": (config.vocab_size,)}


def _check(
    tensors: dict[str, Tensor],
    head: dict[str, Tensor],
    expected: dict[str, tuple[int, ...]],
    names: dict[str, str],
    stored: dict[str, Tensor],
) -> None:
    """Compare shapes under the names that the file uses."""
    full = {**tensors, **{f"lm_head.{name}": tensor for name, tensor in head.items()}}
    check_shapes(
        {names[name]: tuple(stored[names[name]].shape) for name in full},
        {names.get(name, original_name(name)): shape for name, shape in expected.items()},
    )


def _stated_mode(settings: dict[str, Any], has_combiner: bool) -> Combine | None:
    stated = next((settings[field] for field in _MODE if isinstance(settings.get(field), str)), None)
    if stated is None:
        return None if has_combiner else "mean"
    if stated not in get_args(Combine):
        raise ValueError(
            f"The mode in {CONFIG_FILE} must be one of {list(get_args(Combine))}. Got {quoted(stated)}. Correct it."
        )
    return stated


def _check_mode(mode: str, has_combiner: bool, source: str) -> None:
    allowed = _LEARNED if has_combiner else _FIXED
    if mode not in allowed:
        found = "a combiner (aggr)" if has_combiner else "no combiner (aggr)"
        raise ValueError(
            f"The combine mode must fit the tensors: with {found} it is {allowed[0]!r} or {allowed[1]!r}. "
            f"Got {source}{mode!r}. Pass combine={allowed[0]!r} or combine={allowed[1]!r}."
        )
