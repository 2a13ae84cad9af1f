"""Find the axes along which cells of a batch differ and partners in other batches agree."""

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse
from scipy.linalg import eigh

# Of the differences between partners, relative to their mean: directions without any would count without bound.
_RIDGE = 1e-3
# What the scatter within types may weigh at most beside the differences between partners, how many labelled cells per
# dimension bring it to half of that, and how many a type needs: few cells scatter along few directions only, and all
# others would seem to be without noise.
_MOST_OF_TYPES, _CELLS_PER_DIMENSION, _FEWEST_OF_TYPE = 0.5, 10, 10


def shared_axes(
    cells: Float[np.ndarray, "n d"],
    batches: Integer[np.ndarray, "n"],
    links: sparse.csr_array,
    n_axes: int,
    sharpness: float,
    weights: Float[np.ndarray, "n"] | None = None,
    labels: Integer[np.ndarray, "n"] | None = None,
) -> Float[np.ndarray, "d k"]:
    """Find linear axes that tell cells of a batch apart and not partners of different batches.

    With S the covariance within batches, all batches weighted alike, and D half the mean square of the differences
    between partners, the axes solve S v = λ D v for the largest λ. Along each of them D is one: without labels,
    partners differ by one unit. An axis is then scaled by (1 - 1/λ)^sharpness, by which one that tells nothing beyond
    the noise vanishes.

    Parameters
    ----------
    cells
        Embedding, shape (n, d).
    batches
        Batch of each cell, shape (n,), codes from 0.
    links
        Partners, shape (n, n), symmetric, at least one pair.
    n_axes
        How many axes; at most d.
    sharpness
        0 keeps the scale at which the noise is alike along all axes.
    weights
        Weight of each cell, shape (n,), positive; a link weighs as the geometric mean of its cells. ``None`` takes all
        alike.
    labels
        Codes of the cell types, shape (n,), -1 where unknown. D is then a weighted mean of the above and of the
        covariance within types of ten labelled cells or more, over all batches, all types weighted alike: cells of one
        type are to agree as partners are. With f labelled cells in such types, less one for each, the latter weighs
        0.5 f / (f + 10 d), at most a half.

    Returns
    -------
    The axes as columns, shape (d, k): ``cells @ axes`` are the coordinates along them.
    """
    weights = np.ones(len(cells)) if weights is None else weights
    within = _within_batches(cells, batches, weights)
    between = _between_partners(cells, links, weights)
    if labels is not None:
        types, share = _within_types(cells, labels)
        between = (1 - share) * between + share * types
    between += _RIDGE * np.trace(between) / len(between) * np.eye(len(between)) + 1e-12 * np.eye(len(between))
    ratios, axes = eigh(within, between)
    order = np.argsort(-ratios, kind="stable")[:n_axes]
    ratios, axes = np.maximum(ratios[order], 1e-12), axes[:, order]
    # An eigenvector has two signs.
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0) < 0, -1.0, 1.0)
    return axes * np.maximum(1 - 1 / ratios, 0.0) ** sharpness


def _between_partners(cells: np.ndarray, links: sparse.csr_array, weights: np.ndarray) -> np.ndarray:
    """Half the mean square of the differences over all links: X'(D - A)X / sum(A), without the list of differences."""
    cells = cells - cells.mean(axis=0)
    roots = sparse.diags_array(np.sqrt(weights))
    links = roots @ links @ roots
    degrees = np.asarray(links.sum(axis=1)).ravel()
    product = cells.T @ (degrees[:, None] * cells - links @ cells) / links.sum()
    return (product + product.T) / 2


def _within_types(cells: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Average the covariances within types, and tell how much that says about the noise of cells."""
    codes, sizes = np.unique(labels[labels >= 0], return_counts=True)
    codes, n_free = codes[sizes >= _FEWEST_OF_TYPE], (sizes[sizes >= _FEWEST_OF_TYPE] - 1).sum()
    total = np.zeros((cells.shape[1], cells.shape[1]))
    for code in codes:
        total += np.atleast_2d(np.cov(cells[labels == code].T)) / len(codes)
    return total, _MOST_OF_TYPES * n_free / (n_free + _CELLS_PER_DIMENSION * cells.shape[1])


def _within_batches(cells: np.ndarray, batches: np.ndarray, weights: np.ndarray) -> np.ndarray:
    present = np.unique(batches)
    total = np.zeros((cells.shape[1], cells.shape[1]))
    for batch in present:
        part, weight = cells[batches == batch], weights[batches == batch]
        part = part - np.average(part, axis=0, weights=weight)
        total += (part.T * weight) @ part / (weight.sum() * len(present))
    return total
