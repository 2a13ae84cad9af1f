"""Say which tensors weights may hold: their types, and those of a head for genes."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from genemamba_sc.nn import EncoderConfig

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def check_floats(tensors: Mapping[str, object]) -> None:
    """Refuse weights that could not be read again.

    Raises
    ------
    TypeError
        If one is no tensor.
    ValueError
        If one is of another type than weights are stored in.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"Every weight must be a torch.Tensor. {name} is a {type(tensor).__name__}. "
                "Turn it into one with torch.as_tensor."
            )
        if tensor.dtype not in _DTYPES:
            raise ValueError(
                f"Weights are float32, float16 or bfloat16. {name} is {str(tensor.dtype).removeprefix('torch.')}. "
                "Convert it with tensor.float()."
            )


def head_shapes(config: EncoderConfig, names: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Return the tensors that a head for genes must have: none, those of a linear map, or those of a tied head.

    Parameters
    ----------
    config
        The encoder that the head belongs to.
    names
        Names of the tensors that a head has.
    """
    table, bias = (config.vocab_size, config.d_model), (config.vocab_size,)
    if not names:
        return {}
    if {"weight", "bias"}.issuperset(names):
        return {"weight": table, "bias": bias} if "bias" in names else {"weight": table}
    square = (config.d_model, config.d_model)
    return {"from_hidden.weight": square, "from_context.weight": square, "bias": bias, "scale": ()}
