"""Tensors: finite, of the layout's kind, compared with the configuration before anything is built."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genemamba_sc import EncoderConfig
from genemamba_sc.nn import BiMambaEncoder
from genemamba_sc.weights._tensors import check_encoder, read_header, read_safetensors, write_safetensors

CONFIG = EncoderConfig(vocab_size=9, d_model=8, n_layer=2, headdim=4)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {f"encoder.{name}": t for name, t in BiMambaEncoder(CONFIG).state_dict().items()})
    return path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_when_read_and_when_written(tmp_path: Path, value: float):
    tensors = {"a": torch.ones(3), "b": torch.tensor([1.0, value]), "c": torch.zeros(0)}
    with pytest.raises(
        ValueError, match=r"must be a finite number\. The weights have NaN or infinite ones in b\. Train"
    ):
        write_safetensors(tmp_path / "model.safetensors", tensors)
    assert os.listdir(tmp_path) == []
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors holds NaN or infinite ones in b\. Copy it again"):
        read_safetensors(tmp_path / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.bool])
def test_the_layout_says_the_kind_of_number(tmp_path: Path, dtype: torch.dtype):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3, dtype=dtype), "b": torch.ones(3)}, path)
    with pytest.raises(ValueError, match=r"stored as F32 or F16 or BF16; in .*'a' is \w+ \(1 such tensors\)\. Convert"):
        read_safetensors(path)
    save_file({"a": torch.ones(3).half()}, path)
    with pytest.raises(ValueError, match=r"stored as F32; in .*'a' is F16"):
        read_safetensors(path, ("F32",))
    assert read_safetensors(path)["a"].dtype == torch.float16


def test_the_header_is_compared_with_the_configuration(weights: Path):
    header = read_header(weights)
    assert header["encoder.embeddings.weight"] == ((9, 8), "F32")
    check_encoder(header, CONFIG, "encoder.", weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layer": 10**9}, r"for 1000000000 layers .* has 2\. Tensors are missing"),
        ({"d_model": 200_000}, r"9 x 200000 by config\.json\. Got 9 x 8 in"),
        ({"vocab_size": 10**12}, r"1000000000000 x 8 by config\.json\. Got 9 x 8 in"),
        ({"d_state": 10**9}, r"of another shape: .*in_proj\.weight"),
        ({"expand": 10**15}, r"must fit into memory|of another shape"),
        ({"n_layer": 1}, r"left over: layers\.1\.mixer\.A_log"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_before_it_is_built(
    weights: Path, change: dict[str, int], message: str
):
    config = EncoderConfig.from_dict(CONFIG.to_dict() | change)
    with pytest.raises(ValueError, match=message):
        check_encoder(read_header(weights), config, "encoder.", weights)
