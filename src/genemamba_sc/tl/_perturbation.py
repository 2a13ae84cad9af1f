"""Delete genes, move them to the top or along the list, and see what the model makes of the cells."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from anndata import AnnData
from jaxtyping import Float, Float32, Int
from torch import Tensor

from genemamba_sc._checks import CellIndices, whole_number
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._warn import warn
from genemamba_sc.data import Scale, Tokens
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._cell_groups import cell_groups
from genemamba_sc.tl._cells import blocks_of, cells_asked, open_query
from genemamba_sc.tl._changed_cells import ChangedCells
from genemamba_sc.tl._changes import Changes, Kind, changes_of
from genemamba_sc.tl._controls import Expression, permutation_p, share_above
from genemamba_sc.tl._genes import find_genes, ids_and_symbols
from genemamba_sc.tl._perturbation_result import Perturbation
from genemamba_sc.tl._type_probabilities import TypeProbabilities, types_asked


def perturb(
    model: GeneMambaModel,
    adata: AnnData | None = None,
    genes: str | Sequence[str] = (),
    *,
    kind: Kind = "delete",
    shift: int = 0,
    groupby: str | None = None,
    indices: CellIndices | None = None,
    n_controls: int = 20,
    types: bool | None = None,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> Perturbation:
    """Perturb each of many genes on its own, in all cells, and average what changes in the model over groups of cells.

    The list of genes of a cell is changed, as Geneformer does (Theodoris et al., Nature 2023), not its counts: the
    other genes keep their values. A gene takes the value of the one whose place it takes. The effects are those on this
    model's embedding (of the encoder, before any integration) and type probabilities (calibrated where the model's are,
    as ``predict_celltype(soft=True)`` has them). They show what the model relies on, not what a cell would do.

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells; ``None`` takes those that the model has.
    genes
        Ids, symbols or aliases, as many as you like: genes are computed as they occur, and memory does not grow with
        the cells.
    kind
        ``"delete"`` takes the gene out of the cells that have it. ``"shift"`` moves it there by ``shift`` places.
        ``"top"`` makes it the first gene of every cell, also of those that lack it.
    shift
        Places to move up, or down if negative; only for ``"shift"``. The ends of the list stop a gene.
    groupby
        Column of ``obs`` whose groups are averaged apart, in which every cell has a value; ``None`` averages over all
        cells, as the group ``"all"``.
    indices
        Cells to perturb; ``None`` takes all.
    n_controls
        Number of other genes, expressed in as many cells of the group and as strongly, that are perturbed in the same
        way for comparison; 0 switches that off.
    types
        Whether effects on type probabilities are computed; ``None`` does it where the model tells types apart.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.

    Returns
    -------
    Perturbation

    Raises
    ------
    TypeError
        If the model is none, or genes are no names.
    RuntimeError
        If the model is not trained.
    ValueError
        If a gene is not in the vocabulary or named twice, there is no gene or cell, a cell has no group, an argument is
        wrong, the cells cannot be read, or effects on types are asked of a model that knows none.

    Warns
    -----
    UserWarning
        If no cell expresses a gene, or a group has one cell only.
    """
    _check_kind(kind, shift)
    n_controls = whole_number("n_controls", n_controls, 0)
    cells, source = open_query(model, adata, layer, gene_id_key, scale)
    tokens = find_genes(model, genes) + FIRST_GENE_ID
    known_types = types_asked(model, types)
    rows = cells_asked(indices, source.n_obs)
    names, groups = cell_groups(cells, groupby, rows)
    expression = Expression.empty(len(names), model.vocabulary.size)
    for block, part in blocks_of(source, rows):
        expression.add(block, groups[part], model.vocabulary)
    controls = expression.matched(tokens, n_controls)
    wanted = np.union1d(tokens, controls[controls >= 0])
    totals = _Totals(wanted, len(names), len(known_types), model)
    for block, part in blocks_of(source, rows):
        totals.add(block, groups[part], kind, shift)
    _warn_if_absent(model, tokens, totals)
    effects = _effects_and_controls(totals, tokens, controls)
    ids, symbols = ids_and_symbols(model.vocabulary, tokens)
    return Perturbation(kind, shift, tuple(ids), tuple(symbols), tuple(names), known_types, **effects)


class _Totals:
    """Add up effects over cells, for ``u`` genes in ``q`` groups."""

    def __init__(self, wanted: Int[np.ndarray, "u"], n_groups: int, n_types: int, model: GeneMambaModel) -> None:
        self.wanted, self.module, self.n_effects = wanted, model.module, 2 + n_types
        self.probabilities = TypeProbabilities.of(model)
        self.counts = np.zeros((len(wanted), n_groups), dtype=np.int64)
        # Cosine and distance, then the change of each type.
        self.sums = np.zeros((len(wanted), n_groups, self.n_effects))

    @torch.inference_mode()
    def add(self, tokens: Tokens, groups: Int[np.ndarray, "b"], kind: Kind, shift: int) -> None:
        """Perturb the genes in a block of cells."""
        was_training = self.module.training
        self.module.eval()
        try:
            cells = ChangedCells(self.module, tokens)
            known = self.probabilities(cells.logits)
            for changes in changes_of(tokens, self.wanted, kind, shift):
                place = np.searchsorted(self.wanted, changes.genes), groups[changes.rows]
                np.add.at(self.counts, place, 1)
                np.add.at(self.sums, place, self._effects(cells, known, changes))
        finally:
            self.module.train(was_training)

    def means(self) -> Float[np.ndarray, "u q k"]:
        """Return the mean effects; NaN where no cell was perturbed."""
        counts = self.counts[..., None]
        return np.where(counts > 0, self.sums / np.maximum(counts, 1), np.nan)

    def _effects(
        self, cells: ChangedCells, known: Float32[np.ndarray, "b c"], changes: Changes
    ) -> Float[np.ndarray, "m k"]:
        """Compute cosine shift, distance and change of each type, of each change."""
        cell, logits = cells.after(changes)
        shifts = _shifts(cell, cells.cell[torch.as_tensor(changes.rows, device=cell.device)])
        change = self.probabilities(logits) - known[changes.rows]
        return np.concatenate([shifts, change], axis=1)[:, : self.n_effects]


def _shifts(cell: Tensor, before: Tensor) -> Float[np.ndarray, "m 2"]:
    """Return cosine shift and distance of embeddings."""
    distance = (cell - before).norm(dim=1)
    size = cell.norm(dim=1) * before.norm(dim=1)
    # 1 - cos by the difference of the unit vectors, which float32 keeps where the cosine is nearly 1.
    unit = torch.nn.functional.normalize(cell, dim=1) - torch.nn.functional.normalize(before, dim=1)
    cosine = torch.where(size > 0, unit.square().sum(dim=1) / 2, torch.ones_like(size))
    return torch.stack([cosine, distance], dim=1).double().cpu().numpy()


def _check_kind(kind: object, shift: object) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {get_args(Kind)}. Got {kind!r}. Choose one of them.")
    if isinstance(shift, bool) or not isinstance(shift, int | np.integer):
        raise TypeError(f"shift must be a whole number. Got {shift!r}. Pass a number of places, such as 50.")
    if (kind == "shift") != (shift != 0):
        raise ValueError(
            f"kind='shift' needs a number of places, and no other kind takes one. Got kind={kind!r}, shift={shift}. "
            "Pass kind='shift' with shift=50, say."
        )


def _warn_if_absent(model: GeneMambaModel, tokens: Int[np.ndarray, "m"], totals: _Totals) -> None:
    absent = tokens[totals.counts[np.searchsorted(totals.wanted, tokens)].sum(axis=1) == 0]
    if len(absent):
        names = ", ".join(ids_and_symbols(model.vocabulary, absent[:3])[1])
        warn(f"{len(absent)} of {len(tokens)} genes are expressed in none of these cells, such as {names}: no effect.")


def _effects_and_controls(
    totals: _Totals, tokens: Int[np.ndarray, "m"], controls: Int[np.ndarray, "m q n"]
) -> dict[str, Any]:
    """Return the effects of the genes beside those of their controls, under the names of :class:`Perturbation`."""
    means, mine = totals.means(), np.searchsorted(totals.wanted, tokens)
    own = means[mine]
    # Effects of the controls in the same group, (m, q, n, k).
    place = np.searchsorted(totals.wanted, controls).clip(0, len(totals.wanted) - 1)
    others = means[place, np.arange(own.shape[1])[None, :, None]]
    others[controls < 0] = np.nan
    n_known = (~np.isnan(others[..., 0])).sum(axis=2)
    mean = np.nansum(others, axis=2) / np.where(n_known > 0, n_known, np.nan)[..., None]
    last = np.moveaxis(others, 2, -1)
    p = permutation_p(np.abs(own), np.abs(last))
    return {
        "n_cells": totals.counts[mine],
        "cosine_shift": own[..., 0],
        "l2_shift": own[..., 1],
        "type_change": own[..., 2:],
        "control_cosine_shift": mean[..., 0],
        "control_type_change": mean[..., 2:],
        "n_controls": n_known,
        "p_cosine": p[..., 0],
        "p_types": p[..., 2:],
        "lowers_more": share_above(own[..., 2:], last[..., 2:, :]),
    }
