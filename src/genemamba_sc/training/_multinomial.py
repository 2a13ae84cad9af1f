"""Fit multinomial regressions with an L2 penalty, all types at once, on centred features."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32
from scipy.optimize import minimize

from genemamba_sc._blas_threads import one_blas_thread
from genemamba_sc.training._linear import LabelledCells
from genemamba_sc.training._products import products_of

# Largest entry of the gradient of the mean objective at which the solver stops before its last step.
_GRADIENT = 1e-4
# Number of earlier gradients from which a step is made: their memory is that many times the weights.
_MEMORY = 10
# Cells whose mean is taken at once.
_BLOCK = 4096


@one_blas_thread()
def multinomial(
    cells: LabelledCells, strength: float, max_iter: int, scale: Float32[np.ndarray, "f"] | None = None
) -> tuple[Float32[np.ndarray, "k f"], Float32[np.ndarray, "k"]]:
    """Fit all types together by L-BFGS; return coefficients (k, f) and intercepts (k,).

    The mean of each feature is subtracted, without making a sparse matrix dense. With free intercepts this is the same
    problem. But the mean expression is by far the longest direction of the cells, and without it a few steps take the
    place of many.

    Parameters
    ----------
    cells
        Cells of two types or more.
    strength
        Inverse strength of the penalty, ``C`` of scikit-learn.
    max_iter
        Largest number of steps of the solver.
    scale
        Numbers by which the features are multiplied, shape (f,): the larger, the less a feature is penalised. The
        coefficients are those of the features as they are. ``None`` penalises all alike.
    """
    mean = _mean(cells)
    loss, n_types, n_features = _objective(cells, mean, strength, scale)
    start = np.zeros((n_features + 1) * n_types)
    found = minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "gtol": _GRADIENT, "ftol": 0.0, "maxcor": _MEMORY},
    ).x.reshape(n_features + 1, n_types)
    weights = found[:-1] if scale is None else found[:-1] * scale[:, None]
    intercepts = found[-1] - mean @ weights
    return weights.T.astype(np.float32), intercepts.astype(np.float32)


def _objective(
    cells: LabelledCells, mean: np.ndarray, strength: float, scale: np.ndarray | None
) -> tuple[Callable[[np.ndarray], tuple[float, np.ndarray]], int, int]:
    """Return the mean objective with its gradient, the number of types and the number of features."""
    features, rows = cells.features, np.arange(len(cells.labels))
    types, own = np.unique(cells.labels, return_inverse=True)
    products = products_of(features)
    weight = (strength * cells.importance).astype(np.float32)
    stretch = np.float32(1.0) if scale is None else scale.astype(np.float32)[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        free = flat.reshape(-1, len(types)).astype(np.float32)
        weights = free[:-1] * stretch
        scores = products.forward(weights) + (free[-1] - mean @ weights)
        scores -= scores.max(axis=1, keepdims=True)
        own_scores = scores[rows, own]
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        value = float((weight * (np.log(total[:, 0]) - own_scores)).sum(dtype=np.float64))
        scores /= total
        scores[rows, own] -= 1.0
        scores *= weight[:, None]
        excess = scores.sum(axis=0)
        slope = np.concatenate([(products.back(scores) - np.outer(mean, excess)) * stretch + free[:-1], excess[None]])
        value += 0.5 * float(np.vdot(free[:-1], free[:-1]))
        return value / len(rows), slope.ravel().astype(np.float64) / len(rows)

    return loss, len(types), features.shape[1]


def _mean(cells: LabelledCells) -> Float32[np.ndarray, "f"]:
    """Compute the mean of each feature over the cells by their importance, in float64 until the end."""
    weight, features = cells.importance, cells.features
    if not isinstance(features, np.ndarray):
        total = np.zeros(features.shape[1])
        # In float64 the whole matrix would take twice its memory.
        for start in range(0, len(weight), _BLOCK):
            part = features[start : start + _BLOCK]
            of_entry = np.repeat(weight[start : start + _BLOCK], np.diff(part.indptr))
            total = total + np.bincount(part.indices, part.data * of_entry, len(total))
        return (total / weight.sum()).astype(np.float32)
    return (weight @ features / weight.sum()).astype(np.float32)
