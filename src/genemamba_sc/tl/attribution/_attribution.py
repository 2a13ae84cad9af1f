"""Attribute the score of a cell's type, or its embedding, to its genes, and test that these genes carry it."""

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse

from genemamba_sc._checks import CellIndices, whole_number
from genemamba_sc._constants import FIRST_GENE_ID
from genemamba_sc._warn import warn
from genemamba_sc.data import CellSource, Scale, Tokens
from genemamba_sc.data.tokens._token_parts import real_positions
from genemamba_sc.model import GeneMambaModel, GeneMambaModule
from genemamba_sc.model.annotation._annotation import require_cell_types
from genemamba_sc.tl._cells import blocks_of, cells_asked, embedding_of, open_query, pass_through
from genemamba_sc.tl._genes import ids_and_symbols
from genemamba_sc.tl.attribution._attribution_result import Attribution, Method
from genemamba_sc.tl.attribution._deletion import deletion_curves
from genemamba_sc.tl.attribution._integrated_gradients import integrate
from genemamba_sc.tl.attribution._occlusion import occlusion
from genemamba_sc.tl.attribution._targets import DirectionTarget, Target, TypeTarget, program_pool, type_scores

TargetKind = Literal["cell_type", "embedding"]


def attribute(
    model: GeneMambaModel,
    adata: AnnData | None = None,
    *,
    target: TargetKind = "cell_type",
    cell_type: str | None = None,
    method: Method = "integrated_gradients",
    indices: CellIndices | None = None,
    tolerance: float = 1e-4,
    n_tested: int = 100,
    seed: int = 0,
    layer: str | None = None,
    gene_id_key: str | None = None,
    scale: Scale | None = None,
) -> Attribution:
    """Say what each gene of a cell adds to the score of its type, or to its embedding.

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells; ``None`` takes those that the model has.
    target
        ``"cell_type"``: the logit of a type minus the mean over the types. ``"embedding"``: the embedding of the
        encoder along the direction from the mean of the cells asked for to the cell.
    cell_type
        Type to attribute in every cell; ``None`` takes the one that is predicted for each.
    method
        ``"integrated_gradients"``: markers and programs are linear, so their part is exact: what a gene adds, for
        programs in comparison with the mean of the cells asked for. What the encoder adds is integrated along the path
        on which every gene turns from an average one into itself (Sundararajan et al., ICML 2017).
        ``"occlusion"``: by how much the score falls when the gene is deleted from the list of the cell.
    indices
        Cells to attribute; ``None`` takes all. Cells without genes are left out.
    tolerance
        By how much the attributions of a cell may miss its score; the integration is refined until they do not.
    n_tested
        Number of cells of the deletion test, drawn at random.
    seed
        Seed of that draw, of the random orders and of the permuted labels.
    layer, gene_id_key, scale
        As in :meth:`genemamba_sc.GeneMambaModel.get_latent_representation`.

    Returns
    -------
    Attribution

    Raises
    ------
    TypeError
        If the model is none.
    RuntimeError
        If the model is not trained, or the attributions miss a score by ``tolerance`` or more after all refinement.
    ValueError
        If an argument is wrong, types are asked of a model that knows none, or the cells cannot be read or have no
        genes.

    Warns
    -----
    UserWarning
        If cells have no genes.

    Examples
    --------
    >>> found = gm.tl.attribute(model, query[:2].copy(), cell_type="B cell")
    >>> found.to_frame().columns.tolist()
    ['target', 'gene_id', 'symbol', 'mean', 'total', 'n_cells']
    """
    _check(target, method, tolerance, cell_type)
    n_tested = whole_number("n_tested", n_tested, 1)
    rng = np.random.default_rng(whole_number("seed", seed, 0))
    cells, source = open_query(model, adata, layer, gene_id_key, scale)
    rows = _filled(source, cells_asked(indices, source.n_obs))
    job = _Job(model, source, rows, method, float(tolerance))
    aims = job.aims(target, cell_type)
    scores, score, baseline, gap = job.attributed(aims)
    tested = np.sort(rng.permutation(len(rows))[:n_tested])
    deletion = job.deletion(aims, scores, tested, rng)
    ids, symbols = ids_and_symbols(model.vocabulary, np.arange(FIRST_GENE_ID, model.vocabulary.cls_id))
    types = [str(name) for name in model.cell_types]
    called = tuple(types[i] for i in aims.codes) if isinstance(aims, TypeTarget) else ("embedding",) * len(rows)
    return Attribution(
        method,
        cells.obs_names[rows],
        called,
        tuple(ids),
        tuple(symbols),
        scores,
        score,
        baseline,
        gap,
        deletion,
        len(tested),
    )


def _filled(source: CellSource, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "k"]:
    """Leave out the cells without genes, of which no score is a gene's."""
    has = np.concatenate([tokens.lengths > 0 for tokens, _ in blocks_of(source, rows)])
    if not has.any():
        raise ValueError("A cell needs genes that the model knows. No cell asked for has any. Pass other cells.")
    if not has.all():
        warn(f"{int((~has).sum())} of {len(has)} cells have no gene that the model knows; they were left out.")
    return rows[has]


@dataclass(frozen=True, eq=False)
class _Job:
    """Attribute scores in the cells ``rows`` of a source."""

    model: GeneMambaModel
    source: CellSource
    rows: Int[np.ndarray, "n"]
    method: Method
    tolerance: float

    @property
    def module(self) -> GeneMambaModule:
        """The module of the model."""
        return self.model.module

    def blocks(self) -> Iterator[tuple[Tokens, np.ndarray]]:
        """Yield the tokens of the cells, and their numbers among ``rows``."""
        for tokens, part in blocks_of(self.source, self.rows):
            yield tokens, np.arange(len(self.rows))[part]

    def aims(self, target: TargetKind, cell_type: str | None) -> Target:
        """Say what is attributed in each cell."""
        if target == "cell_type":
            require_cell_types(self.model)
            pools = [program_pool(self.module, tokens) for tokens, _ in self.blocks()]
            return TypeTarget(self._codes(cell_type), np.concatenate(pools).mean(axis=0))
        width = self.module.encoder_config.d_model
        cells = np.concatenate([pass_through(self.module, tokens, embedding_of, width) for tokens, _ in self.blocks()])
        if len(cells) < 2:
            raise ValueError(
                "An embedding is compared with the mean of the cells. Got one cell. Pass at least two, or "
                "target='cell_type'."
            )
        away = (cells - cells.mean(axis=0)).astype(np.float64)
        return DirectionTarget(away / np.linalg.norm(away, axis=1, keepdims=True).clip(1e-12))

    def _codes(self, cell_type: str | None) -> Int[np.ndarray, "n"]:
        types = [str(name) for name in self.model.cell_types]
        if cell_type is not None:
            if str(cell_type) not in types:
                raise ValueError(
                    f"cell_type must be one the model knows. Got {cell_type!r}; it knows {types}. Name one."
                )
            return np.full(len(self.rows), types.index(str(cell_type)))
        scores = [type_scores(self.module, tokens) for tokens, _ in self.blocks()]
        return np.concatenate(scores).argmax(axis=1)

    def attributed(self, aims: Target) -> tuple[sparse.csr_array, np.ndarray, np.ndarray, np.ndarray]:
        """Return the scores of genes, and score, baseline and gap of each cell."""
        mean = self._mean_gene()
        parts, totals = [], []
        for tokens, part in self.blocks():
            scores, total, baseline, gap = self.of_tokens(tokens, aims.take(part), mean)
            parts.append(_by_gene(tokens, scores, self.model.vocabulary.n_genes))
            totals.append(np.stack([total, baseline, gap]))
        score, baseline, gap = np.concatenate(totals, axis=1)
        return sparse.csr_array(sparse.vstack(parts)), score, baseline, gap

    def of_tokens(self, tokens: Tokens, aims: Target, mean: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the scores of the tokens (n, l), and score, baseline and gap of each cell."""
        total = aims.scores(self.module, tokens)
        unknown = np.full(len(total), np.nan)
        if self.method == "occlusion":
            return occlusion(self.module, tokens, aims), total, unknown, unknown
        # Half is left for the rounding of float32 in the other parts.
        read = integrate(self.module, tokens, aims, mean, self.tolerance / 2)
        scores = read.scores + aims.exact(self.module, tokens)
        baseline = read.baseline + aims.constant(self.module, tokens)
        gap = np.abs(scores.sum(axis=1) + baseline - total)
        wrong = gap >= self.tolerance
        if wrong.any():
            raise RuntimeError(
                f"Attributions must add up to the score within {self.tolerance:g}. In {int(wrong.sum())} of {len(gap)} "
                f"cells they miss it by up to {gap.max():.3g}. Pass a larger tolerance, or method='occlusion'."
            )
        return scores, total, baseline, gap

    def _mean_gene(self) -> Float[np.ndarray, "d"]:
        counts = np.zeros(self.model.vocabulary.size)
        for tokens, _ in self.blocks():
            counts += np.bincount(tokens.ids[real_positions(tokens)], minlength=len(counts))
        return counts @ self.module.encoder.embeddings.weight.detach().double().cpu().numpy() / counts.sum()

    def deletion(
        self, aims: Target, scores: sparse.csr_array, tested: Int[np.ndarray, "t"], rng: np.random.Generator
    ) -> pd.DataFrame:
        """Delete genes of the tested cells, in several orders."""
        tokens = self.source.tokens(self.rows[tested])
        other = _permuted(aims, len(self.model.cell_types), rng).take(tested)
        genes = np.clip(tokens.ids - FIRST_GENE_ID, 0, self.model.vocabulary.n_genes - 1)  # pads are not looked at
        orders = {
            "attribution": np.take_along_axis(scores[tested].toarray(), genes, axis=1),
            "permuted labels": self.of_tokens(tokens, other, self._mean_gene())[0],
        }
        return deletion_curves(self.module, tokens, aims.take(tested), orders, rng)


def _permuted(aims: Target, n_types: int, rng: np.random.Generator) -> Target:
    """Give each cell another type than its own, drawn at random, or the direction of another cell."""
    if isinstance(aims, DirectionTarget):
        return DirectionTarget(np.roll(aims.directions, int(rng.integers(1, len(aims.directions))), axis=0))
    # A single type has no other one: its score is 0 in every cell.
    away = rng.integers(1, max(n_types, 2), len(aims.codes))
    return TypeTarget((aims.codes + away) % n_types, aims.mean_pool)


def _by_gene(tokens: Tokens, scores: Float[np.ndarray, "b l"], n_genes: int) -> sparse.csr_array:
    real = real_positions(tokens)
    starts = np.concatenate([[0], np.cumsum(tokens.lengths, dtype=np.int64)])
    shape = (len(scores), n_genes)
    return sparse.csr_array((scores[real], tokens.ids[real].astype(np.int64) - FIRST_GENE_ID, starts), shape=shape)


def _check(target: Any, method: Any, tolerance: Any, cell_type: Any) -> None:
    for name, value, known in (("target", target, TargetKind), ("method", method, Method)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {get_args(known)}. Got {value!r}. Choose one of them.")
    if isinstance(tolerance, bool) or not isinstance(tolerance, numbers.Real) or not 0 < float(tolerance) < np.inf:
        raise ValueError(f"tolerance must be a positive finite number. Got {tolerance!r}. Pass 1e-4.")
    if target == "embedding" and cell_type is not None:
        raise ValueError(
            f"cell_type belongs to target='cell_type'. Got {cell_type!r} with target='embedding'. Leave one out."
        )
