"""Calibrate probabilities by one temperature, which changes no prediction."""

import numpy as np
from jaxtyping import Float, Float32, Integer
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

# A temperature beyond these would say that scores tell nothing, or leave no doubt; a few hundred cells show neither.
_RANGE = (0.1, 10.0)


def fit_temperature(logits: Float[np.ndarray, "n c"], labels: Integer[np.ndarray, "n"]) -> float:
    """Find the temperature that makes the known types most likely.

    Guo et al. 2017 (arXiv:1706.04599). A cell counts as one of its type to ``1 - 1 / (n + 2)``, for the rest as one of
    any type (after Platt 1999): where every cell is predicted rightly, the temperature would fall without end.

    Parameters
    ----------
    logits
        Scores of cells that the fit of these scores has not seen, shape (n, c).
    labels
        Codes of their types, shape (n,).

    Returns
    -------
    The temperature, from 0.1 to 10; 1 where there are no cells.
    """
    if len(labels) == 0:
        return 1.0
    scores = logits.astype(np.float64)
    doubt = 1.0 / (len(labels) + 2.0)
    known = (1 - doubt) * scores[np.arange(len(labels)), labels] + doubt * scores.mean(axis=1)

    def loss(log_temperature: float) -> float:
        sharpness = np.exp(-log_temperature)
        return float(np.mean(logsumexp(sharpness * scores, axis=1) - sharpness * known))

    found = minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def probabilities_of(logits: Float[np.ndarray, "n c"], temperature: float) -> Float32[np.ndarray, "n c"]:
    """Return the softmax of scores over a temperature; rows sum to one."""
    return softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)
