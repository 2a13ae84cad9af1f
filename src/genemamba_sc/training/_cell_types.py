"""Fit the linear part of the cell-type head before the encoder is trained: markers and programs, blended.

Gradient descent on a few thousand cells does not find what a convex solver finds in a second, and it fits down to the
last training cell, so that nothing is left for the encoder to learn. So the linear part is solved first, and the
encoder trains on out-of-fold scores: each cell is scored by a fit that has not seen it (stacking; Wolpert 1992,
doi:10.1016/S0893-6080(05)80023-1). The encoder learns what these scores leave open on new cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Integer
from scipy.optimize import minimize
from scipy.special import logsumexp

from genemamba_sc.data import GeneVocabulary, Tokens
from genemamba_sc.training._dataset import TokenDataset
from genemamba_sc.training._linear import UNSEEN, LabelledCells, LinearFit, Watch, fit_linear, held_out_scores
from genemamba_sc.training._markers import expression_matrix, joined_expression, solve_markers
from genemamba_sc.training._programs import ProgramPool, level_shares, solve_programs

# Largest number of labelled cells that a fit reads: their expression takes 0.8 GB, and each step reads all of it twice.
_MAX_CELLS = 50_000
_BLOCK = 4096
# Largest factor of a score: if all cells are told apart, the factors would grow without end.
_MOST_BLEND = 3.0
# Part of the log frequency of a type that is taken from its score. A whole one would make all types equally frequent.
_TOWARDS_RARE = 0.2


@dataclass(frozen=True, eq=False)
class CellTypeFit:
    """Hold scores of cell types, linear in expression (markers) and in its shares (programs).

    Parameters
    ----------
    markers
        Score that a token adds per ``log1p`` of its counts per 10,000, shape (v, c).
    programs
        Score that a token adds per share in the sum of ``log1p(value)`` of its cell, shape (v, c).
    bias
        Bias of each type, shape (c,).
    blend
        Factors of markers and programs; the scores already contain them.
    held_out
        Out-of-fold scores of the training cells, shape (n, c); 0 for cells without a label.
    towards_rare
        What predictions add to the scores, shape (c,); neither ``bias`` nor ``held_out`` contains it. See
        :func:`towards_rare`.
    """

    markers: Float32[np.ndarray, "v c"]
    programs: Float32[np.ndarray, "v c"]
    bias: Float32[np.ndarray, "c"]
    blend: tuple[float, float]
    held_out: Float32[np.ndarray, "n c"]
    towards_rare: Float32[np.ndarray, "c"]

    def scores(self, tokens: Tokens, vocabulary: GeneVocabulary) -> Float32[np.ndarray, "n c"]:
        """Return the scores of other cells."""
        by_gene = expression_matrix(tokens, vocabulary) @ self.markers
        return by_gene + level_shares(tokens, vocabulary.size) @ self.programs + self.bias


def fit_cell_types(
    dataset: TokenDataset,
    indices: Integer[np.ndarray, "n"],
    labels: Integer[np.ndarray, "n"],
    n_labels: int,
    tables: Sequence[Float32[np.ndarray, "v _"]],
    *,
    batches: Integer[np.ndarray, "n"] | None = None,
    seed: int = 0,
    watch: Watch = iter,
) -> CellTypeFit:
    """Fit markers and programs, and blend them by what each says about cells that it has not seen.

    Parameters
    ----------
    dataset
        The tokens of all cells.
    indices
        Numbers of the training cells, shape (n,).
    labels
        Codes of their labels, shape (n,); a cell whose code is not in ``[0, n_labels)`` has no label.
    n_labels
        Number of cell types ``c``.
    tables
        Gene tables whose pools the programs read, each of shape (v, d_i).
    batches
        Codes of their batches, shape (n,). Batches are then weighted equally, but no cell is weighted up more than
        fivefold. With three batches or more, whole batches are held out, so that the encoder learns what helps on a new
        batch.
    seed
        Seed of the folds, and of the choice of the cells that are fitted where there are more than 50,000.
    watch
        Function through which the folds of the markers are gone, which take nearly all of the time.
    """
    labelled = np.flatnonzero((labels >= 0) & (labels < n_labels))
    fitted = _at_most(labelled, seed)
    of_batch = None if batches is None else batches[fitted]
    genes, pools, pool = _features(dataset, indices[fitted], labels[fitted], of_batch, tables)
    by_gene = held_out_scores(genes, n_labels, solve_markers, seed, watch)
    by_pool = held_out_scores(pools, n_labels, solve_programs, seed)
    blend = blend_scores(by_gene, by_pool, genes)
    markers = fit_linear(genes, n_labels, solve_markers, seed)
    programs = pool.to_genes(fit_linear(pools, n_labels, solve_programs, seed))
    held_out = np.zeros((len(indices), n_labels), dtype=np.float32)
    held_out[fitted] = blend[0] * by_gene + blend[1] * by_pool
    fit = _blended(markers, programs, blend, held_out, towards_rare(genes, n_labels))
    # No fit has seen the cells beyond those fitted, so the fit itself scores them.
    rest = np.setdiff1d(labelled, fitted)
    for start in range(0, len(rest), _BLOCK):
        rows = rest[start : start + _BLOCK]
        held_out[rows] = fit.scores(dataset.tokens(indices[rows]), dataset.vocabulary)
    return fit


def refit_cell_types(
    dataset: TokenDataset,
    indices: Integer[np.ndarray, "n"],
    labels: Integer[np.ndarray, "n"],
    n_labels: int,
    tables: Sequence[Float32[np.ndarray, "v _"]],
    blend: tuple[float, float],
    *,
    batches: Integer[np.ndarray, "n"] | None = None,
    seed: int = 0,
) -> CellTypeFit:
    """Fit markers and programs again, on more cells, with the blend of the first fit; nothing is held out.

    Parameters
    ----------
    dataset, indices, labels, n_labels, tables, batches, seed
        As in :func:`fit_cell_types`.
    blend
        Factors of markers and programs.
    """
    fitted = _at_most(np.flatnonzero((labels >= 0) & (labels < n_labels)), seed)
    of_batch = None if batches is None else batches[fitted]
    genes, pools, pool = _features(dataset, indices[fitted], labels[fitted], of_batch, tables)
    markers = fit_linear(genes, n_labels, solve_markers, seed)
    programs = pool.to_genes(fit_linear(pools, n_labels, solve_programs, seed))
    held_out = np.zeros((len(indices), n_labels), dtype=np.float32)
    return _blended(markers, programs, blend, held_out, towards_rare(genes, n_labels))


def blend_scores(
    markers: Float32[np.ndarray, "n c"], programs: Float32[np.ndarray, "n c"], cells: LabelledCells
) -> tuple[float, float]:
    """Find the factors of two scores, from 0 to 3, that make the labels most likely.

    Parameters
    ----------
    markers, programs
        Out-of-fold scores, shape (n, c). Cells whose type these fits have not seen do not count.
    cells
        Labels and weights of the cells.

    Returns
    -------
    The two factors; both are 1 where no cell counts.
    """
    rows, own = np.arange(len(cells.labels)), cells.labels
    tells = markers.any(axis=1) & (markers[rows, own] > UNSEEN)
    if not tells.any():
        return 1.0, 1.0
    first, second = markers[tells].astype(np.float64), programs[tells].astype(np.float64)
    rows, own, weight = rows[: tells.sum()], own[tells], cells.importance[tells]

    def loss(factors: np.ndarray) -> tuple[float, np.ndarray]:
        scores = factors[0] * first + factors[1] * second
        log_p = scores - logsumexp(scores, axis=1, keepdims=True)
        excess = weight[:, None] * np.exp(log_p)
        excess[rows, own] -= weight
        slope = np.array([(excess * first).sum(), (excess * second).sum()])
        return float(-(weight * log_p[rows, own]).sum() / len(rows)), slope / len(rows)

    found = minimize(loss, np.array([0.5, 0.5]), jac=True, method="L-BFGS-B", bounds=[(0.0, _MOST_BLEND)] * 2)
    return float(found.x[0]), float(found.x[1])


def towards_rare(cells: LabelledCells, n_labels: int) -> Float32[np.ndarray, "c"]:
    """Compute what is added to the scores of types: the more, the rarer a type is; the most frequent gets 0.

    How often a type occurs among the labelled cells is part of its intercept, and says little of how often it occurs in
    another donor or study. A fifth of its logarithm is taken back (logit adjustment; Menon et al. 2021,
    arXiv:2007.07314, who take all of it).

    Parameters
    ----------
    cells
        Labels and weights of the cells.
    n_labels
        Number of types; one without cells gets 0.
    """
    weight = np.bincount(cells.labels, cells.importance, n_labels)
    offsets = np.zeros(n_labels, dtype=np.float32)
    occurs = weight > 0
    offsets[occurs] = -_TOWARDS_RARE * np.log(weight[occurs] / weight.max())
    return offsets


def _at_most(labelled: np.ndarray, seed: int) -> np.ndarray:
    """Draw the cells that a fit reads, where there are more than it should."""
    if len(labelled) <= _MAX_CELLS:
        return labelled
    return np.sort(np.random.default_rng(seed).choice(labelled, _MAX_CELLS, replace=False))


def _features(
    dataset: TokenDataset,
    cells: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray | None,
    tables: Sequence[np.ndarray],
) -> tuple[LabelledCells, LabelledCells, ProgramPool]:
    """Read what markers are fitted to, what programs are fitted to, and the pool that the latter come from."""
    pool = ProgramPool(dataset.blocks(cells), tables)
    genes = joined_expression(dataset.blocks(cells), dataset.lengths[cells], dataset.vocabulary)
    return LabelledCells(genes, labels, batches), LabelledCells(pool.features, labels, batches), pool


def _blended(
    markers: LinearFit, programs: LinearFit, blend: tuple[float, float], held_out: np.ndarray, rare: np.ndarray
) -> CellTypeFit:
    unseen = markers.bias == UNSEEN
    bias = blend[0] * markers.bias + blend[1] * programs.bias
    # A type without cells is not preferred, however small the factors are.
    bias = np.where(unseen, np.minimum(bias, UNSEEN), bias).astype(np.float32)
    return CellTypeFit(
        markers=np.float32(blend[0]) * markers.weights,
        programs=np.float32(blend[1]) * programs.weights,
        bias=bias,
        blend=blend,
        held_out=held_out,
        towards_rare=rare,
    )
