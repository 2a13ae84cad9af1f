"""Define the scvi-tools field of cell types: those that occur, in the order of their column, "no label" at the end."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data.fields import CategoricalObsField

_UNLABELED = "unlabeled_category"


class LabelsField(CategoricalObsField):
    """Register cell types.

    :class:`scvi.data.fields.LabelsWithUnlabeledObsField` lets "no label" and the last type change places, which leaves
    the types in no order; and both of its kind register categories that no cell has, of which a model learns nothing.
    The registry is the same.

    Parameters
    ----------
    labels_key
        Column of ``obs``.
    unlabeled
        The value that means "no label", as the column has it; ``None`` where every cell has one.
    """

    def __init__(self, labels_key: str, unlabeled: Any = None) -> None:
        super().__init__(REGISTRY_KEYS.LABELS_KEY, labels_key)
        self._unlabeled = unlabeled

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Register the types that occur."""
        with warnings.catch_warnings():  # what it says of rare types is said again below
            warnings.simplefilter("ignore")
            state = super().register_field(adata)
        names = state[self.CATEGORICAL_MAPPING_KEY]
        occurs = pd.Index(names).isin(adata.obs[self._original_attr_key].unique())
        if self._unlabeled is not None:
            occurs &= names != self._unlabeled
            state[_UNLABELED] = self._unlabeled
        last = [] if self._unlabeled is None else [self._unlabeled]
        state[self.CATEGORICAL_MAPPING_KEY] = np.array([*names[occurs], *last], dtype=names.dtype)
        return self.transfer_field(state, adata)

    def transfer_field(self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any) -> dict[str, Any]:
        """Register other cells by the types that are known; a query does not add any."""
        kwargs.pop("extend_categories", None)
        state = super().transfer_field(state_registry, adata_target, extend_categories=False, **kwargs)
        # Where no cell had the value that was named, the registry is that of a column without "no label".
        return state | {key: state_registry[key] for key in (_UNLABELED,) if key in state_registry}
