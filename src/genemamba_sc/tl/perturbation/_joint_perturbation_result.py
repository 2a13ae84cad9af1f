"""Hold what perturbing sets of genes does."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from genemamba_sc._described import listed
from genemamba_sc.tl._names import numbered
from genemamba_sc.tl.perturbation._drawn import Drawn

JointKind = Literal["delete", "top"]

# Sets whose numbers stand in a description.
_MOST_TOLD = 8


@dataclass(frozen=True, eq=False, repr=False)
class JointPerturbation(Drawn):
    """Hold what perturbing sets of genes together does, in the model, beside predictions from the single genes.

    ``s`` sets, ``c`` cell types; means over the cells in which at least one gene of the set was perturbed.

    Parameters
    ----------
    kind
        What was done.
    names, n_genes
        Names of the sets, and number of genes of each, shape ``(s,)``.
    cell_types
        Names of the types; none where the model knows none.
    n_cells
        Number of cells in which the set was perturbed, shape ``(s,)``.
    l2_shift
        Distance between the embeddings before and after, shape ``(s,)``: also the error of the prediction that nothing
        changes.
    additive_error
        Distance between the embedding afterwards and the one predicted by adding the shifts of the single genes, shape
        ``(s,)``.
    mean_error
        The same for a prediction that moves each cell by the mean shift of the set over these cells, shape ``(s,)``.
    type_change, additive_type_change
        Change of the probability of each type, calibrated where the model's are, and the sum of those of the single
        genes, shape ``(s, c)``.
    control_l2_shift
        ``l2_shift`` of sets of as many matched genes, averaged, shape ``(s,)``; NaN where no set can be as long.
    p_l2
        Permutation p-value of ``l2_shift`` among the sets of matched genes, shape ``(s,)``; NaN where there are none.
    """

    kind: JointKind
    names: tuple[str, ...]
    n_genes: Int[np.ndarray, "s"]
    cell_types: tuple[str, ...]
    n_cells: Int[np.ndarray, "s"]
    l2_shift: Float[np.ndarray, "s"]
    additive_error: Float[np.ndarray, "s"]
    mean_error: Float[np.ndarray, "s"]
    type_change: Float[np.ndarray, "s c"]
    additive_type_change: Float[np.ndarray, "s c"]
    control_l2_shift: Float[np.ndarray, "s"]
    p_l2: Float[np.ndarray, "s"]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per set; ``change:T`` and ``additive_change:T`` are those of each type ``T``."""
        columns = ("n_genes", "n_cells", "l2_shift", "additive_error", "mean_error", "control_l2_shift", "p_l2")
        table = pd.DataFrame({name: getattr(self, name) for name in columns}, index=pd.Index(self.names, name="set"))
        for i, name in enumerate(self.cell_types):
            table[f"change:{name}"] = self.type_change[:, i]
            table[f"additive_change:{name}"] = self.additive_type_change[:, i]
        return table

    def compared(self, cell_type: str | None = None) -> pd.DataFrame:
        """Put the effect of each set beside its baselines.

        Parameters
        ----------
        cell_type
            Type whose probability changes; ``None`` takes the distance that the embedding moves.

        Returns
        -------
        A row per set. Of a type: ``effect`` and ``sum of single genes``. Of the embedding: ``effect``, which is also
        the error of predicting no change, ``matched sets``, ``error of the sum`` and ``error of the mean``.

        Raises
        ------
        ValueError
            If there is no such type.
        """
        if cell_type is None:
            columns = {
                "effect": self.l2_shift,
                "matched sets": self.control_l2_shift,
                "error of the sum": self.additive_error,
                "error of the mean": self.mean_error,
            }
            return pd.DataFrame(columns, index=pd.Index(self.names, name="distance of the embeddings"))
        c = numbered("cell_type", cell_type, self.cell_types)
        columns = {"effect": self.type_change[:, c], "sum of single genes": self.additive_type_change[:, c]}
        return pd.DataFrame(columns, index=pd.Index(self.names, name=f"change of the probability of {cell_type}"))

    def _about(self) -> dict[str, str]:
        sets = (f"{name} ({n:,} genes)" for name, n in zip(self.names, self.n_genes))
        told = {
            "perturbation": f"{self.kind}, the genes of a set together",
            "sets": listed(sets),
            "cell types": listed(self.cell_types),
        }
        shifts = self.compared().rename(columns={"effect": "distance"})
        return told | {
            name: ", ".join(f"{value:.3g}" for value in column[:_MOST_TOLD]) for name, column in shifts.items()
        }
