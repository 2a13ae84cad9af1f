"""Let the neighbours of a cell, among the cells that are asked about, have a say in its type."""

import numbers
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scipy.special import softmax

# Added to the shares of types, so that a type that no neighbour shows is unlikely, not impossible.
_FLOOR = 0.02
_ROUNDING = 1e-3


def smooth_types(
    probabilities: pd.DataFrame, adata: AnnData, *, neighbors_key: str = "neighbors", strength: float = 0.5
) -> pd.DataFrame:
    """Combine the probabilities of a cell's types with those of its neighbours.

    Cells of another study differ from those that a model learned from, each type in a way of its own. Among themselves
    they do not, so that a cell about which the model is not sure is told by the cells that are like it. This is what
    majority voting does for clusters, but no cluster is made, and every cell keeps its own say:
    ``p_smooth ∝ p · ((q + 0.02) / (m + 0.02)) ** strength``, where ``q`` is the mean of ``p`` over the neighbours of
    the cell, by their connectivities, and ``m`` that over all cells, so that a rare type is not lost among others.

    The answer for a cell then depends on the other cells. It helps where cells come from another study, and harms where
    types are no neighbourhoods, such as sorted T cells (``benchmarks/annotation/smoothing.py``).

    Parameters
    ----------
    probabilities
        Probability of each type, cells × types, as ``model.predict_celltype(adata, soft=True)`` or another classifier
        gives it.
    adata
        These cells, in this order, with a graph by ``scanpy.pp.neighbors``: of the principal components of the query,
        for example. Nothing is written to it.
    neighbors_key
        Where the graph is, in ``adata.uns``.
    strength
        How much neighbours say; 0 changes nothing.

    Returns
    -------
    Probabilities, cells × types, whose rows sum to one. ``.idxmax(axis=1)`` are the types. A cell without neighbours
    keeps its own.

    Raises
    ------
    TypeError
        If the probabilities are no table of numbers, the cells no AnnData, or the strength no number.
    ValueError
        If there is no such graph, cells differ, these are no probabilities, or the strength is negative or infinite.

    Examples
    --------
    >>> sc.pp.neighbors(query, use_rep="X_pca")  # doctest: +SKIP
    >>> smooth = gm.tl.smooth_types(model.predict_celltype(query, soft=True), query)  # doctest: +SKIP
    >>> query.obs["smooth"] = smooth.idxmax(axis=1)  # doctest: +SKIP
    """
    if not isinstance(adata, AnnData):
        raise TypeError(f"adata must be an AnnData. Got {type(adata).__name__}. Pass the cells of the probabilities.")
    weights = _graph(adata, neighbors_key)
    own = _checked(probabilities, adata)
    strength = _number(strength)
    total = np.asarray(weights.sum(axis=1)).ravel()
    near = (weights @ own) / np.where(total > 0, total, 1.0)[:, None]
    say = np.log((near + _FLOOR) / (own.mean(axis=0) + _FLOOR))
    say[total == 0] = 0.0
    return pd.DataFrame(_weighed(own, say, strength), index=probabilities.index, columns=probabilities.columns)


def _weighed(own: np.ndarray, say: np.ndarray, strength: float) -> np.ndarray:
    """Return ``own * exp(say) ** strength``, rows of sum one: in logarithms, for a great strength leaves no number."""
    possible = own > 0
    # What the neighbours say most, of the types that the cell may be of, counts as 0: nothing else is too great.
    say = say - np.where(possible, say, -np.inf).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", over="ignore"):
        return softmax(np.where(possible, np.log(own) + strength * say, -np.inf), axis=1)


def _number(strength: object) -> float:
    if isinstance(strength, bool) or not isinstance(strength, numbers.Real):
        raise TypeError(f"strength must be a number. Got {strength!r}. Pass 0.5, or 0 to change nothing.")
    number = float(strength)
    if not (np.isfinite(number) and number >= 0):
        raise ValueError(
            f"strength must be finite and not negative. Got {strength!r}. Pass 0.5, or 0 to change nothing."
        )
    return number


def _graph(adata: AnnData, key: str) -> sparse.csr_matrix:
    way_out = "Make a graph first: scanpy.pp.neighbors(adata, use_rep='X_pca'), for example."
    if key not in adata.uns or "connectivities_key" not in adata.uns[key]:
        raise ValueError(f"neighbors_key must name a graph in adata.uns. Got {key!r}. {way_out}")
    name = adata.uns[key]["connectivities_key"]
    if name not in adata.obsp:
        raise ValueError(f"adata.uns[{key!r}] names adata.obsp[{name!r}], which is not there. {way_out}")
    return sparse.csr_matrix(adata.obsp[name], dtype=np.float64)


def _checked(probabilities: Any, adata: AnnData) -> np.ndarray:
    if not isinstance(probabilities, pd.DataFrame):
        raise TypeError(
            f"probabilities must be a DataFrame, cells × types. Got {type(probabilities).__name__}. Pass "
            "model.predict_celltype(adata, soft=True)."
        )
    if not probabilities.index.equals(adata.obs_names):
        raise ValueError(
            f"probabilities must be of the cells of adata, in their order. Got {len(probabilities)} rows for "
            f"{adata.n_obs} cells, or other names. Pass model.predict_celltype(adata, soft=True) of the same adata."
        )
    try:
        values = probabilities.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"probabilities must hold numbers. Got columns of {sorted(set(map(str, probabilities.dtypes)))}. Pass "
            "model.predict_celltype(adata, soft=True)."
        ) from error
    sums = values.sum(axis=1)
    wrong = ~(np.abs(sums - 1.0) < _ROUNDING) | (values < 0).any(axis=1)
    if wrong.any():
        raise ValueError(
            f"Probabilities are not negative, and those of a cell sum to one. In {int(wrong.sum())} rows they do not; "
            f"the first sums to {sums[wrong][0]:g}. Scores become such by scipy.special.softmax(scores, axis=1)."
        )
    return values
