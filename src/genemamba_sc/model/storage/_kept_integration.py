"""Keep an integration beside the weights of a model, and bring it back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genemamba_sc._json import Fields
from genemamba_sc.integration import Integration, IntegrationConfig
from genemamba_sc.model.storage._kept_arrays import of_prefix, under_prefix
from genemamba_sc.weights._saved_model import INTEGRATION_PREFIX

_ENTRY = "integration"


def kept(integration: Integration) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give what is saved of an integration: the entry of the configuration, and the arrays by name."""
    arrays = under_prefix(INTEGRATION_PREFIX, integration.arrays())
    return dataclasses.asdict(integration.config), arrays


def brought_back(meta: Fields, tensors: Mapping[str, Tensor], n_batches: int, d_model: int) -> Integration | None:
    """Make the integration of a saved model.

    Parameters
    ----------
    meta
        Configuration of the model.
    tensors
        Everything in the file of the weights.
    n_batches
        Number of batches in the registry.
    d_model
        Width of the embedding.

    Returns
    -------
    The integration; ``None`` where the model has none.

    Raises
    ------
    ValueError
        If choices, arrays and batches do not fit together. The message names the file.
    """
    arrays = of_prefix(INTEGRATION_PREFIX, tensors)
    if not arrays and _ENTRY not in meta.values:
        return None
    meta.require(_ENTRY)

    def made(choices: Any) -> Integration:
        found = Integration.of_arrays(arrays, IntegrationConfig(**choices))
        if found.n_batches != n_batches:
            raise ValueError(f"the registry has {n_batches} batches and the integration {found.n_batches}")
        if len(found.axes) != d_model:
            raise ValueError(f"the embedding has {d_model} dimensions and the integration reads {len(found.axes)}")
        return found

    return meta.made(_ENTRY, made)
