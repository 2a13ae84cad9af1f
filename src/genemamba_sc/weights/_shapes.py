"""Shapes of an encoder's weights: what a configuration asks for, compared with what a file holds."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from genemamba_sc.nn import BiMambaEncoder, EncoderConfig
from genemamba_sc.weights._tensors import header_shapes


def encoder_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of an encoder."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in BiMambaEncoder(config).state_dict().items()}


def check_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights that are not exactly those expected.

    Raises
    ------
    ValueError
        If a tensor is left over, missing, or of another shape; it names them.
    """
    faults = [
        f"{what}: {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
        for what, names in (
            ("left over", sorted(tensors.keys() - expected.keys())),
            ("missing", sorted(expected.keys() - tensors.keys())),
            ("of another shape", [
                f"{name} is {tuple(tensor.shape)}, must be {expected[name]}"
                for name, tensor in sorted(tensors.items())
                if name in expected and tuple(tensor.shape) != expected[name]
            ]),
        )
        if names
    ]  # fmt: skip
    if faults:
        raise ValueError(
            f"Every tensor of a checkpoint must have its place; {'; '.join(faults)}. "
            "Keep config.json and the weights of one checkpoint together."
        )


def cheap_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Shapes that tell width, depth and vocabulary, without building what an absurd configuration asks for."""
    last = f"layers.{config.n_layer - 1}.mixer.out_proj.weight"
    shapes: dict[str, tuple[int, ...]] = {"embeddings.weight": (config.vocab_size, config.d_model)}
    return shapes | ({last: (config.d_model, config.expand * config.d_model)} if config.n_layer else {})


def check_header(path: Path, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Compare a configuration with the header of the weights, before anything is built or read.

    Raises
    ------
    ValueError
        If a tensor is missing or of another shape.
    """
    found = header_shapes(path)
    for name, shape in expected.items():
        if found.get(name) != shape:
            has = f"has {name} of shape {found[name]}" if name in found else f"has no {name}"
            raise ValueError(
                f"Configuration and weights must fit; config.json asks for {name} of shape {shape}, {path.name} {has}. "
                "Keep the files of one folder together."
            )
