"""Perturb genes, and read from the moved embedding how the ranks of other genes move."""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from jaxtyping import Float, Int

from genemamba_sc._blas_threads import one_blas_thread
from genemamba_sc._checks import CellIndices, whole_number
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource, Scale
from genemamba_sc.model import GeneMambaModel
from genemamba_sc.tl._cells import blocks_of, cells_asked, open_query
from genemamba_sc.tl._genes import find_genes, ids_and_symbols
from genemamba_sc.tl.perturbation._changes import Kind, check_kind
from genemamba_sc.tl.perturbation._controls import Expression, permutation_p
from genemamba_sc.tl.perturbation._effect_sums import warn_if_absent
from genemamba_sc.tl.ranks._hidden_readout import LEAST_CELLS, HiddenReadout
from genemamba_sc.tl.ranks._rank_effects_result import RankEffects
from genemamba_sc.tl.ranks._rank_steps import add_steps, fit_ranks

# A table of so many pairs takes 200 MB.
_MOST_PAIRS = 5_000_000


@one_blas_thread()
def rank_effects(
    model: GeneMambaModel,
    adata: AnnData | None = None,
    genes: str | Sequence[str] = (),
    *,
    targets: str | Sequence[str] | None = None,
    kind: Kind = "delete",
    shift: int = 0,
    indices: CellIndices | None = None,
    n_controls: int = 20,
    seed: int = 0,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> RankEffects:
    """Perturb each of some genes on its own, and read how the predicted ranks of other genes move.

    The head that the model is trained to name hidden genes with says nearly nothing of ranks: ``"masked head"`` of
    :func:`reconstruct_ranks` stays below the mean rank on six of seven open sets. So ranks are read from the embedding,
    as that function does: for each target a ridge regression of its rank on the embedding of the *other* genes of a
    cell. Perturbing a gene moves the embedding, and the regression turns the mean of that into a change of the rank.

    Three columns tell whether an effect means anything: ``foretold``, how well the rank of the target can be read at
    all; ``control_size``, how far genes move it that are expressed like the perturbed one; and ``p``. An effect like
    those of the matched genes is one of any such gene, and that is what most are. It is no regulation in either case:
    the model has seen which genes go together in unperturbed cells, and nothing else. On random pairs of genes the
    effects foretell less of what new cells show than Pearson's correlation of the same cells does
    (``benchmarks/genes/rank_effects.py``).

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells; ``None`` takes those that the model has. The regressions are fitted to up to 2,000 of them.
    genes
        Genes to perturb: ids, symbols or aliases.
    targets
        Genes whose ranks are read; ``None`` takes all that at least ten of the cells asked for have and whose
        rank can be read.
    kind, shift
        As in :func:`perturb`.
    indices
        Cells to perturb; ``None`` takes all.
    n_controls
        Number of matched genes of each gene, as in :func:`perturb`; 0 switches that off.
    seed
        Seed of the reference cells and of the genes that are hidden in them.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.

    Returns
    -------
    RankEffects

    Raises
    ------
    TypeError
        If the model is none, or genes are no names.
    RuntimeError
        If the model is not trained.
    ValueError
        If a gene is not in the vocabulary or named twice, there is no gene or cell, there are fewer than ten cells of
        ten genes, an argument is wrong, the cells cannot be read, or there are more than 5,000,000 pairs of a gene and
        a target.

    Warns
    -----
    UserWarning
        If no cell expresses a gene, or targets that were named are not read, such as those in fewer than ten reference
        cells: their effects are NaN.

    Examples
    --------
    >>> found = gm.tl.rank_effects(model, query, "CD79A", targets=["MS4A1", "LYZ"])
    >>> len(found.to_frame())  # one gene, two targets
    2
    """
    check_kind(kind, shift)
    n_controls, seed = whole_number("n_controls", n_controls, 0), whole_number("seed", seed, 0)
    _, source = open_query(model, adata, layer, gene_id_key, scale)
    tokens = find_genes(model, genes) + FIRST_GENE_ID
    named = None if targets is None else find_genes(model, targets) + FIRST_GENE_ID
    rows = cells_asked(indices, source.n_obs)
    expression = _expression(model, source, rows)
    often = np.flatnonzero(expression.counts[0] >= LEAST_CELLS)
    aims = often[often >= FIRST_GENE_ID] if named is None else named
    _require_few(len(tokens), len(aims))
    controls = expression.matched(tokens, n_controls)[:, 0]
    readout = fit_ranks(model, source, aims, seed)
    if named is None:
        aims = aims[~np.isnan(readout.foretold[aims])]
    _warn_unread(model, aims, readout)
    wanted = np.union1d(tokens, controls[controls >= 0])
    totals = add_steps(model, source, rows, wanted, readout, kind, shift)
    warn_if_absent(model, tokens, totals)
    effects = _Effects(wanted, totals.means()[:, 0], readout, aims)
    change, control, size, p = effects.beside_controls(tokens, controls)
    (ids, symbols), (of_aims, names) = (ids_and_symbols(model.vocabulary, x) for x in (tokens, aims))
    n_cells = totals.counts[np.searchsorted(wanted, tokens), 0]
    return RankEffects(
        kind, shift, tuple(ids), tuple(symbols), tuple(of_aims), tuple(names), n_cells, change, control, size, p,
        readout.foretold[aims], readout.n_cells,
    )  # fmt: skip


class _Effects:
    """Read changes of the ranks of ``t`` targets from mean steps of the embedding."""

    def __init__(
        self, wanted: Int[np.ndarray, "u"], steps: Float[np.ndarray, "u k"], readout: HiddenReadout, aims: np.ndarray
    ) -> None:
        self.wanted, self.steps, self.aims = wanted, steps, aims
        is_read = ~np.isnan(readout.foretold[aims])
        self.slopes = np.where(is_read[:, None], readout.slopes[aims], np.nan)

    def of(self, genes: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n t"]:
        """Return the changes by some genes; NaN where there are none, and of a gene by itself."""
        found = self.steps[np.searchsorted(self.wanted, genes).clip(0, len(self.wanted) - 1)] @ self.slopes.T
        return np.where((genes[:, None] == self.aims) | (genes[:, None] < 0), np.nan, found)

    def beside_controls(
        self, tokens: Int[np.ndarray, "m"], controls: Int[np.ndarray, "m n"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return changes, means and mean sizes of those by the matched genes, and p-values, (m, t) each."""
        change, (control, size, p) = self.of(tokens), np.full((3, len(tokens), len(self.aims)), np.nan)
        for row, genes in enumerate(controls):
            others = self.of(genes)
            n = (~np.isnan(others)).sum(axis=0)
            control[row], size[row] = (np.nansum(x, axis=0) / np.where(n > 0, n, np.nan) for x in (others, abs(others)))
            p[row] = permutation_p(np.abs(change[row]), np.abs(others).T)
        return change, control, size, p


def _expression(model: GeneMambaModel, source: CellSource, rows: Int[np.ndarray, "n"]) -> Expression:
    expression = Expression.empty(1, model.vocabulary.size)
    for block, _ in blocks_of(source, rows):
        expression.add(block, np.zeros(len(block.lengths), np.int64), model.vocabulary)
    return expression


def _require_few(n_genes: int, n_targets: int) -> None:
    if not n_targets:
        raise ValueError(
            f"A rank is read of genes that at least {LEAST_CELLS} cells have. No gene is in as many of the cells asked "
            "for. Pass more cells."
        )
    if n_genes * n_targets > _MOST_PAIRS:
        raise ValueError(
            f"A table of effects has at most {_MOST_PAIRS:,} pairs. Got {n_genes:,} genes and {n_targets:,} targets. "
            "Name fewer of either, or take gm.tl.gene_network(model, adata, method='effect'), which keeps the "
            "strongest pairs only."
        )


def _warn_unread(model: GeneMambaModel, aims: Int[np.ndarray, "t"], readout: HiddenReadout) -> None:
    unread = aims[np.isnan(readout.foretold[aims])]
    if len(unread):
        names = ", ".join(ids_and_symbols(model.vocabulary, unread[:3])[1])
        warn(
            f"The rank of a gene is read where at least {LEAST_CELLS} of the {readout.n_cells:,} reference cells have "
            f"it, not at the same place in all. {len(unread)} of {len(aims)} targets are not read, such as {names}: "
            "their effects are NaN."
        )
