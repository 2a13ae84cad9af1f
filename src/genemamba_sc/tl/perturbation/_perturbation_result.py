"""Hold what perturbing genes one by one does."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from genemamba_sc._described import listed
from genemamba_sc.tl._cell_groups import ALL_CELLS
from genemamba_sc.tl._names import median_told, numbered, unambiguous
from genemamba_sc.tl.perturbation._changes import Kind
from genemamba_sc.tl.perturbation._drawn import Drawn


@dataclass(frozen=True, eq=False, repr=False)
class Perturbation(Drawn):
    """Hold what perturbing single genes does to groups of cells, in the model.

    ``m`` genes, ``q`` groups, ``c`` cell types. Effects are means over the cells of a group in which the gene was
    perturbed; NaN where there are none. No change, the first baseline of any effect, is 0 in all of them.

    Parameters
    ----------
    kind, shift
        What was done.
    gene_ids, symbols
        The genes.
    groups, cell_types
        Names of the groups and of the types; no types where the model knows none.
    n_cells
        Number of cells in which the gene was perturbed, shape ``(m, q)``.
    cosine_shift, l2_shift
        1 - cosine, and distance, between the embeddings before and after, shape ``(m, q)``.
    type_change
        Change of the probability of each type, shape ``(m, q, c)``.
    control_cosine_shift, control_type_change
        The same, averaged over the matched genes of each gene: the effect of any gene that is expressed like it.
        Changes of both signs cancel in ``control_type_change``, the more the more genes there are: the size of
        ``type_change`` is not to be compared with it.
    control_type_size
        Mean size (absolute value) of the change of each type by the matched genes, shape ``(m, q, c)``: the size of
        ``type_change`` that any such gene has.
    n_controls
        Number of matched genes with an effect, shape ``(m, q)``.
    p_cosine, p_types
        Permutation p-values of the size of ``cosine_shift``, shape ``(m, q)``, and of ``type_change``, shape ``(m, q,
        c)``, among the matched genes. They are not corrected for the number of genes, and never below
        ``1 / (1 + n_controls)``.
    lowers_more
        Share of the matched genes that lower the probability of a type less than the gene does, shape ``(m, q, c)``;
        0.5 is what chance gives. The mean over the markers of a type is an AUROC against genes expressed like them.
    """

    kind: Kind
    shift: int
    gene_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    groups: tuple[str, ...]
    cell_types: tuple[str, ...]
    n_cells: Int[np.ndarray, "m q"]
    cosine_shift: Float[np.ndarray, "m q"]
    l2_shift: Float[np.ndarray, "m q"]
    type_change: Float[np.ndarray, "m q c"]
    control_cosine_shift: Float[np.ndarray, "m q"]
    control_type_change: Float[np.ndarray, "m q c"]
    control_type_size: Float[np.ndarray, "m q c"]
    n_controls: Int[np.ndarray, "m q"]
    p_cosine: Float[np.ndarray, "m q"]
    p_types: Float[np.ndarray, "m q c"]
    lowers_more: Float[np.ndarray, "m q c"]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per gene and group.

        Beside the effects on the embedding, the columns ``change:T``, ``control_change:T``, ``control_size:T``,
        ``p_change:T`` and ``lowers_more:T`` hold those on the probability of each type ``T``.
        """
        m, q = self.n_cells.shape
        table = pd.DataFrame(
            {
                "gene_id": np.repeat(np.array(self.gene_ids, dtype=object), q),
                "symbol": np.repeat(np.array(self.symbols, dtype=object), q),
                "group": np.tile(np.array(self.groups, dtype=object), m),
            }
        )
        for name in ("n_cells", "cosine_shift", "l2_shift", "control_cosine_shift", "n_controls", "p_cosine"):
            table[name] = getattr(self, name).ravel()
        for i, name in enumerate(self.cell_types):
            table[f"change:{name}"] = self.type_change[..., i].ravel()
            table[f"control_change:{name}"] = self.control_type_change[..., i].ravel()
            table[f"control_size:{name}"] = self.control_type_size[..., i].ravel()
            table[f"p_change:{name}"] = self.p_types[..., i].ravel()
            table[f"lowers_more:{name}"] = self.lowers_more[..., i].ravel()
        return table

    def compared(self, cell_type: str | None = None, group: str | None = None) -> pd.DataFrame:
        """Put the effect of each gene beside that of its matched genes.

        Parameters
        ----------
        cell_type
            Type whose probability changes; ``None`` takes the cosine shift of the embedding.
        group
            Group of cells; ``None`` takes the first.

        Returns
        -------
        A row per gene, by its symbol, or its id where genes share one; the columns ``effect`` and
        ``mean size of matched genes``. The size of changes of a probability has the sign of the effect, to lie beside
        it. The name of the index says what the effect is, and in which group.

        Raises
        ------
        ValueError
            If there is no such type or group.
        """
        q = 0 if group is None else numbered("group", group, self.groups)
        where = "" if self.groups == (ALL_CELLS,) else f", in {self.groups[q]}"
        if cell_type is None:
            effect, size = self.cosine_shift[:, q], self.control_cosine_shift[:, q]
            title = "1 - cosine of the embeddings"
        else:
            c = numbered("cell_type", cell_type, self.cell_types)
            effect, title = self.type_change[:, q, c], f"change of the probability of {cell_type}"
            size = np.copysign(self.control_type_size[:, q, c], effect)
        columns = {"effect": effect, "mean size of matched genes": size}
        return pd.DataFrame(columns, index=pd.Index(unambiguous(self.gene_ids, self.symbols), name=title + where))

    def _about(self) -> dict[str, str]:
        cells, control = self.n_cells, median_told(self.control_cosine_shift)
        by = f" by {self.shift} places" if self.kind == "shift" else ""
        return {
            "perturbation": f"{self.kind}{by}, one gene at a time",
            "genes": listed(self.symbols),
            "groups": listed(self.groups),
            "cell types": listed(self.cell_types),
            "cells": f"{cells.min():,} to {cells.max():,} for a gene and group",
            "1 - cosine": f"median {median_told(self.cosine_shift)}; of matched genes {control}",
        }
