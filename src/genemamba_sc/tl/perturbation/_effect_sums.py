"""Perturb many genes in many cells, and average an effect over groups of cells."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int

from genemamba_sc._warn import warn
from genemamba_sc.data import Tokens
from genemamba_sc.model import GeneMambaModel, GeneMambaModule
from genemamba_sc.nn import Embedder
from genemamba_sc.tl._genes import ids_and_symbols
from genemamba_sc.tl.perturbation._changed_cells import ChangedCells
from genemamba_sc.tl.perturbation._changes import Changes, Kind, changes_of

# Effects of m changes, (m, k); a measure makes that of a block of cells.
Effect = Callable[[Changes], np.ndarray]
Measure = Callable[[ChangedCells], Effect]


class EffectSums:
    """Add up ``k`` effects over cells, for ``u`` genes in ``q`` groups; memory does not grow with the cells.

    Parameters
    ----------
    module
        The trained module.
    wanted
        Token ids of the genes, ascending.
    n_groups, n_effects
        Numbers of groups and of effects.
    measure
        Gives the effects of changes in a block of cells.
    """

    def __init__(
        self, module: GeneMambaModule, wanted: Int[np.ndarray, "u"], n_groups: int, n_effects: int, measure: Measure
    ) -> None:
        self.module, self.wanted, self.measure = module, wanted, measure
        self.embedder = Embedder(module.encoder)
        self.counts = np.zeros((len(wanted), n_groups), dtype=np.int64)
        self.sums = np.zeros((len(wanted), n_groups, n_effects))

    @torch.inference_mode()
    def add(self, tokens: Tokens, groups: Int[np.ndarray, "b"], kind: Kind, shift: int) -> None:
        """Perturb the genes in a block of cells.

        Parameters
        ----------
        tokens, groups
            Tokens of the cells, and the number of the group of each.
        kind, shift
            What is done.
        """
        was_training = self.module.training
        self.module.eval()
        try:
            effect = self.measure(ChangedCells(self.module, self.embedder, tokens))
            for changes in changes_of(tokens, self.wanted, kind, shift):
                place = np.searchsorted(self.wanted, changes.genes), groups[changes.rows]
                np.add.at(self.counts, place, 1)
                np.add.at(self.sums, place, effect(changes))
        finally:
            self.module.train(was_training)

    def means(self) -> Float[np.ndarray, "u q k"]:
        """Return the mean effects; NaN where no cell was perturbed."""
        counts = self.counts[..., None]
        return np.where(counts > 0, self.sums / np.maximum(counts, 1), np.nan)


def warn_if_absent(model: GeneMambaModel, tokens: Int[np.ndarray, "m"], totals: EffectSums) -> None:
    """Tell of genes that were perturbed in no cell.

    Parameters
    ----------
    model
        The model.
    tokens
        Token ids of the genes that the user named.
    totals
        What was added up.
    """
    absent = tokens[totals.counts[np.searchsorted(totals.wanted, tokens)].sum(axis=1) == 0]
    if len(absent):
        names = ", ".join(ids_and_symbols(model.vocabulary, absent[:3])[1])
        warn(f"{len(absent)} of {len(tokens)} genes are expressed in none of these cells, such as {names}: no effect.")
