"""Tell which cells were in the corpus that weights were trained on, by hashes of their tokens."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from jaxtyping import Bool, Integer, UInt64

from genemamba_sc._constants import UNK_ID
from genemamba_sc.checks._contamination_report import ContaminationReport
from genemamba_sc.data import CellSource, GeneAliases, GeneVocabulary, query_source
from genemamba_sc.data.tokens._cell_hashes import CellHashes, near_hashes, token_hashes
from genemamba_sc.model._model import GeneMambaModel
from genemamba_sc.weights._read import Pretrained, read_pretrained

_BLOCK_CELLS = 4096


def check_contamination(
    adata: AnnData,
    model: GeneMambaModel | Pretrained | str | os.PathLike[str],
    *,
    layer: str | None = None,
    gene_id_key: str | None = None,
    revision: str | None = None,
) -> ContaminationReport:
    """Tell which cells were in the corpus that weights were pretrained on, exactly or nearly.

    Parameters
    ----------
    adata
        The cells. They are read as the model reads them, and nothing is written to them.
    model
        A model made by :meth:`GeneMambaModel.from_pretrained`, weights, or what
        :func:`genemamba_sc.read_pretrained` takes: a folder or a name.
    layer
        Layer with the expression; ``None`` reads what the model reads, or ``X``.
    gene_id_key
        Column of ``var`` with the gene ids; ``None`` takes that of the model, or ``var_names``.
    revision
        Full commit hash, for weights on the hub.

    Returns
    -------
    The report; ``print`` shows it.

    Raises
    ------
    TypeError
        If ``model`` is none of these, or ``adata`` is no AnnData.
    ValueError
        If the model was not pretrained, its weights bring no hashes, no gene matches, or values cannot be ranked.
    FileNotFoundError
        If there are no such weights.

    Notes
    -----
    A cell is recognised by its rank tokens. It is *exactly* in the corpus if all its tokens are those of a cell
    there, in the same order: the same counts and the same genes of the vocabulary. It is *nearly* there if eight of
    its 64 highest tokens, chosen by min-wise hashing (Broder, 1997), are those of a cell there.

    The check cannot see: the same cell counted anew by another pipeline, corrected or imputed; most cells in a file of
    selected genes (of a study published with half of its genes, the rare ones left out, it found 54 %, and none where
    every second gene was removed); other cells of the same donors; cells a model saw in :meth:`GeneMambaModel.train`.
    """
    subject = _subject(model, revision)
    arguments = dict(subject.arguments)
    arguments |= {key: value for key, value in (("layer", layer), ("gene_id_key", gene_id_key)) if value is not None}
    source = query_source(
        adata,
        subject.vocabulary,
        subject.cells.max_len,
        arguments,
        aliases=subject.aliases,
        n_threads=torch.get_num_threads(),
    )
    exact, near, empty = _hashes(source)
    cells = subject.cells
    in_exact, in_near = (np.isin(own, known) & ~empty for own, known in ((exact, cells.exact), (near, cells.near)))
    return ContaminationReport(
        origin=subject.origin,
        n_corpus=len(cells),
        exact=in_exact,
        near=in_near | in_exact,
        empty=empty,
        chance=chance_of_near(cells),
        source=_first_sources(cells, exact, near, in_exact, in_near),
        sources=cells.sources,
        trained_further=subject.trained_further,
        n_genes=subject.vocabulary.n_genes,
        n_genes_known=len(np.unique(source.columns[source.columns != UNK_ID])),
    )


def chance_of_near(cells: CellHashes) -> float:
    """Compute the share of the cells of a corpus whose near hash another cell, with other tokens, has too.

    This is how often a cell that is not in the corpus would be taken for one of it. The estimate is too high where the
    corpus itself holds cells nearly twice.

    Parameters
    ----------
    cells
        Hashes of the corpus.
    """
    if not len(cells):
        return 0.0
    pairs = np.unique(np.stack([cells.near, cells.exact], axis=1), axis=0)
    _, number, counts = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
    return float((counts[number] > 1).mean())


@dataclass(frozen=True, eq=False)
class _Subject:
    """Hold what the question is about: hashes, genes and cells."""

    origin: str
    cells: CellHashes
    vocabulary: GeneVocabulary
    arguments: dict[str, Any]
    aliases: GeneAliases | None = None
    trained_further: bool = False


def _subject(model: object, revision: str | None) -> _Subject:
    if isinstance(model, GeneMambaModel):
        base = model.pretrained_
        if base is None:
            raise ValueError(
                "Contamination is asked of pretrained weights; this model started from none. Give one made by "
                "GeneMambaModel.from_pretrained. The cells that train() used are in model.train_indices_."
            )
        cells = _known(model.pretrained_cells_, base["origin"], base["manifest"])
        arguments = model.registry_["setup_args"]
        further = model.origin.n_epochs > 0
        return _Subject(base["origin"], cells, model.vocabulary, arguments, model.gene_aliases, further)
    if isinstance(model, str | os.PathLike):
        model = read_pretrained(model, revision=revision)
    if not isinstance(model, Pretrained):
        raise TypeError(
            "model must be a GeneMambaModel made by from_pretrained, Pretrained weights, or a folder or name of such. "
            f"Got {type(model).__name__}. Pass one of these."
        )
    return _Subject(model.origin, _known(model.cells, model.origin, model.manifest), model.vocabulary, {})


def _known(cells: CellHashes | None, origin: str, manifest: dict[str, Any]) -> CellHashes:
    if cells is not None:
        return cells
    way_out = "Ask whoever published them, or pretrain with genemamba pretrain, which keeps the hashes"
    if "fine_tuned_from" in manifest:
        way_out = f"They were trained further from {manifest['fine_tuned_from']}: check against those weights"
    raise ValueError(
        f"Cells are recognised by the hashes in cells.safetensors, beside the weights. "
        f"Got {origin}, which brings none. {way_out}."
    )


def _hashes(
    source: CellSource,
) -> tuple[UInt64[np.ndarray, "n"], UInt64[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Compute both hashes of every cell, and tell which cells have no tokens."""
    exact, near = (np.zeros(source.n_obs, dtype=np.uint64) for _ in range(2))
    empty = np.zeros(source.n_obs, dtype=bool)
    for start in range(0, source.n_obs, _BLOCK_CELLS):
        rows = np.arange(start, min(start + _BLOCK_CELLS, source.n_obs))
        tokens = source.tokens(rows)
        exact[rows], near[rows], empty[rows] = token_hashes(tokens), near_hashes(tokens), tokens.lengths == 0
    return exact, near, empty


def _first_sources(
    cells: CellHashes, exact: np.ndarray, near: np.ndarray, in_exact: np.ndarray, in_near: np.ndarray
) -> Integer[np.ndarray, "n"]:
    """Give the number of the first set with each cell: by its tokens where these are there, else by its near hash."""
    found = np.full(len(exact), -1, dtype=np.int64)
    if not cells.sources:
        return found
    for own, known, hits in ((near, cells.near, in_near), (exact, cells.exact, in_exact)):
        order = np.lexsort((cells.source, known))
        place = np.searchsorted(known[order], own[hits])
        found[hits] = cells.source[order][place]
    return found
