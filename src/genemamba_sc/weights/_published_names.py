"""Tell which tensor of a published checkpoint is which.

The original layout names tensors ``embeddings.weight``, ``mamba_mixer.layers.{i}.mamba.*``, ``mamba_mixer.aggr.*``,
``norm_f.weight`` and ``lm_head.*``; the release for Hugging Face puts prefixes of its own before them. So tensors are
recognised by the end of their names, and layers by the last number in them (GeneMamba, arXiv 2504.16956).
"""

import re
from collections.abc import Iterable
from typing import Literal

from torch import Tensor

Layout = Literal["original", "huggingface"]

_PLACES = {
    "embeddings.weight": "embeddings.weight",
    "norm_f.weight": "norm_f.weight",
    "aggr.weight": "combiner.weight",
    "aggr.bias": "combiner.bias",
    "lm_head.weight": "lm_head.weight",
    "lm_head.bias": "lm_head.bias",
}
_LAYER = re.compile(
    r"(?:^|\.)(\d{1,6})\.(?:[A-Za-z_]\w*\.)*?"
    r"(in_proj\.weight|conv1d\.weight|conv1d\.bias|dt_bias|A_log|D|norm\.weight|out_proj\.weight)$"
)
_ORIGINAL = re.compile(r"(embeddings|norm_f|lm_head|mamba_mixer\.(layers\.\d+\.mamba|aggr))\.[\w.]+")


def layout_of(keys: Iterable[str]) -> Layout:
    """Tell which layout these names belong to."""
    return "original" if all(_ORIGINAL.fullmatch(key) for key in keys) else "huggingface"


def rename(stored: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Give tensors the names of this package, in float32.

    Parameters
    ----------
    stored
        Tensors by their names in the file.

    Returns
    -------
    The tensors (those of the output layer as ``lm_head.*``), and the stored name of each.

    Raises
    ------
    ValueError
        If a tensor has no place, or shares its place with another.
    """
    names: dict[str, str] = {}
    left = []
    for key in stored:
        target = _target(key)
        if target is None:
            left.append(key)
        elif target in names:
            raise ValueError(
                f"Every tensor must have a place of its own; {names[target]!r} and {key!r} both end like {target!r}. "
                "This is another model than the published encoder."
            )
        else:
            names[target] = key
    if left:
        raise ValueError(
            f"Every tensor of a checkpoint must have its place; left over: {', '.join(sorted(left)[:5])}"
            f"{f' and {len(left) - 5} more' if len(left) > 5 else ''}. Remove heads of other tasks from the file, or "
            "give a checkpoint of the published encoder."
        )
    return {target: stored[key].float() for target, key in names.items()}, names


def _target(key: str) -> str | None:
    for suffix, target in _PLACES.items():
        if key == suffix or key.endswith(f".{suffix}"):
            return target
    layer = _LAYER.search(key)
    return f"layers.{layer[1]}.mixer.{layer[2]}" if layer else None


def original_name(name: str) -> str:
    """Return the name of a tensor in the original layout."""
    name = re.sub(r"^layers\.(\d+)\.mixer\.", r"mamba_mixer.layers.\1.mamba.", name)
    return name.replace("combiner.", "mamba_mixer.aggr.")
