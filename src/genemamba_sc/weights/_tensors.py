"""Read safetensors with care: compare the header before anything is built, and require finite values."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from genemamba_sc._json import quoted, read_object
from genemamba_sc.data.genes._text_files import naming
from genemamba_sc.nn import BiMambaEncoder, EncoderConfig

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Types that weights are stored in, by the names of safetensors.
FLOATS = ("F32", "F16", "BF16")

_CONVERT = (
    "Convert them where you trust their origin:\n"
    "  import torch; from safetensors.torch import save_file\n"
    "  save_file({{k: v.clone() for k, v in torch.load({name!r}, weights_only=True).items()}}, 'model.safetensors')"
)


class Stored(NamedTuple):
    """Hold what the header of a safetensors file says about a tensor."""

    shape: tuple[int, ...]
    dtype: str


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint, in one file or in shards, as they are stored, on the CPU.

    Parameters
    ----------
    folder
        Folder with ``model.safetensors``, or with ``model.safetensors.index.json`` and the shards it names.

    Raises
    ------
    FileNotFoundError
        If there are no weights, or a shard is missing.
    ValueError
        If the weights are pickled, damaged, not finite, of another type, or not those of the index.
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
        If the folder holds such a file.
    """
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise ValueError(
            f"Weights are read from safetensors only; {folder} has {', '.join(pickles)}. "
            "That is a pickle, which can run any code when it is opened. " + _CONVERT.format(name=pickles[0])
        )


def read_header(path: Path) -> dict[str, Stored]:
    """Read what a safetensors file says about its tensors, without reading any of them.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}
            return {name: Stored(tuple(part.get_shape()), str(part.get_dtype())) for name, part in slices.items()}
    except SafetensorError as error:
        raise ValueError(_unreadable(path, error)) from error


def read_safetensors(path: Path, dtypes: tuple[str, ...] = FLOATS) -> dict[str, Tensor]:
    """Read one safetensors file.

    Parameters
    ----------
    path
        Path of the file.
    dtypes
        Types that the layout allows, by the names of safetensors.

    Raises
    ------
    ValueError
        If the file is damaged, or holds values that are of another type or not finite.
    """
    wrong = {name: stored.dtype for name, stored in read_header(path).items() if stored.dtype not in dtypes}
    if wrong:
        name = min(wrong)
        raise ValueError(
            f"Weights are stored as {' or '.join(dtypes)}; in {path} {quoted(name)} is {wrong[name]} "
            f"({len(wrong)} such tensors). Convert them with tensor.float(), and save them again."
        )
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(_unreadable(path, error)) from error
    check_finite(tensors, f"{path} holds", "Copy it again, or ask whoever made it.")
    return tensors


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, all values of which must be finite.

    Parameters
    ----------
    path
        Path of the file.
    tensors
        Tensors by name; tensors that share memory are written separately.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    check_finite(tensors, "The weights have", "Train again, with a smaller learning rate (lr).")
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, path)


def check_finite(tensors: Mapping[str, Tensor], whose: str, way_out: str) -> None:
    """Refuse NaN and infinities, naming the tensors: a prediction from them means nothing.

    Raises
    ------
    ValueError
        If there are any such values.
    """
    wrong = [name for name, tensor in sorted(tensors.items()) if not bool(torch.isfinite(tensor).all())]
    if wrong:
        more = f" and {len(wrong) - 3} more tensors" if len(wrong) > 3 else ""
        raise ValueError(
            f"Every weight must be a finite number. {whose} NaN or infinite ones in {', '.join(wrong[:3])}{more}. "
            + way_out
        )


def check_encoder(header: Mapping[str, Stored], config: EncoderConfig, prefix: str, path: Path) -> None:
    """Compare a configuration with the header of its weights, before memory is taken for either.

    Parameters
    ----------
    header
        What the file says about its tensors.
    config
        What ``config.json`` says about the encoder.
    prefix
        Text with which the names of the encoder's tensors begin.
    path
        Path of the weights, for messages.

    Raises
    ------
    ValueError
        If they do not fit each other.
    """
    found = {name.removeprefix(prefix): stored.shape for name, stored in header.items() if name.startswith(prefix)}
    check_depth(found, config.n_layer, path)
    table = found.get("embeddings.weight")
    if table != (config.vocab_size, config.d_model):
        raise ValueError(
            f"The gene table must be vocab_size x d_model, {config.vocab_size} x {config.d_model} by config.json. "
            f"Got {'none' if table is None else ' x '.join(map(str, table))} in {path}. "
            "Keep the files of a model folder together."
        )
    with naming(path):
        check_shapes(found, encoder_shapes(config))


def check_depth(names: Iterable[str], n_layer: int, path: Path) -> None:
    """Refuse more layers than there are tensors of layers.

    Raises
    ------
    ValueError
        If there are fewer layers in ``names``, which begin with ``layers.<number>.``.
    """
    layers = {match[1] for name in names if (match := re.match(r"layers\.(\d+)\.", name))}
    if len(layers) < n_layer:
        raise ValueError(
            f"Every layer has tensors of its own; for {n_layer} layers {path} has {len(layers)}. "
            "Tensors are missing: keep config.json and the weights of one checkpoint together."
        )


def encoder_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every weight of an encoder.

    Raises
    ------
    ValueError
        If the weights are too large for any memory.
    """
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in BiMambaEncoder(config).state_dict().items()}
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ValueError(
            f"An encoder must fit into memory; its configuration does not ({quoted(error)}). "
            f"Got {quoted(config.to_dict())}. Copy config.json again."
        ) from error


def check_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights that are not exactly those expected.

    Raises
    ------
    ValueError
        If tensors are left over, missing, or of another shape; the message names them.
    """
    faults = [
        f"{what}: {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
        for what, names in (
            ("left over", sorted(found.keys() - expected.keys())),
            ("missing", sorted(expected.keys() - found.keys())),
            ("of another shape", [
                f"{name} is {shape}, must be {expected[name]}"
                for name, shape in sorted(found.items())
                if name in expected and shape != expected[name]
            ]),
        )
        if names
    ]  # fmt: skip
    if faults:
        raise ValueError(
            f"Every tensor of a checkpoint must have its place; {'; '.join(faults)}. "
            "Keep config.json and the weights of one checkpoint together."
        )


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} is not a readable safetensors file ({quoted(error)}): it is damaged. Copy it again."


def _read_shards(folder: Path) -> dict[str, Tensor]:
    places = read_object(folder / INDEX_FILE).texts("weight_map")
    if not places:
        raise ValueError(f"{folder / INDEX_FILE} must map tensors to files under weight_map. Copy it again.")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        # A name with a path in it could point anywhere.
        if Path(name).name != name or Path(name).suffix != ".safetensors":
            raise ValueError(
                f"A shard is a safetensors file beside its index. Got {quoted(name)}. Correct {INDEX_FILE}."
            )
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{INDEX_FILE} names the shard {name}, which {folder} lacks. Copy it there too.")
        tensors |= read_safetensors(folder / name)
    if tensors.keys() != places.keys():
        wrong = sorted(tensors.keys() ^ places.keys())
        raise ValueError(
            f"The shards must hold the tensors that {INDEX_FILE} names, no more and no fewer; they differ in "
            f"{len(wrong)}, such as {quoted(wrong[:3])}. Keep the files of one checkpoint together."
        )
    return tensors
