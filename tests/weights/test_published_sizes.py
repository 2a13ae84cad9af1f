"""The layout of the release, told by its size: a file of safetensors is as long as its names and shapes say.

The release's ``model.safetensors`` has 262,998,656 bytes. What this package takes for its layout must have exactly as
many; prefixes, a learned combiner, a tied output layer or more rows would give other numbers.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genemamba_sc import EncoderConfig
from genemamba_sc.nn._config import Combine
from genemamba_sc.weights._published import published_shapes, read_published_weights

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(n_layer: int, d_model: int, combine: Combine = "mean", **changes: int) -> Shapes:
    return published_shapes(dataclasses.replace(EncoderConfig.published(n_layer, d_model, combine), **changes))


def file_size(shapes: Shapes) -> int:
    """Bytes of a float32 file: a number of 8 bytes, the header padded to a multiple of 8, and the values."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, shape in sorted(shapes.items()):
        end = start + 4 * math.prod(shape)
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
        start = end
    header = len(json.dumps(entries, separators=(",", ":")).encode())
    return 8 + math.ceil(header / 8) * 8 + start


def write(path: Path, shapes: Shapes) -> Path:
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path, metadata={"format": "pt"})
    return path


@pytest.mark.parametrize("combine", ["mean", "gate"])
@pytest.mark.parametrize("n_layer", [1, 2, 11])
def test_the_size_is_that_which_safetensors_writes(n_layer: int, combine: Combine, tmp_path: Path):
    shapes = shapes_of(n_layer, 64, combine, vocab_size=30, d_state=4)
    assert write(tmp_path / "model.safetensors", shapes).stat().st_size == file_size(shapes)


@pytest.mark.parametrize(
    ("n_layer", "d_model", "n_tensors", "n_parameters", "n_bytes"),
    [
        (24, 512, 196, 65_744_338, 262_998_656),
        (24, 768, 196, 127_055_122, 508_241_792),
        (48, 512, 388, 105_426_514, 421_748_360),
        (48, 768, 388, 215_029_714, 860_161_160),
    ],
)
def test_the_layout_has_the_size_of_the_release(
    n_layer: int, d_model: int, n_tensors: int, n_parameters: int, n_bytes: int
):
    shapes = shapes_of(n_layer, d_model)
    assert len(shapes) == n_tensors
    assert sum(map(math.prod, shapes.values())) == n_parameters
    assert file_size(shapes) == n_bytes


def test_other_layouts_have_other_sizes():
    shapes = shapes_of(24, 512)
    assert file_size(shapes_of(24, 512, "gate")) == 265_098_040
    others = {
        "a prefix": {f"model.{name}": shape for name, shape in shapes.items()},
        "a state of 128": shapes_of(24, 512, d_state=128),
        "a tied output layer": {name: shape for name, shape in shapes.items() if name != "lm_head.weight"},
        "no bias": {name: shape for name, shape in shapes.items() if name != "lm_head.bias"},
        "rows for [CLS] and [MASK]": shapes_of(24, 512, vocab_size=25_428),
    }
    surplus = {what: file_size(other) - 262_998_656 for what, other in others.items()}
    assert 0 not in surplus.values()
    assert surplus["a prefix"] == 196 * len("model.")
    # Two rows of the table, and two of the output layer with their biases.
    assert surplus["rows for [CLS] and [MASK]"] == 4 * 2 * (512 + 512 + 1)


@pytest.mark.slow
def test_the_file_itself_has_the_size_of_the_release_and_is_read(tmp_path: Path):
    path = write(tmp_path / "model.safetensors", shapes_of(24, 512))
    assert path.stat().st_size == 262_998_656
    settings = {"architectures": ["MambaModel"], "d_model": 512, "mamba_layer": 24, "vocab_size": 25_426}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    found = read_published_weights(tmp_path)
    assert (found.layout, found.combine, found.n_parameters) == ("original", "mean", 65_744_338)
    assert (found.config.n_layer, found.config.d_model, found.config.d_state) == (24, 512, 64)
