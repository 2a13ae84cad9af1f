"""Let the cells of a cluster agree on one type, as CellTypist's majority voting does."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from jaxtyping import Float32

from genemamba_sc._constants import CONFIDENCE_KEY, PREDICTION_KEY, SET_KEY, UNKNOWN_KEY, VOTING_KEY
from genemamba_sc.confidence import most_frequent, over_clustering_resolution

OWN_CLUSTERS = "leiden"
_NEIGHBOURS = 10
_WRITTEN = (PREDICTION_KEY, CONFIDENCE_KEY, SET_KEY, UNKNOWN_KEY, VOTING_KEY)


@dataclass(frozen=True, eq=False)
class Voting:
    """Hold what clusters agreed on.

    Parameters
    ----------
    cell_types
        Most frequent type of the cluster of each cell, a categorical of the types that were predicted for cells.
    clusters
        Cluster of each cell, a categorical.
    by
        Column of ``obs`` with the clusters; empty where they were made here.
    """

    cell_types: pd.Series
    clusters: pd.Series
    by: str


def check_voting(adata: AnnData, majority_voting: object) -> None:
    """Refuse, before any cell is read, clusters that are not there.

    Parameters
    ----------
    adata
        Cells.
    majority_voting
        Column of ``obs``, or ``"leiden"``; ``None`` asks for nothing.

    Raises
    ------
    ValueError
        If there is no such column, or a cell has no cluster.
    ImportError
        If clusters are to be made and igraph is not installed.
    """
    if majority_voting is None:
        return
    columns = list(adata.obs.columns)
    if majority_voting in _WRITTEN:
        raise ValueError(
            f"annotate() writes {sorted(_WRITTEN)} anew. Got majority_voting={majority_voting!r}. Copy the column to "
            "another name, and name that."
        )
    if majority_voting == OWN_CLUSTERS and OWN_CLUSTERS not in columns:
        _check_own(adata.n_obs)
    elif not isinstance(majority_voting, str) or columns.count(majority_voting) != 1:
        raise ValueError(
            f"majority_voting must name one column of adata.obs, or be {OWN_CLUSTERS!r}. Got {majority_voting!r}; the "
            f"columns are {columns}. Name one of these, or pass {OWN_CLUSTERS!r} to cluster the cells here."
        )
    elif not all(isinstance(name, Hashable) for name in adata.obs[majority_voting]):
        raise ValueError(f"Clusters must be names or numbers. adata.obs[{majority_voting!r}] has others. Name another.")
    elif adata.obs[majority_voting].isna().any():
        n_missing = int(adata.obs[majority_voting].isna().sum())
        raise ValueError(
            f"Every cell needs a cluster to vote in. {n_missing} of {adata.n_obs} have none in "
            f"adata.obs[{majority_voting!r}]. Give them a cluster of their own, or leave these cells out."
        )


def _check_own(n_obs: int) -> None:
    if n_obs <= _NEIGHBOURS:
        raise ValueError(
            f"Clusters are made of more than {_NEIGHBOURS} cells. Got {n_obs}. Pass more cells at once, or name a "
            "column of adata.obs with clusters."
        )
    try:
        import igraph  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(
            "Clusters for majority_voting are made with igraph. Got no igraph here. Install it with: "
            "pip install 'genemamba-sc[graphs]', or name a column of adata.obs with clusters."
        ) from error


def vote(adata: AnnData, cell_types: pd.Series, embedding: Float32[np.ndarray, "n d"], majority_voting: str) -> Voting:
    """Give every cell the most frequent type of its cluster; of equally frequent ones the first in the order of types.

    Parameters
    ----------
    adata
        Cells.
    cell_types
        Predicted type of each cell, categorical.
    embedding
        Embedding of the cells, which clusters are made from.
    majority_voting
        Column of ``obs`` with clusters. Where there is no column ``"leiden"``, this name stands for clusters that are
        made here: many small ones, at the resolution that CellTypist takes for as many cells.
    """
    is_own = majority_voting not in adata.obs.columns
    names = _over_clusters(embedding) if is_own else adata.obs[majority_voting].to_numpy()
    clusters = pd.Series(pd.Categorical(names), index=cell_types.index)
    codes = most_frequent(cell_types.cat.codes.to_numpy(np.int64), clusters.cat.codes.to_numpy(np.int64))
    agreed = pd.Categorical.from_codes(codes, categories=cell_types.cat.categories)
    return Voting(
        pd.Series(agreed, index=cell_types.index, name=VOTING_KEY), clusters, "" if is_own else majority_voting
    )


def _over_clusters(embedding: np.ndarray) -> np.ndarray:
    cells = AnnData(obsm={"X": embedding}, shape=(len(embedding), 0))
    sc.pp.neighbors(cells, n_neighbors=_NEIGHBOURS, use_rep="X", random_state=0)
    resolution = over_clustering_resolution(len(embedding))
    sc.tl.leiden(cells, resolution=resolution, flavor="igraph", n_iterations=2, directed=False, random_state=0)
    return cells.obs["leiden"].to_numpy()
