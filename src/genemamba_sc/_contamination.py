"""Which cells were in the corpus that weights were trained on: told by hashes of their tokens."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Integer, UInt64

from genemamba_sc._cell_hashes import CellHashes, near_hashes, token_hashes
from genemamba_sc._constants import UNK_ID
from genemamba_sc._model import GeneMambaModel
from genemamba_sc._pretrained import Pretrained, read_pretrained
from genemamba_sc._setup import query_source
from genemamba_sc.data import CellSource, GeneAliases, GeneVocabulary

_BLOCK_CELLS = 4096
# With every second gene gone, hardly a cell of the corpus is found again (benchmarks/pretraining/contamination.py).
_FEW_GENES = 0.5


@dataclass(frozen=True, eq=False)
class ContaminationReport:
    """Which cells of a query were in a pretraining corpus.

    Parameters
    ----------
    origin
        Of the weights.
    n_corpus
        Cells of the corpus.
    exact
        Cells with the same tokens in the same order as a cell of the corpus, shape ``(n_cells,)``.
    near
        Cells that share the hash of their highest tokens with one, shape ``(n_cells,)``; all of ``exact`` are among
        them.
    empty
        Cells without a gene of the vocabulary, shape ``(n_cells,)``: nothing can be said of them.
    chance
        Probability that a cell that was *not* in the corpus is ``near``: the share of the cells of the corpus whose
        hash another cell of it has, with other tokens. Cells of one study are more alike, so it is rather too high.
    source
        Number in ``sources`` of the first set that has the cell, shape ``(n_cells,)``; -1 where none has it or the
        sets are not known.
    sources
        Names of the sets or files of the corpus; empty where they are not known.
    trained_further
        Whether the model was trained on other cells since, of which nothing is said here.
    n_genes, n_genes_known
        Genes of the weights, and how many of them the query has; 0 where that is not known.
    """

    origin: str
    n_corpus: int
    exact: Bool[np.ndarray, "n_cells"]
    near: Bool[np.ndarray, "n_cells"]
    empty: Bool[np.ndarray, "n_cells"]
    chance: float
    source: Integer[np.ndarray, "n_cells"]
    sources: tuple[str, ...] = ()
    trained_further: bool = False
    n_genes: int = 0
    n_genes_known: int = 0

    @property
    def n_cells(self) -> int:
        """Cells of the query."""
        return len(self.exact)

    @property
    def exact_share(self) -> float:
        """Share of the cells that were in the corpus with the same tokens; 0 for a query without cells."""
        return _share(self.exact)

    @property
    def near_share(self) -> float:
        """Share of the cells whose near hash is in the corpus; 0 for a query without cells."""
        return _share(self.near)

    @property
    def expected_near(self) -> float:
        """Number of cells that would be ``near`` by chance, had none been in the corpus; rather too many."""
        return self.chance * (self.n_cells - int(self.empty.sum()))

    @property
    def sets(self) -> dict[str, int]:
        """Number of the cells found in each set, for the sets with any."""
        counts = np.bincount(self.source[self.source >= 0], minlength=len(self.sources))
        return {name: int(count) for name, count in zip(self.sources, counts) if count}

    def to_frame(self, obs_names: pd.Index) -> pd.DataFrame:
        """Give a row per cell: ``exact``, ``near`` and ``source``, the set it was found in.

        Parameters
        ----------
        obs_names
            Names of the cells, in the order of the query.

        Raises
        ------
        ValueError
            If there are more or fewer names than cells.
        """
        if len(obs_names) != self.n_cells:
            raise ValueError(
                f"The report is of {self.n_cells} cells. Got {len(obs_names)} names. "
                "Pass the obs_names of the AnnData that was checked."
            )
        names = np.array([*self.sources, None], dtype=object)  # -1 is the last
        columns = {"exact": self.exact, "near": self.near, "source": names[self.source]}
        return pd.DataFrame(columns, index=obs_names)

    def __str__(self) -> str:
        lines = [
            f"{self.n_cells:,} cells against the {self.n_corpus:,} on which {self.origin} was pretrained",
            f"  the same tokens      {int(self.exact.sum()):>9,}  {self.exact_share:7.2%}",
            f"  the same near hash   {int(self.near.sum()):>9,}  {self.near_share:7.2%}  "
            f"(by chance: at most about {_about(self.expected_near)})",
        ]
        lines += [f"    in {name}: {count:,}" for name, count in self.sets.items()]
        if self.empty.any():
            lines.append(f"  without a known gene {int(self.empty.sum()):>9,}  nothing can be said of them")
        lines.append(
            "A cell that is not found may still have been there: other counts, a correction or missing genes change "
            "its tokens. The near hash forgives missing genes that few cells express, and misses nearly every cell "
            "where half of the others are gone. Check cells with all their genes, before any selection."
        )
        if self.n_genes:
            lines.append(f"The query has {self.n_genes_known:,} of the {self.n_genes:,} genes of these weights.")
        if self.n_genes_known < self.n_genes * _FEW_GENES:
            lines.append("These are few: a cell that was in the corpus with more genes would hardly be found.")
        if self.trained_further:
            lines.append("The model was trained on other cells since; those are not looked for.")
        return "\n".join(lines)


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
        The cells; as the model reads them, nothing is written to it.
    model
        A model made by :meth:`GeneMambaModel.from_pretrained`, weights, or what
        :func:`genemamba_sc.read_pretrained` takes: a folder or a name.
    layer
        Layer with the expression; ``None`` reads what the model reads, or ``X``.
    gene_id_key
        Column of ``var`` with the gene ids; ``None`` takes that of the model, or ``var_names``.
    revision
        For the hub: the full commit hash.

    Returns
    -------
    The report; ``print`` it.

    Raises
    ------
    TypeError
        If ``model`` is none of these, or ``adata`` no AnnData.
    ValueError
        If the model was not pretrained, its weights bring no hashes, no gene matches, or values cannot be ranked.
    FileNotFoundError
        If there are no such weights.

    Notes
    -----
    A cell is recognised by its rank tokens. It is *exactly* in the corpus if all its tokens are those of a cell
    there, in the same order: the same counts and the same genes of the vocabulary. It is *nearly* there if eight of
    its 64 highest tokens, chosen by min-wise hashing (Broder, 1997), are those of a cell there.

    What this cannot see: the same cell counted anew by another pipeline, corrected or imputed; most cells in a file of
    selected genes (of a study published with half of its genes, the rare ones left out, it found 54 %, and none where
    every second gene was removed); other cells of the same donors; cells a model saw in :meth:`GeneMambaModel.train`.
    """
    subject = _subject(model, revision)
    arguments = dict(subject.arguments)
    arguments |= {key: value for key, value in (("layer", layer), ("gene_id_key", gene_id_key)) if value is not None}
    source = query_source(adata, subject.vocabulary, subject.cells.max_len, arguments, aliases=subject.aliases)
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
    """Share of the different cells of a corpus whose near hash belongs to another cell of it, with other tokens, too.

    That is how often a cell not yet in the corpus would be taken for one; too high where the corpus itself
    holds cells nearly twice.

    Parameters
    ----------
    cells
        Of the corpus.
    """
    if not len(cells):
        return 0.0
    pairs = np.unique(np.stack([cells.near, cells.exact], axis=1), axis=0)
    _, number, counts = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
    return float((counts[number] > 1).mean())


@dataclass(frozen=True, eq=False)
class _Subject:
    """What is asked about."""

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
        further = bool(model.history_)
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
    """Both hashes of every cell, and which have no tokens."""
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
    """Give the number of the first set with the cell: by its tokens where they are there, else by its near hash."""
    found = np.full(len(exact), -1, dtype=np.int64)
    if not cells.sources:
        return found
    for own, known, hits in ((near, cells.near, in_near), (exact, cells.exact, in_exact)):
        order = np.lexsort((cells.source, known))
        place = np.searchsorted(known[order], own[hits])
        found[hits] = cells.source[order][place]
    return found


def _about(count: float) -> str:
    """Two digits of a small number, a large one rounded."""
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"


def _share(mask: np.ndarray) -> float:
    return float(mask.mean()) if len(mask) else 0.0
