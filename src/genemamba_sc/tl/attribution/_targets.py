"""Say which number of a cell is attributed to its genes: the score of a type, or the embedding along a direction."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from genemamba_sc.data import TokenBatch, Tokens
from genemamba_sc.data.tokens._token_parts import real_positions
from genemamba_sc.model import GeneMambaModule
from genemamba_sc.nn import CellTypeHead, EncoderOutput
from genemamba_sc.tl._cells import embedding_of, pass_through
from genemamba_sc.training._programs import level_shares


@dataclass(frozen=True, eq=False)
class TypeTarget:
    """Score of a type: its logit minus the mean over the types, which a softmax does not see.

    Parameters
    ----------
    codes
        Number of the type of each cell, shape (n,).
    mean_pool
        Mean score of the programs over the cells, shape (c,): what a program is compared with.
    """

    codes: Int[np.ndarray, "n"]
    mean_pool: Float[np.ndarray, "c"]

    def take(self, rows: Int[np.ndarray, "m"]) -> "TypeTarget":
        """Take the targets of some of the cells."""
        return TypeTarget(self.codes[rows], self.mean_pool)

    def reach(self, module: GeneMambaModule) -> int | None:
        """Return how many tokens the layers read: those after them enter the score by the linear parts alone."""
        return module.encoder_config.context_len

    def scores(self, module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n"]:
        """Return the score of each cell."""
        return type_scores(module, tokens)[np.arange(len(self.codes)), self.codes]

    def read(self, module: GeneMambaModule, output: EncoderOutput) -> Float[Tensor, "n"]:
        """Return what the linear layer reads from the context of each cell; gradients pass."""
        weight = _centred(head_of(module).linear.weight.detach(), 0)
        return (output.context * weight[torch.as_tensor(self.codes, device=weight.device)]).sum(dim=1)

    def exact(self, module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n l"]:
        """Return what each token adds to the score by markers and programs, which are linear."""
        head = head_of(module)
        markers, programs, medians = (
            tensor.detach().double().cpu().numpy() for tensor in (head.markers, head.programs, head.medians)
        )
        markers, programs = (x - x.mean(axis=1, keepdims=True) for x in (markers, programs))
        own = self.codes[:, None]
        level = np.log1p(tokens.values.astype(np.float64))
        shares = level / np.maximum(level.sum(axis=1, keepdims=True), 1e-30)
        expressed = np.log1p(tokens.values * medians[tokens.ids])
        pool = (self.mean_pool - self.mean_pool.mean())[own]
        scores = expressed * markers[tokens.ids, own] + shares * (programs[tokens.ids, own] - pool)
        return scores * real_positions(tokens)

    def constant(self, module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n"]:
        """Return what the score holds without any gene: the biases, and the programs of the mean cell."""
        head = head_of(module)
        bias = (head.marker_bias + head.linear.bias).detach().double().cpu().numpy()
        filled = (tokens.lengths > 0)[:, None] * self.mean_pool
        constant = bias + filled
        return (constant - constant.mean(axis=1, keepdims=True))[np.arange(len(self.codes)), self.codes]


@dataclass(frozen=True, eq=False)
class DirectionTarget:
    """Scalar product of the embedding with a direction of each cell.

    Parameters
    ----------
    directions
        Unit vectors, shape (n, d).
    """

    directions: Float[np.ndarray, "n d"]

    def take(self, rows: Int[np.ndarray, "m"]) -> "DirectionTarget":
        """Take the targets of some of the cells."""
        return DirectionTarget(self.directions[rows])

    def reach(self, module: GeneMambaModule) -> int | None:
        """Return ``None``: all tokens enter the embedding."""
        return None

    def scores(self, module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n"]:
        """Return the score of each cell."""
        cells = pass_through(module, tokens, embedding_of, module.encoder_config.d_model)
        return (cells * self.directions).sum(axis=1)

    def read(self, module: GeneMambaModule, output: EncoderOutput) -> Float[Tensor, "n"]:
        """Return the score of each cell; gradients pass."""
        directions = torch.as_tensor(self.directions, dtype=output.cell.dtype, device=output.cell.device)
        return (output.cell * directions).sum(dim=1)

    def exact(self, module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n l"]:
        """Return zeros: no part of an embedding is linear in its tokens."""
        return np.zeros(tokens.ids.shape)

    def constant(self, module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n"]:
        """Return zeros."""
        return np.zeros(len(tokens.lengths))


Target = TypeTarget | DirectionTarget


def head_of(module: GeneMambaModule) -> CellTypeHead:
    """Return the cell-type head of a module that has one."""
    assert module.cell_type_head is not None  # asked for by require_cell_types before
    return module.cell_type_head


def program_pool(module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n c"]:
    """Return the scores of the programs of each cell, (n, c)."""
    programs = head_of(module).programs.detach().double().cpu().numpy()
    return level_shares(tokens, len(programs)) @ programs


def type_scores(module: GeneMambaModule, tokens: Tokens) -> Float[np.ndarray, "n c"]:
    """Return the scores of all types of each cell: logits minus their mean, (n, c)."""
    return pass_through(module, tokens, _centred_logits, module.n_labels).astype(np.float64)


def _centred_logits(module: GeneMambaModule, batch: TokenBatch) -> Tensor:
    read = module.inference(batch["token_ids"], batch["token_values"], batch["lengths"])
    logits = module.generative(read["context"], batch["token_ids"], batch["token_values"])["cell_type_logits"]
    return _centred(logits, 1)


def _centred(x: Tensor, axis: int) -> Tensor:
    return x - x.mean(dim=axis, keepdim=True)
