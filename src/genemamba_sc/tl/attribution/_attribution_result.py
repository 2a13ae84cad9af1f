"""Hold attributions, and what the deletion test says of them."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import sparse

from genemamba_sc._described import Described, listed
from genemamba_sc.tl.attribution._deletion import mean_fall

Method = Literal["integrated_gradients", "occlusion"]


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Described):
    """Hold what each gene of each cell adds to a score of the cell, and how the score falls when genes are deleted.

    Parameters
    ----------
    method
        How scores were attributed.
    cells, targets
        Names of the cells, and the type that was attributed in each (``"embedding"`` for the embedding).
    gene_ids, symbols
        The genes of the vocabulary.
    scores
        What each gene adds, sparse, cells × genes; 0 also where the cell lacks the gene.
    score, baseline
        Score of each cell, and what it would be with average genes, shape ``(n_cells,)``. With integrated gradients
        ``scores`` add up to their difference; ``baseline`` is NaN for occlusion, whose scores do not add up.
    gap
        What the sum misses of that difference, shape ``(n_cells,)``; NaN for occlusion.
    deletion
        Mean score of ``n_tested`` cells after a share of their genes (rows) is deleted, the highest first, in several
        orders (columns): by ``"attribution"``; by ``"permuted labels"``, the attribution to the score of another type
        drawn at random, or to the direction of another cell; by ``"expression"``; at ``"random"``.
    n_tested
        Number of cells of that test.
    """

    method: Method
    cells: pd.Index
    targets: tuple[str, ...]
    gene_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    scores: sparse.csr_array
    score: Float[np.ndarray, "n_cells"]
    baseline: Float[np.ndarray, "n_cells"]
    gap: Float[np.ndarray, "n_cells"]
    deletion: pd.DataFrame
    n_tested: int

    @property
    def mean_fall(self) -> pd.Series:
        """How far the score falls on average over the deleted shares, for each order."""
        return mean_fall(self.deletion)

    @property
    def passes(self) -> bool:
        """Whether deleting by attribution makes the score fall further than each of the other orders."""
        fall = self.mean_fall
        return bool((fall["attribution"] > fall.drop("attribution")).all())

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per target and gene that any of its cells has, the largest mean first.

        ``mean`` is over the ``n_cells`` cells of the target that have the gene; ``total`` is the sum over them divided
        by the number of all cells of the target.
        """
        parts = [self._of_target(name) for name in dict.fromkeys(self.targets)]
        return pd.concat(parts, ignore_index=True)

    def plot(self, **arguments: Any) -> Any:
        """Draw the deletion test: the curve by attribution beside those by permuted labels, expression and chance.

        Parameters
        ----------
        **arguments
            As in :func:`genemamba_sc.pl.attribution`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from genemamba_sc.pl import attribution

        return attribution(self, **arguments)

    def _about(self) -> dict[str, str]:
        n_genes = len(np.unique(self.scores.indices))
        falls = ", ".join(f"{fall:.3g} by {name}" for name, fall in self.mean_fall.items())
        passed = "passed" if self.passes else "NOT passed"
        adds = "scores of occlusion do not add up"
        return {
            "method": self.method,
            "cells": f"{len(self.cells):,}",
            "targets": listed(dict.fromkeys(self.targets)),
            "genes": f"{n_genes:,} of {len(self.gene_ids):,} are in these cells",
            "largest gap": adds if np.isnan(self.gap).all() else f"{np.nanmax(self.gap):.1e}",
            "deletion test": f"{passed} in {self.n_tested:,} cells; mean fall {falls}",
        }

    def _of_target(self, name: str) -> pd.DataFrame:
        rows = np.flatnonzero(np.array(self.targets, dtype=object) == name)
        part = self.scores[rows]
        n = np.bincount(part.indices, minlength=part.shape[1])
        total = np.bincount(part.indices, part.data, minlength=part.shape[1])
        genes = np.flatnonzero(n)
        genes = genes[np.argsort(-total[genes] / n[genes], kind="stable")]
        return pd.DataFrame(
            {
                "target": name,
                "gene_id": np.array(self.gene_ids, dtype=object)[genes],
                "symbol": np.array(self.symbols, dtype=object)[genes],
                "mean": total[genes] / n[genes],
                "total": total[genes] / len(rows),
                "n_cells": n[genes],
            }
        )
