"""Tensors in safetensors files, whole or in shards: read with care, finite, and never from a pickle."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from genemamba_sc.weights._folder import INDEX_FILE, WEIGHTS_FILE, read_json

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

_CONVERT = (
    "Convert them where you trust their origin:\n"
    "  import torch; from safetensors.torch import save_file\n"
    "  save_file({{k: v.clone() for k, v in torch.load({name!r}, weights_only=True).items()}}, 'model.safetensors')"
)


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
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({str(error)[:200]}): it is damaged. Copy it again."
        ) from error
    refuse_non_finite(tensors, path)
    return tensors


def header_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Give name and shape of each tensor of a safetensors file, from its header alone.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            return {name: tuple(stream.get_slice(name).get_shape()) for name in stream.keys()}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({str(error)[:200]}): it is damaged. Copy it again."
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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file.

    Raises
    ------
    ValueError
        If one is not finite: nothing could be computed with it.
    OSError
        If the file cannot be written (rights, disk full).
    """
    refuse_non_finite(tensors, "These weights")
    # clone: safetensors refuses tensors that share memory, as tied heads do.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(copies, path)
    except SafetensorError as error:
        raise OSError(
            f"{path.name} could not be written to {path.parent.parent} ({str(error)[:200]}). Free some space, or "
            "choose another place."
        ) from error


def refuse_non_finite(tensors: Mapping[str, Tensor], where: object) -> None:
    """Refuse weights with NaN or infinite numbers.

    Raises
    ------
    ValueError
        If there are any; it names the tensors.
    """
    wrong = [
        name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()
    ]
    if wrong:
        raise ValueError(
            f"{where} must be finite numbers; NaN or infinity stands in {', '.join(wrong[:3])}"
            f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}. The training diverged, or the file is "
            "damaged: train with a lower learning rate, or copy it again."
        )
