"""Fit an integration on the embedding of cells of several batches."""

import numpy as np
from jaxtyping import Float, Integer
from scipy import sparse

from genemamba_sc._blas_threads import one_blas_thread
from genemamba_sc.integration._axes import shared_axes
from genemamba_sc.integration._clusters import cluster_sizes
from genemamba_sc.integration._integration import Integration, IntegrationConfig
from genemamba_sc.integration._mixing import mixed
from genemamba_sc.integration._neighbours import Closeness, mutual_neighbours, partner_means
from genemamba_sc.integration._offsets import Offsets, cluster_targets, fit_offsets, fit_spreads
from genemamba_sc.integration._reference import MOST_CELLS, Reference

_REACH = 0.99
# A few long links would have a say in the axes that grows with the square of their length.
_FOR_AXES = Closeness(to_usual=1.5)
# Cells are moved by all of a batch that lies far off, but no rare type by others that happen to be the nearest.
_FOR_OFFSETS = Closeness(to_usual=1.5, to_nearest=1.3)
# Along the axes that a first pass has chosen, partners are found that the encoder's own axes hide.
_PASSES = 2
_MOST_LINKS = 100_000


class CannotIntegrateError(ValueError):
    """Tell that these cells give an integration nothing to go by."""


@one_blas_thread()
def fit_integration(
    embedding: Float[np.ndarray, "n d"],
    batches: Integer[np.ndarray, "n"],
    labels: Integer[np.ndarray, "n"] | None = None,
    config: IntegrationConfig | None = None,
) -> Integration:
    """Fit an integration.

    Cells of different batches that are each other's nearest neighbours are taken for cells of the same state. They
    choose the axes, along which such partners agree and other cells differ, each state with a say of its own, however
    few its cells; and the cells of every batch are moved
    together, cluster by cluster, to where their partners are.

    Parameters
    ----------
    embedding
        Embedding of the encoder, shape (n, d_model).
    batches
        Codes from 0, shape (n,); at least two, each with a cell.
    labels
        Codes of the cell types, -1 where unknown; partners are then looked for within a type, and the axes are such
        that cells of a type agree.
    config
        The choices; ``None`` takes the defaults.

    Raises
    ------
    CannotIntegrateError
        If no cell has a partner in another batch, or partners differ as much as any cells of a batch do.
    """
    config = config or IntegrationConfig()
    _require_batches(batches)
    start = embedding.astype(np.float64)
    cells = start
    for _ in range(_PASSES):
        axes = _axes(start, mixed(cells - cells.mean(axis=0), batches), batches, labels, config)
        cells = start @ axes
        if np.count_nonzero(axes.any(axis=0)) < 2:
            break  # neighbours go by direction, and on one axis there are two: nothing could be found along it
    centre = _kept(cells.mean(axis=0))
    cells = cells - centre
    rounds: list[Offsets] = []
    for _ in range(config.n_rounds):
        links = mutual_neighbours(cells, batches, config.n_neighbours, labels, closeness=_FOR_OFFSETS)
        rounds.append(_round(cells, batches, links, config))
        cells = rounds[-1](cells, batches)
    spreads = fit_spreads(cells, batches, config.n_clusters // 3, config.width)
    reference = _reference(spreads(cells, batches), links)
    found = Integration(axes, centre, tuple(rounds), spreads, reference, config)
    # What is kept has single precision: a saved model answers as this one does.
    return Integration.of_arrays(found.arrays(), config)


def _axes(
    start: np.ndarray, together: np.ndarray, batches: np.ndarray, labels: np.ndarray | None, config: IntegrationConfig
) -> np.ndarray:
    """Choose the axes by the partners that are found where batches lie roughly together."""
    links = mutual_neighbours(together, batches, config.n_neighbours, labels, closeness=_FOR_AXES)
    _require_links(links)
    weights = 1.0 / cluster_sizes(together, config.n_clusters)
    n_axes = min(config.n_axes, start.shape[1])
    axes = _kept(shared_axes(start, batches, links, n_axes, config.sharpness, weights, labels))
    _require_axes(axes)
    return axes


def _round(cells: np.ndarray, batches: np.ndarray, links: sparse.csr_array, config: IntegrationConfig) -> Offsets:
    targets, has = partner_means(cells, batches, links)
    centroids = cluster_targets(targets, config.n_clusters)
    return fit_offsets(cells, batches, targets, has, centroids, config.width)


def _reference(cells: np.ndarray, links: sparse.csr_array) -> Reference:
    """Keep cells, and how far apart partners lie in the end: those of the last round, for a search costs the most."""
    first, second = links.tocoo().coords
    some = _evenly(len(first), _MOST_LINKS)
    lengths = np.linalg.norm(cells[first[some]] - cells[second[some]], axis=1)
    reach = float(np.quantile(lengths, _REACH)) if len(lengths) else 0.0
    return Reference(cells[_evenly(len(cells), MOST_CELLS)], reach)


def _evenly(n: int, most: int) -> np.ndarray:
    """Choose all of n rows, or as many as are allowed, evenly spaced."""
    return np.linspace(0, n - 1, min(most, n)).round().astype(int)


def _kept(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).astype(np.float64)


def _require_batches(batches: np.ndarray) -> None:
    n_batches = len(np.unique(batches))
    if n_batches < 2:
        raise CannotIntegrateError(
            f"At least two batches must have cells that express known genes. Got {n_batches}. Check the cells of each "
            "batch."
        )


def _require_links(links: sparse.csr_array) -> None:
    if not links.nnz:
        raise CannotIntegrateError(
            "No cell has a partner in another batch, so nothing can be integrated. Check that the batches share cell "
            "types and that batch_key names the right column."
        )


def _require_axes(axes: np.ndarray) -> None:
    if not axes.any():
        raise CannotIntegrateError(
            "Cells of one batch differ less than the nearest cells of two batches along every axis, so nothing can be "
            "integrated. Check that batch_key names samples, donors or studies with many cells each, that the cells "
            "differ, and that sharpness is not far above 1."
        )
