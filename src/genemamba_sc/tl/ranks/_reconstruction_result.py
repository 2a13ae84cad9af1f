"""Hold how well orders of genes were rebuilt."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from genemamba_sc._described import Described
from genemamba_sc.tl.ranks._rank_metrics import ListScores

Protocol = Literal["masked", "published"]

_COPYING = "Copying the input solves the published protocol: it tells how well a model copies, not what it knows."


@dataclass(frozen=True, eq=False, repr=False)
class RankReconstruction(Described):
    """Hold how well orders of genes were rebuilt, by the model and by what it has to beat.

    Parameters
    ----------
    protocol
        ``"masked"`` or ``"published"``; see :func:`reconstruct_ranks`.
    cells
        Names of the cells whose genes were put in order.
    n_genes
        Number of genes of each list, shape ``(n_cells,)``.
    methods
        Names of the methods; the first one is the model.
    spearman, pearson
        Correlation of known and predicted relative ranks. ``"masked"``: one for each cell and method, shape
        ``(n_cells, n_methods)``. ``"published"``: one over all genes and cells, shape ``(1, n_methods)``.
    lists
        Scores of the joined lists, one for each method; only of the published protocol.
    n_reference
        Number of cells from which baselines and read-outs learned; 0 in the published protocol.
    """

    protocol: Protocol
    cells: pd.Index
    n_genes: Int[np.ndarray, "n_cells"]
    methods: tuple[str, ...]
    spearman: Float[np.ndarray, "n n_methods"]
    pearson: Float[np.ndarray, "n n_methods"]
    lists: tuple[ListScores, ...] = ()
    n_reference: int = 0

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per method.

        Columns of the masked protocol are ``spearman`` and ``pearson``, means over cells, and ``spearman_sem``, the
        standard error of that mean; cells whose predictions are all equal do not count. Those of the published one
        are ``l_dist``, ``bleu``, ``spearman`` and ``pearson``.
        """
        table = pd.DataFrame(index=pd.Index(self.methods, name="method"))
        if self.protocol == "published":
            return table.assign(
                l_dist=[scores.l_dist for scores in self.lists],
                bleu=[scores.bleu for scores in self.lists],
                spearman=self.spearman[0],
                pearson=self.pearson[0],
            )
        spearman, pearson = (pd.DataFrame(values, columns=table.index) for values in (self.spearman, self.pearson))
        return table.assign(spearman=spearman.mean(), spearman_sem=spearman.sem(), pearson=pearson.mean())

    def plot(self, **arguments: Any) -> Any:
        """Draw the rank correlation of every method.

        Parameters
        ----------
        **arguments
            As in :func:`genemamba_sc.pl.reconstruction`.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from genemamba_sc.pl import reconstruction

        return reconstruction(self, **arguments)

    def _about(self) -> dict[str, str]:
        spearman = ", ".join(f"{name} {value:.3f}" for name, value in self.to_frame()["spearman"].items())
        entries = {
            "protocol": self.protocol,
            "cells": f"{len(self.cells):,}, with {int(self.n_genes.sum()):,} genes in all",
            "spearman": spearman,
        }
        return {**entries, **({"note": _COPYING} if self.protocol == "published" else {})}

    def __str__(self) -> str:
        first = f"{len(self.cells)} cells, {int(self.n_genes.sum()):,} genes, {self.protocol} protocol"
        reference = f"; means, neighbours and read-outs from {self.n_reference:,} other cells"
        lines = [first + (reference if self.n_reference else ""), self.to_frame().round(3).to_string()]
        return "\n".join([*lines, *([_COPYING] if self.protocol == "published" else [])])
