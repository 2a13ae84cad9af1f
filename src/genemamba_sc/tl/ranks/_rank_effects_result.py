"""Hold what perturbing genes does to the predicted ranks of others."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from genemamba_sc._described import listed
from genemamba_sc.tl._names import median_told, numbered_gene, unambiguous
from genemamba_sc.tl.perturbation._changes import Kind
from genemamba_sc.tl.perturbation._drawn import Drawn


@dataclass(frozen=True, eq=False, repr=False)
class RankEffects(Drawn):
    """Hold how perturbing ``m`` genes moves the predicted ranks of ``t`` others, in the model.

    Relative ranks fall from 1 for the first gene of a cell to 0 for the last one: a change of -0.02 is a fall by a
    fiftieth of the list. Changes are means over the cells in which the gene was perturbed, of the rank that the target
    would have if the cell has it; NaN where there are no such cells, for a gene and itself, and where a target is not
    read. No change, the first baseline, is 0; how far the matched genes move a target is the second one.

    Parameters
    ----------
    kind, shift
        What was done.
    gene_ids, symbols
        The perturbed genes.
    target_ids, target_symbols
        The genes whose ranks are read.
    n_cells
        Number of cells in which a gene was perturbed, shape ``(m,)``.
    change
        Change of the relative rank, shape ``(m, t)``.
    control_change
        The same, averaged over the genes that are expressed like the perturbed one, shape ``(m, t)``. Changes of both
        signs cancel in it, the more the more genes there are: the size of ``change`` is not to be compared with it.
    control_size
        Mean size (absolute value) of the change by each of these genes, shape ``(m, t)``: the size of ``change`` that
        any such gene has.
    p
        Permutation p-value of the size of ``change`` among the matched genes, shape ``(m, t)``. It is not corrected for
        the number of pairs, and never below ``1 / (1 + n_controls)``.
    foretold
        Correlation of read and known ranks of each target in cells that its regression has not seen, shape ``(t,)``:
        0 is no better than the mean rank. NaN where it is not read.
    n_reference
        Number of cells that the regressions were fitted to.
    """

    kind: Kind
    shift: int
    gene_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    target_ids: tuple[str, ...]
    target_symbols: tuple[str, ...]
    n_cells: Int[np.ndarray, "m"]
    change: Float[np.ndarray, "m t"]
    control_change: Float[np.ndarray, "m t"]
    control_size: Float[np.ndarray, "m t"]
    p: Float[np.ndarray, "m t"]
    foretold: Float[np.ndarray, "t"]
    n_reference: int

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per gene and target, genes and targets in their order."""
        m, t = self.change.shape
        columns = {
            "gene_id": np.repeat(np.array(self.gene_ids, dtype=object), t),
            "symbol": np.repeat(np.array(self.symbols, dtype=object), t),
            "target_id": np.tile(np.array(self.target_ids, dtype=object), m),
            "target": np.tile(np.array(self.target_symbols, dtype=object), m),
            "n_cells": np.repeat(self.n_cells, t),
        }
        effects = {name: getattr(self, name).ravel() for name in ("change", "control_change", "control_size", "p")}
        return pd.DataFrame({**columns, **effects, "foretold": np.tile(self.foretold, m)})

    def compared(self, gene: str | None = None) -> pd.DataFrame:
        """Put the effects of a gene beside the size of those of its matched genes.

        Parameters
        ----------
        gene
            Id or symbol of the perturbed gene; ``None`` takes the first.

        Returns
        -------
        A row per target; the columns ``effect`` and ``mean size of matched genes``, which has the sign of the effect to
        lie beside it.

        Raises
        ------
        ValueError
            If it was not perturbed, or several perturbed genes have this symbol.
        """
        row = 0 if gene is None else numbered_gene("gene", gene, self.gene_ids, self.symbols)
        size = np.copysign(self.control_size[row], self.change[row])
        columns = {"effect": self.change[row], "mean size of matched genes": size}
        title = f"change of the relative rank ({unambiguous(self.gene_ids, self.symbols)[row]}, {self.kind})"
        return pd.DataFrame(columns, index=pd.Index(unambiguous(self.target_ids, self.target_symbols), name=title))

    def _about(self) -> dict[str, str]:
        by = f" by {self.shift} places" if self.kind == "shift" else ""
        size, control, p = (median_told(x) for x in (np.abs(self.change), self.control_size, self.p))
        return {
            "perturbation": f"{self.kind}{by}, one gene at a time",
            "genes": listed(self.symbols),
            "targets": listed(self.target_symbols),
            "cells": f"{self.n_cells.min():,} to {self.n_cells.max():,} for a gene",
            "rank change": f"median size {size}; of matched genes {control}; median p {p}",
            "foretold": f"median correlation {median_told(self.foretold)}, from {self.n_reference:,} cells",
        }
