"""Turn scores of types into the probabilities that the model's predictions have."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from torch import Tensor

from genemamba_sc.confidence import probabilities_of
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.model.annotation._annotation import require_cell_types


def types_asked(model: GeneMambaModel, asked: bool | None) -> tuple[str, ...]:
    """Return the types whose probabilities are compared; none where they are not asked for.

    Parameters
    ----------
    model
        A trained model.
    asked
        ``True``, ``False``, or ``None`` for those of a model that tells types apart.

    Raises
    ------
    TypeError
        If it is another value.
    ValueError
        If they are asked of a model that knows none.
    """
    if asked is not None and not isinstance(asked, bool):
        raise TypeError(
            f"types says whether the probabilities of all types are computed. Got {asked!r}. Pass True, False or None."
        )
    head = model.module.cell_type_head
    if asked is None:
        asked = bool(model.cell_types) and head is not None and head.is_fitted
    if asked:
        require_cell_types(model)
    return tuple(map(str, model.cell_types)) if asked else ()


@dataclass(frozen=True)
class TypeProbabilities:
    """Turn scores of types into probabilities as ``predict_celltype(soft=True)`` does: calibrated where the model is.

    Parameters
    ----------
    temperature
        By what scores are divided; 1 for a model that is not calibrated.
    """

    temperature: float

    @classmethod
    def of(cls, model: GeneMambaModel) -> "TypeProbabilities":
        """Take the temperature of a model; that fits it, so do it once."""
        return cls(1.0 if model.calibration_ is None else model.calibration_.temperature)

    def __call__(self, logits: Tensor) -> Float32[np.ndarray, "n c"]:
        """Return the probabilities of the types, shape (n, c); c is 0 where the model knows none."""
        scores = logits.float().cpu().numpy()
        return probabilities_of(scores, self.temperature) if scores.size else scores
