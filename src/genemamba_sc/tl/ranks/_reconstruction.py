"""Rebuild the order of a cell's genes: as published, where copying suffices, and without a leak."""

from typing import get_args

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy.stats import rankdata

from genemamba_sc._blas_threads import one_blas_thread
from genemamba_sc._checks import whole_number
from genemamba_sc.data import Scale, Tokens, take_tokens, to_batch
from genemamba_sc.data.tokens._token_parts import real_positions
from genemamba_sc.model import GeneMambaModel, GeneMambaModule
from genemamba_sc.tl._cells import draw_cells, open_query
from genemamba_sc.tl.ranks._masked_ranks import MaskedRanks
from genemamba_sc.tl.ranks._rank_metrics import compare_lists, correlation, relative_ranks
from genemamba_sc.tl.ranks._reconstruction_result import Protocol, RankReconstruction

_CELLS: dict[str, int] = {"masked": 200, "published": 10}
_MOST_REFERENCE = 2000
_LEAST_REFERENCE = 10


@one_blas_thread()
def reconstruct_ranks(
    model: GeneMambaModel,
    adata: AnnData | None = None,
    *,
    protocol: Protocol = "masked",
    reference: AnnData | None = None,
    n_cells: int | None = None,
    n_folds: int = 5,
    seed: int = 0,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> RankReconstruction:
    """Rebuild the order of the genes of cells, and compare it with the known order.

    ``"published"`` is the evaluation of GeneMamba (Qi et al., arXiv 2504.16956): the whole cell is read, and at each
    place that the layers read the gene with the largest score is named. The answer stands in the input, so copying
    scores perfectly; that row stands beside the model's.

    ``"masked"`` leaks nothing: the genes of a cell are dealt into ``n_folds`` parts, and each part is predicted by what
    is read from the others alone. The hidden genes are taken out of the list, so that no gap shows where they stood;
    known are which genes the cell expresses, how many they are, and the values of the visible ones (which are divided
    by the cell's total). Predicted ranks of all parts together give the order.

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells to rebuild; ``None`` takes those that the model has. Of cells that it was trained on, it may know more
        than of new ones.
    protocol
        Which of the two.
    reference
        Cells from which means, neighbours and read-outs come in the masked protocol, at most 2,000 of them; ``None``
        takes the cells of ``adata`` that are not rebuilt. A cell of the reference with the same tokens as a rebuilt one
        is left out. The published protocol reads no reference.
    n_cells
        Number of cells to rebuild, drawn at random among those of at least ten genes; ``None`` means 200, but
        no more than half of the cells where there is no other reference, and 10 in the published protocol, as
        published.
    n_folds
        Number of parts.
    seed
        Seed of all draws.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`, for ``adata`` and ``reference``.

    Returns
    -------
    RankReconstruction
        Methods of the masked protocol: ``"embedding"``, a ridge regression of each gene's rank on the embedding of the
        visible genes; ``"masked head"``, the model's score of the gene behind a [MASK] put first; and what they have to
        beat: ``"components"``, the same regression on principal components of the visible expression; ``"neighbours"``,
        the mean rank in the 50 nearest cells on those; ``"mean rank"``; ``"frequency"``, the share of cells that
        express the gene; and ``"copy"``, which sees the answer. Of the published one: ``"model"``, ``"copy"`` and
        ``"mean rank"`` in the same cells.

    Raises
    ------
    TypeError
        If the model is none, or a number is not whole.
    RuntimeError
        If the model is not trained.
    ValueError
        If the protocol is unknown, a number is too small, the cells cannot be read, no cell has ten genes, or there are
        fewer than ten cells of reference.

    Examples
    --------
    >>> found = gm.tl.reconstruct_ranks(model, query, reference=adata)
    >>> "mean rank" in str(found)
    True
    """
    if protocol not in get_args(Protocol):
        raise ValueError(f"protocol must be one of {get_args(Protocol)}. Got {protocol!r}. Choose one of them.")
    if protocol == "published" and reference is not None:
        raise ValueError("The published protocol reads no reference. Got one. Pass protocol='masked', or leave it out.")
    asked = None if n_cells is None else whole_number("n_cells", n_cells, 1)
    n_folds = whole_number("n_folds", n_folds, 2)
    cells, source = open_query(model, adata, layer, gene_id_key, scale)
    names = cells.obs_names
    rng = np.random.default_rng(whole_number("seed", seed, 0))
    if asked is None:
        # Without a reference, the other half of few cells serves as one.
        own = protocol == "masked" and reference is None
        asked = max(1, min(_CELLS[protocol], source.n_obs // 2 if own else source.n_obs))
    rows, tokens, others = draw_cells(source, asked, rng)
    if protocol == "published":
        return _published(model.module, tokens, names[rows])
    if reference is not None:
        _, source = open_query(model, reference, layer, gene_id_key, scale)
        others = rng.permutation(source.n_obs)
    known = _without(source.tokens(np.sort(others[:_MOST_REFERENCE])), tokens)
    genes = np.unique(tokens.ids[real_positions(tokens)])
    predicted = MaskedRanks(model.module, model.vocabulary, known, genes, n_folds, seed)(tokens, rng)
    return _scored(predicted, tokens, names[rows], len(known.lengths))


def _without(reference: Tokens, cells: Tokens) -> Tokens:
    """Leave out the cells of the reference that are empty or have the same tokens as one of ``cells``."""
    known = {_key(cells, row) for row in range(len(cells.lengths))}
    new = [row for row, n in enumerate(reference.lengths) if n and _key(reference, row) not in known]
    if len(new) < _LEAST_REFERENCE:
        raise ValueError(
            f"Means, neighbours and read-outs need at least {_LEAST_REFERENCE} cells that are not rebuilt. Got "
            f"{len(new)}. Pass more cells, a smaller n_cells, or other cells as reference."
        )
    return take_tokens(reference, np.array(new))


def _key(tokens: Tokens, row: int) -> bytes:
    return tokens.ids[row, : tokens.lengths[row]].tobytes()


def _scored(predicted: dict[str, np.ndarray], tokens: Tokens, cells: pd.Index, n_reference: int) -> RankReconstruction:
    truth = [relative_ranks(n) for n in tokens.lengths.tolist()]
    methods = (*predicted, "copy")
    spearman, pearson = np.full((2, len(truth), len(methods)), 1.0)
    for column, scores in enumerate(predicted.values()):
        for row, known in enumerate(truth):
            said = scores[row, : len(known)]
            spearman[row, column] = correlation(known, rankdata(said))
            pearson[row, column] = correlation(known, said)
    return RankReconstruction(
        "masked", cells, tokens.lengths.astype(int), methods, spearman, pearson, n_reference=n_reference
    )


def _published(module: GeneMambaModule, tokens: Tokens, cells: pd.Index) -> RankReconstruction:
    context = module.encoder_config.context_len or tokens.ids.shape[1]
    lengths = np.minimum(tokens.lengths, context)
    truth = [ids[:n].astype(np.int64) for ids, n in zip(tokens.ids, lengths)]
    lists = {"model": _named(module, tokens), "copy": truth, "mean rank": _by_mean_rank(truth)}
    scores = tuple(compare_lists(truth, predicted) for predicted in lists.values())
    return RankReconstruction(
        "published", cells, lengths.astype(int), tuple(lists), lists=scores,
        spearman=np.array([[s.spearman for s in scores]]), pearson=np.array([[s.pearson for s in scores]]),
    )  # fmt: skip


@torch.inference_mode()
def _named(module: GeneMambaModule, tokens: Tokens) -> list[np.ndarray]:
    """Name the gene with the largest score at each place that the layers read, cell by cell, nothing hidden."""
    was_training = module.training
    module.eval()
    named = []
    try:
        for row in range(len(tokens.lengths)):
            batch = to_batch(take_tokens(tokens, np.array([row])))
            ids, values, lengths = (batch[name].to(module.device) for name in ("token_ids", "token_values", "lengths"))
            read = module.inference(ids, values, lengths)
            context = read["context"].expand(read["hidden"].shape[1], -1)
            logits = module.gene_head(read["hidden"][0], context, module.encoder.embeddings.weight)
            named.append(logits.argmax(dim=1).cpu().numpy())
    finally:
        module.train(was_training)
    return named


def _by_mean_rank(lists: list[np.ndarray]) -> list[np.ndarray]:
    """Put the genes of each list in the order of their mean relative rank over all lists."""
    ranks = pd.Series(np.concatenate([relative_ranks(len(genes)) for genes in lists]))
    mean = ranks.groupby(np.concatenate(lists)).mean()
    return [genes[np.argsort(-mean[genes].to_numpy(), kind="stable")] for genes in lists]
