"""Attribute a score by what is missing without each gene."""

import numpy as np
import torch
from jaxtyping import Float

from genemamba_sc.data import Tokens
from genemamba_sc.data.tokens._token_parts import real_positions
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.nn import Embedder
from genemamba_sc.tl.attribution._targets import DirectionTarget, Target
from genemamba_sc.tl.perturbation._changed_cells import ChangedCells
from genemamba_sc.tl.perturbation._changes import changes_of


@torch.inference_mode()
def occlusion(module: GeneMambaModule, tokens: Tokens, aims: Target) -> Float[np.ndarray, "n l"]:
    """Return by how much the score of each cell falls when one token is deleted.

    Parameters
    ----------
    module
        The module.
    tokens
        Tokens of the cells.
    aims
        The scores.
    """
    was_training = module.training
    module.eval()
    fall = np.zeros(tokens.ids.shape)
    try:
        cells = ChangedCells(module, Embedder(module.encoder), tokens)
        every = np.unique(tokens.ids[real_positions(tokens)]).astype(np.int64)
        for changes in changes_of(tokens, every, "delete", 0):
            own = aims.take(changes.rows)
            rows = torch.as_tensor(changes.rows, device=cells.cell.device)
            before = _score_of(own, cells.cell[rows], cells.logits[rows])
            fall[changes.rows, changes.leaves] = before - _score_of(own, *cells.after(changes))
    finally:
        module.train(was_training)
    return fall


def _score_of(aims: Target, cell: torch.Tensor, logits: torch.Tensor) -> Float[np.ndarray, "m"]:
    if isinstance(aims, DirectionTarget):
        return (cell.double().cpu().numpy() * aims.directions).sum(axis=1)
    scores = logits.double().cpu().numpy()
    return (scores - scores.mean(axis=1, keepdims=True))[np.arange(len(scores)), aims.codes]
