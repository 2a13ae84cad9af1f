"""Move the embedding by perturbing genes, in steps that a read-out of ranks understands."""

import numpy as np
import torch
from jaxtyping import Float, Int

from genemamba_sc.data import CellSource
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._cells import blocks_of, draw_cells
from genemamba_sc.tl.perturbation._changed_cells import ChangedCells
from genemamba_sc.tl.perturbation._changes import Changes, Kind
from genemamba_sc.tl.perturbation._effect_sums import Effect, EffectSums
from genemamba_sc.tl.ranks._hidden_readout import LEAST_CELLS, HiddenReadout

_MOST_REFERENCE = 2000


def fit_ranks(model: GeneMambaModel, source: CellSource, genes: Int[np.ndarray, "m"], seed: int) -> HiddenReadout:
    """Fit read-outs of ranks on up to 2,000 of the cells that have ten genes or more.

    Parameters
    ----------
    model
        A trained model.
    source
        The cells.
    genes
        Token ids to fit.
    seed
        Seed of all draws.

    Raises
    ------
    ValueError
        If there are fewer than ten such cells.
    """
    tokens = draw_cells(source, _MOST_REFERENCE, np.random.default_rng(seed))[1]
    if len(tokens.lengths) < LEAST_CELLS:
        raise ValueError(
            f"Ranks are read from at least {LEAST_CELLS} cells of ten genes that the model knows. Got "
            f"{len(tokens.lengths)}. Pass more cells."
        )
    return HiddenReadout.of(model.module, tokens, model.vocabulary.size, genes, seed)


def add_steps(
    model: GeneMambaModel,
    source: CellSource,
    rows: Int[np.ndarray, "n"],
    wanted: Int[np.ndarray, "u"],
    readout: HiddenReadout,
    kind: Kind,
    shift: int,
) -> EffectSums:
    """Perturb each gene on its own, and add up the steps of the embedding over cells.

    Parameters
    ----------
    model
        A trained model.
    source, rows
        The cells.
    wanted
        Token ids, ascending.
    readout
        Says what a step is.
    kind, shift
        What is done.
    """

    def measure(cells: ChangedCells) -> Effect:
        def steps(changes: Changes) -> Float[np.ndarray, "m k"]:
            before = cells.cell[torch.as_tensor(changes.rows, device=cells.cell.device)]
            return readout.steps((cells.after(changes)[0] - before).double().cpu().numpy())

        return steps

    totals = EffectSums(model.module, wanted, 1, readout.slopes.shape[1], measure)
    for block, _ in blocks_of(source, rows):
        totals.add(block, np.zeros(len(block.lengths), np.int64), kind, shift)
    return totals
