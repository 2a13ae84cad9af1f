"""Let the cells of a cluster vote on one type."""

import numpy as np
from jaxtyping import Integer


def most_frequent(types: Integer[np.ndarray, "n"], clusters: Integer[np.ndarray, "n"]) -> Integer[np.ndarray, "n"]:
    """Give every cell the most frequent type of its cluster; of equally frequent types the first one.

    Parameters
    ----------
    types
        Codes of the types, shape (n,), from 0.
    clusters
        Codes of the clusters, shape (n,), from 0.
    """
    votes = np.zeros((clusters.max(initial=-1) + 1, types.max(initial=-1) + 1), dtype=np.int64)
    np.add.at(votes, (clusters, types), 1)
    return votes.argmax(axis=1)[clusters] if len(types) else types


def over_clustering_resolution(n_cells: int) -> float:
    """Choose the resolution at which cells are over-clustered before they vote, as CellTypist does.

    Small clusters, several of each type: Domínguez Conde et al. 2022 (doi:10.1126/science.abl5197).

    Parameters
    ----------
    n_cells
        Number of cells.
    """
    for most, resolution in ((5_000, 5.0), (20_000, 10.0), (40_000, 15.0), (100_000, 20.0), (200_000, 25.0)):
        if n_cells < most:
            return resolution
    return 30.0
