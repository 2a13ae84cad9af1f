"""Delete genes, move them to the top or along the list, and see what the model makes of the cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from jaxtyping import Float, Int
from torch import Tensor

from genemamba_sc._checks import CellIndices, whole_number
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc.data import Scale
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._cell_groups import cell_groups
from genemamba_sc.tl._cells import blocks_of, cells_asked, open_query
from genemamba_sc.tl._genes import find_genes, ids_and_symbols
from genemamba_sc.tl.perturbation._changed_cells import ChangedCells
from genemamba_sc.tl.perturbation._changes import Changes, Kind, check_kind
from genemamba_sc.tl.perturbation._controls import Expression, permutation_p, share_above
from genemamba_sc.tl.perturbation._effect_sums import Effect, EffectSums, warn_if_absent
from genemamba_sc.tl.perturbation._perturbation_result import Perturbation
from genemamba_sc.tl.perturbation._type_probabilities import TypeProbabilities, types_asked


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

    Examples
    --------
    >>> found = gm.tl.perturb(model, query, ["CD79A", "CD3E"], groupby="cell_type")
    >>> found.to_frame()["group"].unique().tolist()
    ['B cell', 'T cell', 'monocyte']
    """
    check_kind(kind, shift)
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
    measure = _Measure(TypeProbabilities.of(model), 2 + len(known_types))
    totals = EffectSums(model.module, wanted, len(names), measure.n_effects, measure)
    for block, part in blocks_of(source, rows):
        totals.add(block, groups[part], kind, shift)
    warn_if_absent(model, tokens, totals)
    effects = _effects_and_controls(totals, tokens, controls)
    ids, symbols = ids_and_symbols(model.vocabulary, tokens)
    return Perturbation(kind, shift, tuple(ids), tuple(symbols), tuple(names), known_types, **effects)


@dataclass(frozen=True, eq=False)
class _Measure:
    """Measure cosine shift, distance and, where asked, the change of each type."""

    probabilities: TypeProbabilities
    n_effects: int

    def __call__(self, cells: ChangedCells) -> Effect:
        """Start with the cells as they are."""
        known = self.probabilities(cells.logits)

        def effects(changes: Changes) -> Float[np.ndarray, "m k"]:
            cell, logits = cells.after(changes)
            shifts = _shifts(cell, cells.cell[torch.as_tensor(changes.rows, device=cell.device)])
            change = self.probabilities(logits) - known[changes.rows]
            return np.concatenate([shifts, change], axis=1)[:, : self.n_effects]

        return effects


def _shifts(cell: Tensor, before: Tensor) -> Float[np.ndarray, "m 2"]:
    """Return cosine shift and distance of embeddings."""
    distance = (cell - before).norm(dim=1)
    size = cell.norm(dim=1) * before.norm(dim=1)
    # 1 - cos by the difference of the unit vectors, which float32 keeps where the cosine is nearly 1.
    unit = torch.nn.functional.normalize(cell, dim=1) - torch.nn.functional.normalize(before, dim=1)
    cosine = torch.where(size > 0, unit.square().sum(dim=1) / 2, torch.ones_like(size))
    return torch.stack([cosine, distance], dim=1).double().cpu().numpy()


def _effects_and_controls(
    totals: EffectSums, tokens: Int[np.ndarray, "m"], controls: Int[np.ndarray, "m q n"]
) -> dict[str, Any]:
    """Return the effects of the genes beside those of their controls, under the names of :class:`Perturbation`."""
    means, mine = totals.means(), np.searchsorted(totals.wanted, tokens)
    own = means[mine]
    # Effects of the controls in the same group, (m, q, n, k).
    place = np.searchsorted(totals.wanted, controls).clip(0, len(totals.wanted) - 1)
    others = means[place, np.arange(own.shape[1])[None, :, None]]
    others[controls < 0] = np.nan
    n_known = (~np.isnan(others[..., 0])).sum(axis=2)
    n = np.where(n_known > 0, n_known, np.nan)[..., None]
    mean, size = (np.nansum(x, axis=2) / n for x in (others, np.abs(others)))
    last = np.moveaxis(others, 2, -1)
    p = permutation_p(np.abs(own), np.abs(last))
    return {
        "n_cells": totals.counts[mine],
        "cosine_shift": own[..., 0],
        "l2_shift": own[..., 1],
        "type_change": own[..., 2:],
        "control_cosine_shift": mean[..., 0],
        "control_type_change": mean[..., 2:],
        "control_type_size": size[..., 2:],
        "n_controls": n_known,
        "p_cosine": p[..., 0],
        "p_types": p[..., 2:],
        "lowers_more": share_above(own[..., 2:], last[..., 2:, :]),
    }
