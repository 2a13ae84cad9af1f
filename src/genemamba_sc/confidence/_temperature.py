"""Calibrate probabilities by one temperature, which changes no prediction."""

import numpy as np
from jaxtyping import Float, Float32, Integer
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

# A temperature beyond these would say that scores tell nothing, or leave no doubt; a few hundred cells show neither.
_RANGE = (0.1, 10.0)
# What is expected of the logarithm of a temperature before any cell is seen: 0, and so much to both sides.
_EXPECTED = 0.2


def fit_temperature(logits: Float[np.ndarray, "n c"], labels: Integer[np.ndarray, "n"]) -> float:
    """Find the temperature that makes the known types most likely.

    Guo et al. 2017 (arXiv:1706.04599), with a prior: the scores come from fits of a likelihood, so that a temperature
    near 1 is expected (log-normal, 0.2 wide), and a few cells without an error do not let it fall without end.

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
    known = scores[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        sharpness = np.exp(-log_temperature)
        surprise = (logsumexp(sharpness * scores, axis=1) - sharpness * known).sum()
        return float(surprise + 0.5 * (log_temperature / _EXPECTED) ** 2)

    found = minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def probabilities_of(logits: Float[np.ndarray, "n c"], temperature: float) -> Float32[np.ndarray, "n c"]:
    """Return the softmax of scores over a temperature; rows sum to one."""
    return softmax(logits.astype(np.float64) / temperature, axis=1).astype(np.float32)
