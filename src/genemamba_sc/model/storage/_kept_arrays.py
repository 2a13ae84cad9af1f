"""Keep arrays beside the weights of a model, under a prefix of their own."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def under_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Give arrays the names that they have in the file of the weights."""
    return {prefix + name: torch.from_numpy(values) for name, values in arrays.items()}


def of_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Give the arrays that have the prefix, by their own names."""
    return {name.removeprefix(prefix): tensor.numpy() for name, tensor in tensors.items() if name.startswith(prefix)}


def without_prefixes(prefixes: tuple[str, ...], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights alone."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}
