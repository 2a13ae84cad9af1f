"""The files of a checkpoint folder, read with care: JSON and safetensors, never a pickle, never code."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

_CONVERT = (
    "Convert them where you trust their origin:\n"
    "  import torch; from safetensors.torch import save_file\n"
    "  save_file({{k: v.clone() for k, v in torch.load({name!r}, weights_only=True).items()}}, 'model.safetensors')"
)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"A checkpoint folder needs {path.name}; {path.parent} has none. Give the folder that holds it."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no readable JSON ({error}): it is truncated or damaged. Copy it again.") from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, in one file or in shards, as they are stored, on the CPU.

    Parameters
    ----------
    folder
        Holds ``model.safetensors``, or ``model.safetensors.index.json`` and the shards it names.

    Raises
    ------
    FileNotFoundError
        If there are no weights, or a shard is missing.
    ValueError
        If the weights are pickled, damaged, or not those of the index.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return read_safetensors(folder / WEIGHTS_FILE)
    if (folder / INDEX_FILE).is_file():
        return _read_shards(folder)
    refuse_pickles(folder)
    raise FileNotFoundError(
        f"A checkpoint needs {WEIGHTS_FILE}, or {INDEX_FILE} and its shards; {folder} has neither. "
        "Give the folder that holds the weights (pickled weights, such as pytorch_model.bin, are never read)."
    )


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder whose weights are pickled.

    Raises
    ------
    ValueError
        If it holds such a file.
    """
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise ValueError(
            f"Weights are read from safetensors only; {folder} has {', '.join(pickles)}. "
            "That is a pickle, which can run any code when it is opened. " + _CONVERT.format(name=pickles[0])
        )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read one safetensors file.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}): it is damaged. Copy it again."
        ) from error


def _read_shards(folder: Path) -> dict[str, Tensor]:
    index = read_json(folder / INDEX_FILE)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{folder / INDEX_FILE} must map tensors to files under weight_map. Copy it again.")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(map(str, places.values()))):
        # A name with a path in it could point anywhere.
        if Path(name).name != name or Path(name).suffix != ".safetensors":
            raise ValueError(f"A shard is a safetensors file beside its index. Got {name!r}. Correct {INDEX_FILE}.")
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{INDEX_FILE} names the shard {name}, which {folder} lacks. Copy it there too.")
        tensors |= read_safetensors(folder / name)
    if tensors.keys() != places.keys():
        wrong = sorted(tensors.keys() ^ places.keys())
        raise ValueError(
            f"The shards must hold the tensors that {INDEX_FILE} names, no more and no fewer; they differ in "
            f"{len(wrong)}, such as {wrong[:3]}. Keep the files of one checkpoint together."
        )
    return tensors
